//! `examples/fleet` on two clusters of one account: two API servers, one AWS, one provider block.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;

use common::{Lab, Options, Tofu, repository};
use serde_json::{Value, json};

const NORTH: &str = "fleet-north";
const SOUTH: &str = "fleet-south";

#[test]
fn one_provider_block_serves_two_clusters_and_its_default_moves_nothing() {
    let named = |name: &str, version: &str| Options {
        cluster_name: name.into(),
        kubernetes_version: version.into(),
        admin: false,
        ..Options::default()
    };
    let north = Lab::start(named(NORTH, "1.34"));
    let south = north.join(named(SOUTH, "1.36"));
    let package = repository().join("tests/charts/package.sh");
    let pushed = north.command(package.to_str().unwrap()).args(["", "1.12.0"]).output().unwrap();
    assert!(pushed.status.success(), "{pushed:?}");
    let before = [north.inventory(), south.inventory()];

    let clusters = json!({NORTH: {"karpenter_version": "1.12.0"}, SOUTH: {"karpenter_version": "1.14.1"}}).to_string();
    let tofu =
        Tofu::new(&north, "").example("examples/fleet").var("clusters", &clusters).var("chart_repository", &north.chart_repository());
    let tofu = tofu.var("default_cluster", NORTH);
    tofu.apply().ok();
    tofu.plan().empty();
    assert_eq!(tofu.output("versions"), json!({NORTH: "1.12.0", SOUTH: "1.14.1"}));
    for (lab, name, version) in [(&north, NORTH, "1.12.0"), (&south, SOUTH, "1.14.1")] {
        assert_eq!(release(lab)["chart"], format!("karpenter-{version}"), "{name}");
        let class = lab.kubectl(&["get", "ec2nodeclasses.karpenter.k8s.aws", "default"]);
        assert_eq!(class["spec"]["subnetSelectorTerms"][0]["tags"]["karpenter.sh/discovery"], name);
        assert_eq!(class["spec"]["role"], format!("{name}-karpenter-node-role"));
    }
    let canaries = [&north, &south].map(|lab| lab.exists(&["nodepools.karpenter.sh", "canary"]));
    assert_eq!(canaries, [true, false]);
    let roles = north.boto3("result = sorted(r['RoleName'] for r in iam.list_roles()['Roles'] if 'karpenter' in r['RoleName'])");
    let expected: Vec<String> =
        [NORTH, SOUTH].iter().flat_map(|name| [format!("{name}-karpenter-controller"), format!("{name}-karpenter-node-role")]).collect();
    assert_eq!(roles, json!(expected));

    // the default moves: what names a cluster has it, what names none keeps the one that it is on
    let moved = tofu.var("default_cluster", SOUTH);
    moved.plan().empty();
    moved.plan_with(&["-refresh=false"]).empty();
    moved.apply().ok();
    assert!(north.exists(&["nodepools.karpenter.sh", "canary"]) && !south.exists(&["nodepools.karpenter.sh", "canary"]));

    // one version in the map is one cluster's upgrade
    let upgraded = moved.var("clusters", &clusters.replace("1.12.0", "1.14.1"));
    let plan = upgraded.plan().ok();
    let touched: Vec<String> = plan.changes().into_iter().filter(|change| !change.contains(NORTH)).collect();
    assert_eq!(touched, Vec::<String>::new(), "{:?}", plan.changes());
    upgraded.apply_planned().ok();
    assert_eq!([release(&north)["chart"].clone(), release(&south)["revision"].clone()], [json!("karpenter-1.14.1"), json!("1")]);

    upgraded.destroy().ok();
    for (lab, before) in [&north, &south].into_iter().zip(before) {
        let of = |inventory: &Value| -> Vec<String> {
            inventory["aws"].as_object().unwrap().keys().filter(|key| key.contains("karpenter")).cloned().collect()
        };
        assert_eq!(of(&lab.inventory()), of(&before), "nothing of it is left in the account");
    }
}

/// The release as helm lists it.
fn release(lab: &Lab) -> Value {
    let all: Value = serde_json::from_str(&lab.helm(&["list", "-n", "kube-system", "-o", "json"])).unwrap();
    all.as_array().unwrap().iter().find(|release| release["name"] == "karpenter").cloned().unwrap_or_default()
}
