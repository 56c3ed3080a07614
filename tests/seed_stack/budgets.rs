//! How many calls the operations take, by a proxy in front of both APIs, against the design's budgets.

use std::time::Duration;

use crate::common::{Call, Lab, Options, Proxy, Tofu};
use crate::configuration;

fn pool(weight: u8) -> String {
    format!(
        "resource \"karpenter_nodepool\" \"a\" {{\n  name   = \"counted\"\n  weight = {weight}\n  template {{\n    node_class_ref {{\n      name = \"a\"\n    }}\n    \
         requirements = {{ \"kubernetes.io/os\" = [\"linux\"] }}\n  }}\n}}\n"
    )
}

/// So long that what else happens does not count beside it.
const SLOW: Duration = Duration::from_secs(3);

/// What `apply` alone took: the plan comes first, its calls are not counted.
fn applied(tofu: &Tofu, proxy: &Proxy) -> Vec<Call> {
    tofu.plan().ok();
    proxy.reset();
    tofu.apply_planned().ok();
    proxy.calls()
}

fn count(calls: &[Call], matches: impl Fn(&Call) -> bool) -> usize {
    calls.iter().filter(|call| matches(call)).count()
}

fn aws(call: &Call) -> bool {
    call.service != "kubernetes"
}

#[test]
fn a_node_pool_is_created_updated_and_deleted_with_one_write_each() {
    let lab = Lab::shared();
    lab.install_crds();
    let proxy = lab.proxy();
    let tofu = Tofu::new(lab, &configuration(lab, &pool(10))).through(&proxy);
    let writes = |calls: &[Call]| -> Vec<String> { calls.iter().filter(|c| c.mutating).map(|c| c.action.clone()).collect() };

    let created = applied(&tofu, &proxy);
    assert_eq!(writes(&created), ["PATCH"]);
    assert_eq!(count(&created, |c| c.key == "eks:DescribeCluster"), 1);
    within("create of a pool", &created, 5);

    proxy.reset();
    tofu.plan().empty();
    within("no-op plan of a pool", &proxy.calls(), 4);

    tofu.write("main.tf", &configuration(lab, &pool(20)));
    let updated = applied(&tofu, &proxy);
    assert_eq!(writes(&updated), ["PATCH"]);
    within("update of a pool", &updated, 5);

    tofu.plan_with(&["-destroy"]).ok();
    proxy.reset();
    tofu.apply_planned().ok();
    assert_eq!(writes(&proxy.calls()), ["DELETE"]);
    no_discovery(&proxy.calls());
}

#[test]
fn a_bundle_keeps_to_its_budget() {
    let lab = Lab::start(Options { cluster_name: "counted".into(), ..Options::default() });
    let proxy = lab.proxy();
    let resource = |values: &str| {
        format!(
            "resource \"karpenter_bundle\" \"this\" {{\n  chart {{\n    repository = \"{}\"\n{values}  }}\n}}\n",
            lab.chart_repository()
        )
    };
    let tofu = Tofu::new(&lab, &configuration(&lab, &resource(""))).through(&proxy);

    proxy.delay(SLOW);
    let created = applied(&tofu, &proxy);
    let policies = count(&created, |c| c.action == "CreatePolicy");
    assert!(policies > 0);
    let calls = count(&created, aws);
    assert!(calls <= 28 + 2 * policies, "{calls} AWS calls with {policies} policies: {:#?}", keys(&created));
    assert!(depth(&created) <= 5 + 1, "AWS calls one after another: {}\n{:#?}", depth(&created), timeline(&created)); // and DescribeCluster, once a process
    no_discovery(&created);

    proxy.reset();
    tofu.plan().empty();
    proxy.delay(Duration::ZERO);
    let refreshed = proxy.calls();
    assert_eq!(count(&refreshed, |c| c.mutating), 0, "{:#?}", keys(&refreshed));
    let (of_aws, of_kubernetes) = (count(&refreshed, aws), count(&refreshed, |c| !aws(c)));
    assert!(of_aws <= 20 + policies && of_kubernetes <= 20, "{of_aws} + {of_kubernetes}: {:#?}", keys(&refreshed));
    assert!(depth(&refreshed) <= 2 + 1, "AWS calls one after another: {}\n{:#?}", depth(&refreshed), timeline(&refreshed));
    no_discovery(&refreshed);

    tofu.write("main.tf", &configuration(&lab, &resource("    values = [yamlencode({ replicas = 1 })]\n")));
    let updated = applied(&tofu, &proxy);
    let writes: Vec<&Call> = updated.iter().filter(|c| c.mutating).collect();
    assert!(writes.iter().all(|c| c.service == "kubernetes"), "only the chart changes: {writes:#?}");
    // the change itself is at most 6 calls: the release's records and the objects that differ; the rest observes and waits
    assert!(writes.len() <= 6, "{writes:#?}");
}

/// The design's bound for Kubernetes and AWS together, waits included.
fn within(what: &str, calls: &[Call], most: usize) {
    no_discovery(calls);
    assert!(calls.len() <= most, "{what}: {} calls, at most {most}: {:#?}", calls.len(), keys(calls));
}

fn no_discovery(calls: &[Call]) {
    let discovery = |path: &str| path.starts_with("/openapi") || ["/api", "/apis", "/api/v1"].contains(&path);
    assert_eq!(count(calls, |c| discovery(&c.path)), 0, "discovery or OpenAPI: {:#?}", keys(calls));
}

/// When each AWS call started and ended, in units of [`SLOW`] since the first.
fn timeline(calls: &[Call]) -> Vec<String> {
    let first = calls.iter().map(|c| c.start).fold(f64::MAX, f64::min);
    let at = |time: f64| (time - first) / SLOW.as_secs_f64();
    calls.iter().filter(|c| aws(c)).map(|c| format!("{:5.1} - {:5.1}  {} {}", at(c.start), at(c.end), c.key, c.status)).collect()
}

fn keys(calls: &[Call]) -> Vec<String> {
    calls.iter().map(|c| format!("{} {}", c.key, c.status)).collect()
}

/// The most AWS calls of which each began after the former had ended. Each takes at least [`SLOW`], so that those which do not wait for one
/// another overlap; how long one really took does not count.
fn depth(calls: &[Call]) -> usize {
    let mut spans: Vec<(f64, f64)> = calls.iter().filter(|c| aws(c)).map(|c| (c.start, c.end)).collect();
    spans.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (mut chained, mut until) = (0, f64::MIN);
    for (start, end) in spans {
        if start > until {
            (chained, until) = (chained + 1, end);
        }
    }
    chained
}
