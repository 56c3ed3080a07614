//! Both kinds together: `examples/objects`, whose blocks the documentation shows, as it stands; and with Terraform.

use super::{configured, lab, live, small};
use crate::common::{Engine, Tofu};

const POOLS: &str = "nodepools.karpenter.sh";
const CLASSES: &str = "ec2nodeclasses.karpenter.k8s.aws";

#[test]
fn the_example_of_classes_and_pools_is_applied_and_plans_empty() {
    let lab = lab();
    let tofu = Tofu::new(lab, "").example("examples/objects").var("cluster_name", lab.cluster_name());
    let applied = tofu.apply().ok();
    assert!(applied.warnings().is_empty(), "{:#?}", applied.warnings());
    for name in ["batch", "static", "web", "gpu"] {
        assert!(lab.exists(&[POOLS, name]), "{name}");
    }
    assert_eq!(live("web")["spec"]["template"]["metadata"]["labels"]["cluster"], lab.cluster_name());
    assert!(lab.exists(&[CLASSES, "tuned"]) && lab.exists(&[CLASSES, "catalog"]));
    let plan = tofu.plan().empty();
    assert!(plan.outcome.warnings().is_empty(), "{:#?}", plan.outcome.warnings());
    tofu.destroy().ok();
    assert!(!lab.exists(&[POOLS, "web"]));
}

#[test]
fn terraform_takes_both_kinds_from_create_to_destroy() {
    let Some(terraform) = Engine::terraform() else { return };
    let lab = lab();
    let class = |more: &str| {
        format!(
            "resource \"karpenter_nodeclass\" \"this\" {{\n  name = \"by-terraform\"\n  role = \"{{{{ cluster_name }}}}-node\"\n  {more}\n  ami_selector_term {{\n    \
             alias = \"al2023@latest\"\n  }}\n  subnet_selector_term {{\n    tags = {{ Name = \"private\" }}\n  }}\n  \
             security_group_selector_term {{\n    tags = {{ Name = \"node\" }}\n  }}\n}}\n"
        )
    };
    let both = |more: &str, top: &str| {
        let pool = small("by-terraform", top, "taint {\n      key = \"a\"\n      effect = \"NoSchedule\"\n    }");
        configured(&(class(more) + &pool.replace("\"default\"", "karpenter_nodeclass.this.name")))
    };
    let tofu = Tofu::new(lab, &both("", "weight = 1")).engine(terraform);
    tofu.validate().ok();
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodeclass.this: create", "karpenter_nodepool.this: create"]);
    tofu.apply_planned().ok();
    assert_eq!(lab.kubectl(&["get", CLASSES, "by-terraform"])["spec"]["role"], format!("{}-node", lab.cluster_name()));
    tofu.plan().empty();
    tofu.plan_with(&["-refresh=false"]).empty();

    tofu.write("main.tf", &both("detailed_monitoring = true", "weight = 2"));
    let plan = tofu.plan().ok();
    let warnings = plan.outcome.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert_eq!(
        (warnings[0].summary.as_str(), warnings[0].code()),
        ("This change rolls every node of pool by-terraform (0 now)", "detailed_monitoring = true")
    );
    tofu.apply_planned().ok();
    assert_eq!(live("by-terraform")["spec"]["weight"], 2);
    lab.kubectl(&["patch", POOLS, "by-terraform", "--type=merge", "--field-manager=kubectl-edit", "-p", r#"{"spec":{"weight":9}}"#]);
    let plan = tofu.plan().ok();
    assert_eq!(plan.outcome.warnings()[0].summary, "NodePool \"by-terraform\": spec.weight was changed by \"kubectl-edit\"");
    tofu.apply_planned().ok();
    tofu.plan().empty();

    // forgotten, and brought back
    tofu.run(&["state", "rm", "karpenter_nodeclass.this", "karpenter_nodepool.this"]).ok();
    let import = |kind: &str| format!("import {{\n  to = {kind}.this\n  id = \"by-terraform\"\n}}\n");
    let imports = import("karpenter_nodeclass") + &import("karpenter_nodepool");
    tofu.write("main.tf", &(both("detailed_monitoring = true", "weight = 2") + &imports));
    // the text with its placeholder comes in the place of the name that the import read, which changes nothing on the server
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodeclass.this: update"]);
    let generation = || lab.kubectl(&["get", CLASSES, "by-terraform"])["metadata"]["generation"].clone();
    let before = generation();
    tofu.apply_planned().ok();
    assert_eq!(generation(), before);
    tofu.plan().empty();

    tofu.destroy().ok();
    assert!(!lab.exists(&[POOLS, "by-terraform"]) && !lab.exists(&[CLASSES, "by-terraform"]));
}
