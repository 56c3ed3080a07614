//! Upgrades and downgrades in place: permissions, rules and the nodes' policies by Karpenter's version, in the right order.

use serde_json::{Value, json};

use crate::common::{Fault, Lab, Options, Proxy, Tofu};
use crate::{ADDRESS, aws_only, refused, warned, whole};

/// Puts the test charts of these versions into the lab's registry.
fn push_charts(lab: &Lab, versions: &[&str]) {
    let script = crate::common::repository().join("tests/charts/package.sh");
    let output = lab.command("bash").arg(script).arg(lab.dir().join("packages")).args(versions).output().expect("package.sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What depends on the version, as others see it.
fn live(lab: &Lab) -> Value {
    let mut found = lab.boto3(
        "
         policies = [p for p in iam.list_policies(Scope='Local')['Policies']]
         sids = []
         for p in policies:
             document = iam.get_policy_version(PolicyArn=p['Arn'], VersionId=p['DefaultVersionId'])['PolicyVersion']['Document']
             sids += [s['Sid'] for s in document['Statement']]
         attached = lambda role: sorted(p['PolicyName'] for p in iam.list_attached_role_policies(RoleName=role)['AttachedPolicies'])
         result = {'policies': [p['PolicyName'] for p in policies], 'zonal': 'AllowZonalShiftStatusReadOnly' in sids,
             'controller': attached(f'{cluster}-karpenter-controller'), 'rules': len(events.list_rules()['Rules']),
             'registry': [p for p in attached(f'{cluster}-karpenter-node-role') if 'Registry' in p]}",
    );
    let deployment = lab.kubectl(&["-n", "kube-system", "get", "deployment", "karpenter"]);
    found["chart"] = deployment["metadata"]["labels"]["helm.sh/chart"].clone();
    found
}

fn expected(version: &str, zonal: bool, rules: u32, registry: &str) -> Value {
    let policies = ["steps-karpenter-controller"];
    json!({"policies": policies, "zonal": zonal, "controller": policies, "rules": rules, "registry": [registry], "chart": format!("karpenter-{version}")})
}

/// Positions of the writes that tell the order: CRDs, interim permissions, new permissions, the chart, and what goes.
fn order(proxy: &Proxy) {
    let calls: Vec<String> = proxy.calls().into_iter().filter(|call| call.mutating).map(|call| call.key).collect();
    let find = |part: &str| calls.iter().position(|key| key.contains(part)).unwrap_or_else(|| panic!("no {part} in {calls:#?}"));
    let last = |part: &str| calls.iter().rposition(|key| key.contains(part)).unwrap_or_else(|| panic!("no {part} in {calls:#?}"));
    let steps = [
        find("/customresourcedefinitions/"),
        find("iam:CreatePolicy"),
        find("iam:CreatePolicyVersion"),
        find("/deployments/karpenter"),
        last("iam:DetachRolePolicy"),
        last("iam:DeletePolicy"),
    ];
    assert!(steps.is_sorted(), "{steps:?} of {calls:#?}");
}

#[test]
fn versions_go_up_and_down_in_order() {
    let lab = Lab::start(Options { cluster_name: "steps".into(), kubernetes_version: "1.32".into(), ..Options::default() });
    push_charts(&lab, &["1.3.0", "1.9.0", "1.13.0"]);
    let at = |version: &str| whole(&lab, &format!("  version = \"{version}\""));
    let proxy = lab.proxy();
    let tofu = Tofu::new(&lab, &at("1.3.0")).through(&proxy);
    tofu.apply().ok();
    tofu.plan().empty();
    assert_eq!(live(&lab), expected("1.3.0", false, 4, "AmazonEC2ContainerRegistryReadOnly"));

    // an upgrade, first one that gets no further than the chart
    tofu.write("main.tf", &at("1.13.0"));
    proxy.fault(Fault::on("kubernetes:PATCH .*/deployments/karpenter").times(1000).status(403, "Forbidden", "not now"));
    refused(tofu.apply(), "not now");
    proxy.clear();
    assert_eq!(tofu.resource(ADDRESS)["version"], "1.3.0");
    let between = live(&lab);
    assert_eq!(
        between["controller"],
        json!(["steps-karpenter-controller", "steps-karpenter-controller-former"]),
        "the old pods keep what they need"
    );
    assert_eq!(between["registry"].as_array().unwrap().len(), 2);
    proxy.reset();
    tofu.apply().ok();
    tofu.plan().empty();
    assert_eq!(live(&lab), expected("1.13.0", true, 5, "AmazonEC2ContainerRegistryPullOnly"));
    let versions = tofu.resource(ADDRESS)["crd_versions"].clone();
    assert_eq!(versions["nodepools.karpenter.sh"], "1.13.0", "{versions:#}");

    proxy.reset();
    tofu.write("main.tf", &at("1.9.0"));
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), [format!("{ADDRESS}: update")]);
    assert_eq!(plan.change(ADDRESS)["after"]["event_rules"].as_object().unwrap().len(), 4);
    tofu.apply_planned().ok();
    order(&proxy);
    tofu.plan().empty();
    assert_eq!(live(&lab), expected("1.9.0", false, 4, "AmazonEC2ContainerRegistryPullOnly"));

    // the cluster goes ahead: a warning where nothing changes, an error for who chooses what does not work
    lab.boto3("eks.update_cluster_version(name=cluster, version='1.36')");
    warned(&tofu.plan().empty().outcome, "needs Karpenter 1.13.0 or newer");
    tofu.write("main.tf", &at("1.12.4"));
    let outcome = tofu.plan().outcome.err();
    assert!(
        outcome
            .errors()
            .iter()
            .any(|e| e.text().contains("Karpenter 1.12.4 does not work on Kubernetes 1.36") && e.code().starts_with("version")),
        "{:#?}",
        outcome.errors()
    );
    tofu.write("main.tf", &at("1.13.0"));
    tofu.apply().ok();
    let plan = tofu.plan().empty();
    assert!(plan.outcome.warnings().is_empty(), "{:#?}", plan.outcome.warnings());
    tofu.destroy().ok();
}

#[test]
fn versions_that_do_not_fit_are_told_at_plan() {
    let lab = Lab::shared();
    let tofu = Tofu::new(lab, &aws_only(lab, "  version = \"1.9.0\""));
    refused(tofu.plan().outcome, "which needs Karpenter 1.13.0 or newer");
    tofu.write("main.tf", &aws_only(lab, "  version = \"1.99.0\""));
    warned(&tofu.plan().ok().outcome, "is newer than 1.14");
}
