//! Deleting: nodes drain first, and what blocks is named.

use super::{ADDRESS, lab, small, workspace};

const POOLS: &str = "nodepools.karpenter.sh";
const CLAIMS: &str = "nodeclaims.karpenter.sh";

#[test]
fn a_delete_waits_for_claims_and_names_what_blocks() {
    let lab = lab();
    let tofu = workspace(&small("draining", "timeouts {\n    delete = \"3s\"\n  }", ""));
    tofu.apply().ok();
    lab.node_claim("draining-x", "draining", "default", "ip-10-0-0-1");
    let outcome = tofu.destroy().err();
    let error = outcome.errors()[0];
    assert_eq!(error.summary, "could not delete NodePool \"draining\"");
    for words in ["NodeClaim draining-x", "node ip-10-0-0-1", "karpenter.sh/termination", "timeouts.delete"] {
        assert!(error.detail.contains(words), "no {words:?} in {}", error.detail);
    }
    assert!(lab.exists(&[POOLS, "draining"]), "it is still there, and in the state");
    assert_eq!(tofu.resource(ADDRESS)["name"], "draining");

    // the node drains while the next destroy waits
    let running = tofu.start(&["destroy", "-json", "-auto-approve"]);
    lab.finalize(CLAIMS, "draining-x");
    running.wait().ok();
    assert!(!lab.exists(&[POOLS, "draining"]) && !lab.exists(&[CLAIMS, "draining-x"]));
}

#[test]
fn another_object_of_that_name_is_not_deleted() {
    let lab = lab();
    let tofu = workspace(&small("swapped", "", ""));
    tofu.apply().ok();
    tofu.plan_with(&["-destroy"]).ok();
    lab.kubectl_text(&["delete", POOLS, "swapped"]);
    lab.kubectl_apply(
        r#"{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "swapped"}, "spec": {"template": {"spec": {
            "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "other"}, "requirements": []}}}}"#,
    );
    tofu.apply_planned().ok();
    assert!(lab.exists(&[POOLS, "swapped"]), "somebody else's");
}
