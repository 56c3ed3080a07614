//! Deleting: nodes drain first, and what blocks is named.

use std::time::{Duration, Instant};

use super::{ADDRESS, configured, lab, small, workspace};
use crate::common::Fault;

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

    // the node drains while the next destroy waits; the garbage collector may take half a minute to know a new kind
    tofu.write("main.tf", &configured(&small("draining", "timeouts {\n    delete = \"90s\"\n  }", "")));
    tofu.apply().ok();
    let running = tofu.start(&["destroy", "-json", "-auto-approve"]);
    lab.finalize(CLAIMS, "draining-x");
    running.wait().ok();
    assert!(!lab.exists(&[POOLS, "draining"]) && !lab.exists(&[CLAIMS, "draining-x"]));
}

#[test]
fn an_interrupt_ends_the_wait_for_a_delete() {
    let lab = lab();
    let proxy = lab.proxy();
    let tofu = workspace(&small("patient", "", "")).through(&proxy);
    tofu.apply().ok();
    lab.node_claim("patient-x", "patient", "default", "ip-10-0-0-3");
    let running = tofu.start(&["destroy", "-json", "-auto-approve"]);
    let end = Instant::now() + Duration::from_secs(60);
    while proxy.count("kubernetes:DELETE") == 0 {
        assert!(Instant::now() < end, "no DELETE");
        std::thread::sleep(Duration::from_millis(50));
    }
    running.interrupt();
    let outcome = running.wait().err();
    assert!(
        outcome.errors().iter().any(|e| e.detail.contains("stopped: it is being deleted, but not gone yet")),
        "{:#?}",
        outcome.errors()
    );
    assert_eq!(tofu.resource(ADDRESS)["name"], "patient", "still in the state");
    lab.finalize(CLAIMS, "patient-x");
    tofu.destroy().ok();
    assert!(!lab.exists(&[POOLS, "patient"]));
}

#[test]
fn a_404_of_what_stands_before_the_api_server_is_no_absence() {
    let lab = lab();
    let proxy = lab.proxy();
    let tofu = workspace(&small("behind", "", "")).through(&proxy);
    tofu.apply().ok();
    for body in ["404 page not found", "default backend - 404", "<html>404</html>"] {
        proxy.fault(Fault::on("kubernetes:").times(1000).body(404, body));
        let planned = tofu.plan().outcome.err();
        let destroyed = tofu.run(&["destroy", "-json", "-auto-approve", "-refresh=false"]).err();
        for outcome in [planned, destroyed] {
            assert!(outcome.errors()[0].text().contains("CustomResourceDefinition"), "{:#?}", outcome.errors());
        }
        proxy.clear();
    }
    assert_eq!(tofu.resource(ADDRESS)["name"], "behind");

    // an API server that knows no such kind, and lets nobody look at CRDs
    let forbidden = "customresourcedefinitions.apiextensions.k8s.io \"nodepools.karpenter.sh\" is forbidden";
    proxy.fault(Fault::on("/apis/karpenter.sh/").times(1000).body(404, "404 page not found\n"));
    proxy.fault(Fault::on("/customresourcedefinitions/").times(1000).status(403, "Forbidden", forbidden));
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodepool.this: create"]);
    proxy.clear();
    tofu.destroy().ok();
    assert!(!lab.exists(&[POOLS, "behind"]));
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
