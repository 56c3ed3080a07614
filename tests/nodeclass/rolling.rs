//! What a change of a class will do to the nodes of the pools that use it.

use super::{KIND, configured, lab, small, workspace};
use crate::common::{Diagnostic, Plan};

fn one_warning(plan: &Plan) -> &Diagnostic {
    let all = plan.outcome.warnings();
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0]
}

fn pool(name: &str, group: &str, kind: &str, class: &str) -> String {
    format!(
        "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: {{name: {name}}}\nspec: {{template: {{spec: {{nodeClassRef: {{group: {group}, \
         kind: {kind}, name: {class}}}, requirements: []}}}}}}\n"
    )
}

#[test]
fn a_change_of_a_class_names_all_its_pools_with_their_nodes() {
    let lab = lab();
    let proxy = lab.proxy();
    let tofu = workspace(&small("shared", "tags = { a = \"b\" }\n  ip_prefix_count = 1")).through(&proxy);
    tofu.apply().ok();
    for (name, group, kind, class) in [
        ("shared-one", "karpenter.k8s.aws", "EC2NodeClass", "shared"),
        ("shared-two", "karpenter.k8s.aws", "EC2NodeClass", "shared"),
        ("shared-not", "karpenter.k8s.aws", "EC2NodeClass", "other"),
        ("shared-auto", "eks.amazonaws.com", "NodeClass", "shared"),
    ] {
        lab.kubectl_apply(&pool(name, group, kind, class));
    }
    let claims = [("shared-one", "shared"), ("shared-one", "shared"), ("shared-not", "other")];
    for (i, (pool, class)) in claims.iter().enumerate() {
        lab.node_claim(&format!("shared-{i}"), pool, class, &format!("ip-10-2-0-{i}"));
    }
    let lists = || proxy.calls().iter().filter(|c| c.action == "GET" && c.path.ends_with("/nodeclaims")).count();
    let planned = |more: &str| {
        tofu.write("main.tf", &configured(&small("shared", more)));
        proxy.reset();
        tofu.plan().ok()
    };

    // new nodes only
    let plan = planned("tags = { a = \"b\" }\n  ip_prefix_count = 2");
    assert!(plan.outcome.warnings().is_empty() && lists() == 0, "{:#?}", plan.outcome.warnings());

    let plan = planned("tags = { a = \"c\" }\n  ip_prefix_count = 1");
    let warning = one_warning(&plan);
    assert_eq!(warning.summary, "This change rolls every node of pools shared-one (2 now), shared-two (0 now)");
    assert_eq!(warning.code(), "tags = { a = \"c\" }");
    assert_eq!(lists(), 1);

    let plan = planned("tags = { a = \"b\" }\n  ip_prefix_count = 1\n  subnet_selector_term {\n    id = \"subnet-0123456789abcdef0\"\n  }");
    let warning = one_warning(&plan);
    assert_eq!(warning.summary, "This change may roll nodes of pools shared-one (2 now), shared-two (0 now)");
    assert_eq!(warning.code(), "id = \"subnet-0123456789abcdef0\"");

    tofu.write("main.tf", &configured(&small("shared-new", "tags = { a = \"b\" }\n  ip_prefix_count = 1")));
    let plan = tofu.plan().ok();
    let warning = one_warning(&plan);
    assert_eq!(warning.summary, "This replacement rolls every node of pools shared-one (2 now), shared-two (0 now)");
    assert!(warning.detail.contains("create_before_destroy = true"), "{}", warning.detail);

    for i in 0..claims.len() {
        lab.kubectl_text(&["delete", "nodeclaims.karpenter.sh", &format!("shared-{i}"), "--wait=false"]);
        lab.finalize("nodeclaims.karpenter.sh", &format!("shared-{i}"));
    }
    lab.kubectl_text(&["delete", "nodepools.karpenter.sh", "shared-one", "shared-two", "shared-not", "shared-auto"]);
    tofu.write("main.tf", &configured(&small("shared", "tags = { a = \"b\" }\n  ip_prefix_count = 1")));
    tofu.destroy().ok();
    assert!(!lab.exists(&[KIND, "shared"]));
}
