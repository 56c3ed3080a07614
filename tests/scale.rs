//! A thousand pools: a plan costs a handful of requests, and what a LIST lacks is not gone for that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use common::{Fault, Lab, Options, Proxy, Tofu};
use serde_json::{Value, json};

const POOLS: usize = 1000;
const LIST: &str = "kubernetes:GET /apis/karpenter.sh/v1/nodepools";

/// One lab for this file; nothing writes on the objects but these tests.
fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| {
        let lab = Lab::start(Options { cluster_name: "fleet".into(), karpenter_ready: false, ..Options::default() });
        lab.install_crds();
        lab
    })
}

/// One test after the other: a LIST is of all pools that there are.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Creates the pools `PREFIX-NUMBER`, as somebody did before.
fn create(prefix: &str, count: usize) {
    let pool = |i: usize| {
        json!({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": format!("{prefix}-{i}")}, "spec": {"weight": 5, "template": {"spec": {
            "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
            "requirements": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}}}})
    };
    let list = json!({"apiVersion": "v1", "kind": "List", "items": (0..count).map(pool).collect::<Vec<_>>()});
    let file = lab().dir().join(format!("{prefix}.json"));
    std::fs::write(&file, list.to_string()).unwrap();
    lab().kubectl_text(&["create", "-f", file.to_str().unwrap(), "-o", "name"]);
}

/// A workspace that imports those pools.
fn workspace(prefix: &str, count: usize, proxy: &Proxy) -> Tofu {
    let cluster = lab().cluster_name();
    let hcl = format!(
        r#"
provider "karpenter" {{
  cluster_name = "{cluster}"
}}
locals {{
  names = toset([for i in range({count}) : "{prefix}-${{i}}"])
}}
import {{
  for_each = local.names
  to       = karpenter_nodepool.all[each.key]
  id       = each.key
}}
resource "karpenter_nodepool" "all" {{
  for_each = local.names
  name     = each.key
  weight   = 5
  template {{
    node_class_ref {{
      name = "default"
    }}
    requirements = {{ "kubernetes.io/os" = ["linux"] }}
  }}
}}
"#
    );
    Tofu::new(lab(), &hcl).through(proxy)
}

/// How many requests of the kind there were, and forgets them.
#[track_caller]
fn at_most(requests: usize, proxy: &Proxy) {
    let counts = proxy.counts();
    let of_kind: usize = counts.iter().filter(|(key, _)| key.starts_with("kubernetes:") && key.contains("nodepools")).map(|(_, n)| n).sum();
    assert!(of_kind <= requests, "{of_kind} requests: {counts:#?}");
    proxy.reset();
}

#[test]
fn a_plan_over_a_thousand_pools_is_four_requests() {
    let _alone = alone();
    let proxy = lab().proxy();
    create("many", POOLS);
    let tofu = workspace("many", POOLS, &proxy);
    tofu.apply().ok();
    let writes = proxy.calls().iter().filter(|call| call.mutating && call.service == "kubernetes").count();
    assert_eq!(writes, 0, "imported, and nothing else");
    at_most(4, &proxy);
    // one that is gone, so that its absence is confirmed by a request more; nothing is to do for the others
    lab().kubectl_text(&["delete", "nodepools.karpenter.sh", "many-500"]);
    proxy.reset();
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodepool.all[\"many-500\"]: create"]);
    at_most(4, &proxy);
}

#[test]
fn what_a_list_lacks_is_looked_up_before_it_counts_as_gone() {
    let _alone = alone();
    let proxy = lab().proxy();
    create("few", 5);
    let tofu = workspace("few", 5, &proxy);
    tofu.apply().ok();
    let empty =
        json!({"apiVersion": "karpenter.sh/v1", "kind": "NodePoolList", "metadata": {"resourceVersion": "1"}, "items": []}).to_string();
    proxy.reset();
    proxy.fault(Fault::on(&format!("^{LIST}$")).body(200, &empty));
    tofu.plan().empty();
    let counts = proxy.counts();
    assert_eq!(counts.get(LIST), Some(&1), "{counts:#?}");
    assert_eq!(proxy.count(&format!("{LIST}/few-")), 5, "one before the LIST, the others after it: {counts:#?}");
    // one that is gone is gone
    lab().kubectl_text(&["delete", "nodepools.karpenter.sh", "few-3"]);
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodepool.all[\"few-3\"]: create"]);
    tofu.destroy().ok();
}

#[test]
fn a_list_that_is_refused_or_fails_never_means_absence() {
    let _alone = alone();
    let proxy = lab().proxy();
    create("unlisted", 5);
    let tofu = workspace("unlisted", 5, &proxy);
    tofu.apply().ok();
    // who may get but not list reads one by one
    proxy.reset();
    proxy.fault(Fault::on(&format!("^{LIST}$")).times(1000).status(403, "Forbidden", "nodepools is forbidden: User cannot list resource"));
    tofu.plan().empty();
    let counts = proxy.counts();
    assert!(counts.get(LIST) <= Some(&1), "refused once for all: {counts:#?}");
    assert_eq!(proxy.count(&format!("{LIST}/unlisted-")), 5, "{counts:#?}");
    proxy.clear();
    // any other answer is an error, and the state stays
    proxy.fault(Fault::on(&format!("^{LIST}$")).times(1000).status(400, "BadRequest", "no such luck"));
    let told: Vec<Value> = tofu.plan().outcome.err().errors().iter().map(|e| Value::from(e.text())).collect();
    assert!(told.iter().any(|text| text.as_str().unwrap().contains("no such luck")), "{told:#?}");
    proxy.clear();
    tofu.plan_with(&["-refresh=false"]).empty();
    tofu.destroy().ok();
}
