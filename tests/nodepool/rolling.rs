//! What a change will do to nodes: said at plan, at the argument, with the number of nodes that the cluster has now.

use super::{ADDRESS, configured, lab, small, workspace};
use crate::common::{Diagnostic, Plan};

const CLAIMS: &str = "kubernetes:GET /apis/karpenter.sh/v1/nodeclaims";

fn one_warning(plan: &Plan) -> &Diagnostic {
    let all = plan.outcome.warnings();
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0]
}

#[test]
fn a_change_of_the_template_tells_how_many_nodes_it_rolls() {
    let lab = lab();
    let proxy = lab.proxy();
    let template = "labels = { team = \"a\" }\n    expire_after = \"60m\"";
    let tofu = workspace(&small("rolled", "weight = 1", template)).through(&proxy);
    tofu.apply().ok();
    for i in 0..3 {
        lab.node_claim(&format!("rolled-{i}"), "rolled", "default", &format!("ip-10-1-0-{i}"));
    }
    lab.node_claim("of-another-pool", "another", "default", "ip-10-1-1-0");
    let planned = |top: &str, template: &str| {
        tofu.write("main.tf", &configured(&small("rolled", top, template)));
        proxy.reset();
        (tofu.plan().ok(), proxy.counts().get(CLAIMS).copied().unwrap_or(0))
    };

    // what only new nodes see, and what means the same, costs no call and says nothing
    for (top, template) in [
        (
            "weight = 2\n  limits = { cpu = \"9\" }\n  disruption {\n    consolidate_after = \"1h\"\n  }\n  metadata_labels = { x = \"y\" }",
            template,
        ),
        ("weight = 1", "labels = { team = \"a\" }\n    expire_after = \"1h\""),
    ] {
        let (plan, lists) = planned(top, template);
        assert_eq!(plan.changes(), ["karpenter_nodepool.this: update"]);
        assert!(plan.outcome.warnings().is_empty(), "{:#?}", plan.outcome.warnings());
        assert_eq!(lists, 0);
    }

    let (plan, lists) = planned("weight = 2", "labels = { team = \"b\" }\n    expire_after = \"60m\"");
    let warning = one_warning(&plan);
    assert_eq!(warning.summary, "This change rolls every node of pool rolled (3 now)");
    assert_eq!(warning.code(), "labels = { team = \"b\" }");
    assert!(warning.detail.contains("template[0].labels") && warning.detail.contains("disruption budgets"), "{}", warning.detail);
    assert_eq!(lists, 1);

    let (plan, _) = planned(
        "weight = 1",
        "labels = { team = \"a\" }\n    expire_after = \"60m\"\n    requirement {\n      key      = \"kubernetes.io/arch\"\n      operator = \"Exists\"\n    }",
    );
    let warning = one_warning(&plan);
    assert_eq!(warning.summary, "This change may roll nodes of pool rolled (3 now)");
    assert!(warning.detail.contains("template[0].requirement"), "{}", warning.detail);

    // a replacement
    tofu.write("main.tf", &configured(&small("renamed", "weight = 1", template)));
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), ["karpenter_nodepool.this: delete, create"]);
    let warning = one_warning(&plan);
    assert_eq!(
        (warning.summary.as_str(), warning.code()),
        ("This replacement rolls every node of pool rolled (3 now)", "name = \"renamed\"")
    );
    assert!(warning.detail.contains("create_before_destroy = true"), "{}", warning.detail);

    for name in ["rolled-0", "rolled-1", "rolled-2", "of-another-pool"] {
        lab.kubectl_text(&["delete", "nodeclaims.karpenter.sh", name, "--wait=false"]);
        lab.finalize("nodeclaims.karpenter.sh", name);
    }
    tofu.write("main.tf", &configured(&small("rolled", "weight = 1", template)));
    tofu.destroy().ok();
}

#[test]
fn where_nodes_cannot_be_counted_the_number_is_left_out() {
    let lab = lab();
    let hcl = |label: &str| small("uncounted", "", &format!("labels = {{ team = \"{label}\" }}"));
    let tofu = workspace(&hcl("a"));
    tofu.apply().ok();
    // allowed everything about pools, and nothing else
    lab.kubectl_text(&["create", "serviceaccount", "no-claims"]);
    lab.kubectl_text(&["create", "clusterrole", "no-claims", "--verb=*", "--resource=nodepools.karpenter.sh"]);
    lab.kubectl_text(&["create", "clusterrolebinding", "no-claims", "--clusterrole=no-claims", "--serviceaccount=default:no-claims"]);
    let token = lab.kubectl_text(&["create", "token", "no-claims"]);
    let provider = format!("kubernetes {{\n    token = \"{}\"\n  }}\n  cluster_name", token.trim());
    tofu.write("main.tf", &configured(&hcl("b")).replacen("cluster_name", &provider, 1));
    let plan = tofu.plan().ok();
    assert_eq!(one_warning(&plan).summary, "This change rolls every node of pool uncounted");
    tofu.apply_planned().ok();
    assert_eq!(tofu.resource(ADDRESS)["template"][0]["labels"]["team"], "b");
    tofu.destroy().ok();
}
