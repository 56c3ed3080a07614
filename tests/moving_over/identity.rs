//! Resource identity, where the client has it: OpenTofu 1.12 keeps it in the state and imports by it.

use serde_json::json;

use super::fixture::manifests;
use super::{alone, differences, lab, provider};
use crate::common::Tofu;

#[test]
fn an_object_is_imported_by_its_identity_and_keeps_it() {
    let _alone = alone();
    let lab = lab();
    lab.kubectl_apply(&manifests(lab.cluster_name()));
    let arn = format!("arn:aws:eks:us-east-1:{}:cluster/{}", lab.account_id(), lab.cluster_name());
    let import = |to: &str, identity: &str| format!("import {{\n  to       = {to}\n  identity = {{ {identity} }}\n}}\n");
    let pool = import("karpenter_nodepool.this", &format!("cluster_arn = \"{arn}\", name = \"trino.xsmall\""));
    let class = import("karpenter_nodeclass.this", "name = \"4th-class\"");
    let tofu = Tofu::new(lab, &(provider() + &pool + &class));
    let plan = tofu.plan_with(&["-generate-config-out=generated.tf"]).ok();
    assert_eq!(plan.changes(), Vec::<String>::new(), "{}", differences(&plan));
    tofu.apply_planned().ok();
    let own = |name: &str| json!({"cluster_arn": arn, "name": name});
    assert_eq!(tofu.instance("karpenter_nodepool.this")["identity"], own("trino.xsmall"));
    assert_eq!(tofu.instance("karpenter_nodeclass.this")["identity"], own("4th-class"));
    tofu.plan().empty();

    // an update keeps it, a new object has its own
    let text = std::fs::read_to_string(tofu.dir().join("generated.tf")).unwrap();
    std::fs::write(tofu.dir().join("generated.tf"), text.replace("\"Never\"", "\"48h\"")).unwrap();
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodepool.this: update"]);
    tofu.apply_planned().ok();
    assert_eq!(tofu.instance("karpenter_nodepool.this")["identity"], own("trino.xsmall"));
    let text = std::fs::read_to_string(tofu.dir().join("generated.tf")).unwrap();
    std::fs::write(tofu.dir().join("generated.tf"), text.replace("\"trino.xsmall\"", "\"another\"")).unwrap();
    tofu.write("main.tf", &provider());
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodepool.this: delete, create"]);
    tofu.apply_planned().ok();
    assert_eq!(tofu.instance("karpenter_nodepool.this")["identity"], own("another"));
    tofu.plan().empty();
    tofu.destroy().ok();
}
