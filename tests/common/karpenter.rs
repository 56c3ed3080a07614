//! What a running Karpenter writes on its objects, written by tests with kubectl. Objects need the label `lab/by-hand`, or the
//! lab's own imitation of the controller writes there, too.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lab::Lab;

/// Type, status, reason and message.
pub type Condition<'a> = (&'a str, &'a str, &'a str, &'a str);

impl Lab {
    /// Writes conditions of the object's present generation into its status, as field manager `karpenter`.
    pub fn conditions(&self, kind: &str, name: &str, conditions: &[Condition<'_>]) {
        self.status(kind, name, json!({"conditions": self.stamped(kind, name, conditions)}));
    }

    /// Merges into the object's status, as field manager `karpenter`.
    pub fn status(&self, kind: &str, name: &str, status: Value) {
        let patch = json!({ "status": status }).to_string();
        self.kubectl(&["patch", kind, name, "--subresource=status", "--type=merge", "--field-manager=karpenter", "-p", &patch]);
    }

    /// The conditions, complete.
    fn stamped(&self, kind: &str, name: &str, conditions: &[Condition<'_>]) -> Vec<Value> {
        let generation = self.kubectl(&["get", kind, name])["metadata"]["generation"].clone();
        let stamp = |(kind, status, reason, message): &Condition<'_>| {
            json!({"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        conditions.iter().map(stamp).collect()
    }

    /// A NodeClaim of a pool, owned by it, with Karpenter's finalizer.
    pub fn node_claim(&self, name: &str, pool: &str, class: &str, node: &str) {
        let owner = match self.try_kubectl(&["get", "nodepools.karpenter.sh", pool, "-o", "jsonpath={.metadata.uid}"]) {
            (true, uid) => {
                json!([{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": pool, "uid": uid, "blockOwnerDeletion": true}])
            }
            (false, _) => json!([]),
        };
        let claim = json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {"name": name, "labels": {"karpenter.sh/nodepool": pool}, "finalizers": ["karpenter.sh/termination"], "ownerReferences": owner},
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": class},
                "requirements": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}],
            },
        });
        self.kubectl_apply(&claim.to_string());
        self.status("nodeclaims.karpenter.sh", name, json!({"nodeName": node}));
    }

    /// Takes an object's finalizers away.
    pub fn finalize(&self, kind: &str, name: &str) {
        let (done, said) = self.try_finalize(kind, name);
        assert!(done, "{said}");
    }

    /// [`Lab::finalize`] of an object that may go meanwhile: whether it was there, and what kubectl said.
    pub fn try_finalize(&self, kind: &str, name: &str) -> (bool, String) {
        self.try_kubectl(&["patch", kind, name, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#])
    }

    /// Waits until `kubectl get` finds such an object. `args` as for `kubectl get`.
    pub fn wait_for(&self, args: &[&str]) {
        self.eventually(&format!("{args:?} is there"), || self.exists(args));
    }

    /// Waits, at most 30 s, until it is so.
    pub fn eventually(&self, what: &str, so: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !so() {
            assert!(Instant::now() < end, "30 s, and not yet: {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A bearer token of a new service account that may do `verbs` with Karpenter's pools and classes, and nothing else.
    pub fn limited_token(&self, name: &str, verbs: &str) -> String {
        self.kubectl_text(&["create", "serviceaccount", name]);
        if !verbs.is_empty() {
            let resources = "--resource=nodepools.karpenter.sh,ec2nodeclasses.karpenter.k8s.aws,nodeclaims.karpenter.sh";
            self.kubectl_text(&["create", "clusterrole", name, &format!("--verb={verbs}"), resources]);
            self.kubectl_text(&[
                "create",
                "clusterrolebinding",
                name,
                &format!("--clusterrole={name}"),
                &format!("--serviceaccount=default:{name}"),
            ]);
        }
        self.kubectl_text(&["create", "token", name]).trim().to_owned()
    }
}
