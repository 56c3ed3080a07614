//! Beside the controller: its conditions, hashes and finalizers, and a class that is still in use.

use serde_json::json;

use super::{ADDRESS, KIND, by_hand, configured, lab, live, workspace};
use crate::common::Condition;

const TRUE: [Condition<'static>; 7] = [
    ("AMIsReady", "True", "AMIsReady", ""),
    ("CapacityReservationsReady", "True", "CapacityReservationsReady", ""),
    ("PlacementGroupReady", "True", "PlacementGroupReady", ""),
    ("SubnetsReady", "True", "SubnetsReady", ""),
    ("SecurityGroupsReady", "True", "SecurityGroupsReady", ""),
    ("InstanceProfileReady", "True", "InstanceProfileReady", ""),
    ("ValidationSucceeded", "True", "ValidationSucceeded", ""),
];

/// All conditions True, except one with its status and reason, and Ready with the same status.
fn except(kind: &'static str, status: &'static str, reason: &'static str, message: &'static str) -> Vec<Condition<'static>> {
    let mut conditions: Vec<_> = TRUE.into_iter().filter(|c| c.0 != kind).collect();
    conditions.push((kind, status, reason, message));
    let ready = if status == "False" { "UnhealthyDependents" } else { "AwaitingReconciliation" };
    conditions.push(("Ready", status, ready, ""));
    conditions
}

#[test]
fn what_the_controller_writes_is_read_and_never_a_change() {
    let lab = lab();
    let tofu = workspace(&by_hand("busy", ""));
    let running = tofu.start(&["apply", "-json", "-auto-approve"]);
    lab.wait_for(&[KIND, "busy"]);
    let controller = |patch: serde_json::Value| {
        lab.kubectl(&["patch", KIND, "busy", "--type=merge", "--field-manager=karpenter", "-p", &patch.to_string()]);
    };
    controller(json!({"metadata": {
        "annotations": {"karpenter.k8s.aws/ec2nodeclass-hash": "123", "karpenter.k8s.aws/ec2nodeclass-hash-version": "v5"},
        "finalizers": ["karpenter.k8s.aws/termination"]}}));
    lab.status(KIND, "busy", json!({
        "amis": [{"id": "ami-0123456789abcdef0", "name": "al2023", "requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]}],
        "subnets": [{"id": "subnet-0123456789abcdef0", "zone": "us-east-1a", "zoneID": "use1-az1"}],
        "securityGroups": [{"id": "sg-0123456789abcdef0", "name": "node"}],
        "instanceProfile": "profile"}));
    let mut ready = TRUE.to_vec();
    ready.push(("Ready", "True", "Ready", ""));
    lab.conditions(KIND, "busy", &ready);
    let outcome = running.wait().ok();
    assert!(outcome.warnings().is_empty(), "{:#?}", outcome.warnings());
    let state = tofu.resource(ADDRESS);
    assert_eq!(state["ready"], true);
    assert_eq!(state["amis"][0]["id"], "ami-0123456789abcdef0");
    assert_eq!(state["subnets"][0]["id"], "subnet-0123456789abcdef0");
    assert_eq!(state["security_groups"][0]["id"], "sg-0123456789abcdef0");

    controller(json!({"metadata": {"annotations": {"karpenter.k8s.aws/ec2nodeclass-hash": "124"}}}));
    lab.status(KIND, "busy", json!({"amis": [{"id": "ami-00000000000000000", "requirements": []}]}));
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), Vec::<String>::new());
    assert!(plan.outcome.warnings().is_empty(), "{:#?}", plan.outcome.warnings());

    // an update leaves the controller's part alone
    tofu.write("main.tf", &configured(&by_hand("busy", "detailed_monitoring = true\n  timeouts {\n    update = \"1s\"\n  }")));
    tofu.apply().ok();
    let class = live("busy");
    assert_eq!(class["metadata"]["annotations"]["karpenter.k8s.aws/ec2nodeclass-hash"], "124");
    assert_eq!(class["metadata"]["finalizers"], json!(["karpenter.k8s.aws/termination"]));

    let running = tofu.start(&["destroy", "-json", "-auto-approve"]);
    lab.eventually("it is being deleted", || live("busy")["metadata"]["deletionTimestamp"].is_string());
    lab.finalize(KIND, "busy");
    running.wait().ok();
}

#[test]
fn each_reason_of_the_controller_is_told() {
    let lab = lab();
    let cases = [
        ("no-role", except("InstanceProfileReady", "Unknown", "AwaitingReconciliation", "object is awaiting reconciliation")),
        ("no-subnets", except("SubnetsReady", "False", "SubnetsNotFound", "SubnetSelector did not match any Subnets")),
        (
            "no-groups",
            except("SecurityGroupsReady", "False", "SecurityGroupsNotFound", "SecurityGroupSelector did not match any SecurityGroups"),
        ),
        ("no-amis", except("AMIsReady", "False", "AMINotFound", "AMISelector did not match any AMIs")),
        ("no-alias", except("AMIsReady", "False", "UnsupportedAlias", "alias is not supported")),
    ];
    let class = |name: &str, timeout: &str| {
        by_hand(name, &format!("timeouts {{\n    create = \"{timeout}\"\n  }}")).replace("\"this\"", &format!("\"{name}\""))
    };
    let hcl: String = cases.iter().map(|(name, _)| class(name, if *name == "no-role" { "20s" } else { "5m" })).collect();
    let tofu = workspace(&hcl);
    let running = tofu.start(&["apply", "-json", "-auto-approve"]);
    for (name, conditions) in &cases {
        lab.wait_for(&[KIND, name]);
        lab.conditions(KIND, name, conditions);
    }
    let outcome = running.wait().ok();
    for (name, conditions) in &cases {
        let summary = format!("EC2NodeClass \"{name}\" is not Ready");
        let told: Vec<_> = outcome.warnings().into_iter().filter(|w| w.summary == summary).collect();
        assert_eq!(told.len(), 1, "{name}: {:#?}", outcome.warnings());
        let (kind, status, reason, message) = conditions[conditions.len() - 2];
        assert!(told[0].detail.contains(&format!("{kind}={status} ({reason}): {message}")), "{}", told[0].detail);
        if status == "Unknown" {
            assert!(told[0].detail.contains("node role") && told[0].detail.contains("alias"), "says what to check: {}", told[0].detail);
        }
        assert_eq!(tofu.resource(&format!("karpenter_nodeclass.{name}"))["ready"], false);
    }
    tofu.plan().empty();
    tofu.destroy().ok();
}

#[test]
fn a_class_in_use_is_refused_before_the_delete_naming_its_users() {
    let lab = lab();
    let proxy = lab.proxy();
    let tofu = workspace(&by_hand("used", "timeouts {\n    create = \"1s\"\n    delete = \"3s\"\n  }")).through(&proxy);
    tofu.apply().ok();
    lab.kubectl_apply(
        r#"{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "user"}, "spec": {"template": {"spec": {
            "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "used"}, "requirements": []}}}}"#,
    );
    lab.node_claim("user-x", "user", "used", "ip-10-0-0-2");
    let outcome = tofu.destroy().err();
    let error = outcome.errors()[0];
    assert_eq!(error.summary, "could not delete EC2NodeClass \"used\"");
    for words in ["it is in use by", "NodePool user", "NodeClaim user-x", "Nothing was deleted"] {
        assert!(error.detail.contains(words), "no {words:?} in {}", error.detail);
    }
    assert_eq!(proxy.count("kubernetes:DELETE"), 0);
    assert_eq!(live("used")["metadata"]["deletionTimestamp"], json!(null));

    // another pool and another kind of the same name use another class
    lab.kubectl_apply(
        r#"{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "stranger"}, "spec": {"template": {"spec": {
            "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "used"}, "requirements": []}}}}"#,
    );
    tofu.write("main.tf", &configured(&by_hand("used", "timeouts {\n    create = \"1s\"\n    update = \"1s\"\n    delete = \"60s\"\n  }")));
    tofu.apply().ok();
    let running = tofu.start(&["destroy", "-json", "-auto-approve"]);
    lab.kubectl_text(&["delete", "nodepools.karpenter.sh", "user", "--wait=false"]);
    lab.kubectl_text(&["delete", "nodeclaims.karpenter.sh", "user-x", "--wait=false"]);
    lab.finalize("nodeclaims.karpenter.sh", "user-x");
    running.wait().ok();
    assert!(!lab.exists(&[KIND, "used"]));
}
