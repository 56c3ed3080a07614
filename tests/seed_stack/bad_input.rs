//! Input that cannot be right is refused by validate, at its place, with what would be right; what only the API server knows to be
//! wrong shows at its attribute too.

use crate::common::{Fault, Lab, Tofu};
use crate::configuration;

/// A configuration with one fault in it.
struct Wrong {
    hcl: String,
    /// Words of the line of the configuration that the diagnostic must point at.
    at: &'static str,
    /// What its text must contain: the path, the value, and what would be right.
    says: &'static [&'static str],
}

fn node_class(at: &'static str, says: &'static [&'static str]) -> Wrong {
    let good = "tags = { Name = \"private\" }";
    let tags = if at.starts_with("tags") { at } else { good };
    let hcl = format!(
        "resource \"karpenter_nodeclass\" \"a\" {{\n  name       = \"a\"\n  ami_family = \"AL2023\"\n  role       = \"r\"\n  ami_selector_term {{\n    alias = \"al2023@latest\"\n  }}\n  \
         subnet_selector_term {{\n    {tags}\n  }}\n  security_group_selector_term {{\n    {good}\n  }}\n  block_device_mapping {{\n    device_name = \"/dev/xvda\"\n    ebs {{\n      {}\n    }}\n  }}\n}}\n",
        if at.starts_with("volume_size") { at } else { "volume_size = \"100Gi\"" }
    );
    Wrong { hcl, at, says }
}

fn node_pool(at: &'static str, says: &'static [&'static str]) -> Wrong {
    let given = |name: &str, good: &'static str| if at.starts_with(name) { at } else { good };
    let hcl = format!(
        "resource \"karpenter_nodepool\" \"a\" {{\n  name   = \"a\"\n  {}\n  disruption {{\n    {}\n  }}\n  template {{\n    {}\n    {}\n    node_class_ref {{\n      name = \"a\"\n    }}\n    {}\n  }}\n}}\n",
        given("limits", "limits = { cpu = \"10\" }"),
        given("consolidate_after", "consolidate_after = \"5m\""),
        given("expire_after", "expire_after = \"720h\""),
        given("labels", "labels = { team = \"a\" }"),
        given("requirements", "requirements = { \"kubernetes.io/os\" = [\"linux\"] }"),
    );
    Wrong { hcl, at, says }
}

#[test]
fn validate_refuses_what_cannot_be_right_at_its_place() {
    let cases = [
        node_class("tags = { Name = \"{{ cluster }}-node\" }", &["{{ cluster }}", "cluster_name", "ext_account_id"]),
        node_class("volume_size = \"100 gigs\"", &["volume_size", "100 gigs", "59000", "100Gi"]),
        node_pool("limits = { cpu = \"ten\" }", &["limits", "ten", "quantity"]),
        node_pool("consolidate_after = \"5 minutes\"", &["consolidate_after", "5 minutes", "duration"]),
        node_pool("expire_after = \"30d\"", &["expire_after", "30d", "720h"]),
        node_pool("labels = { \"team name\" = \"a\" }", &["labels", "team name"]),
        node_pool("requirements = { \"a/b/c\" = [\"x\"] }", &["requirements", "a/b/c"]),
    ];
    for Wrong { hcl, at, says } in cases {
        let outcome = Tofu::offline(&hcl, "http://127.0.0.1:9").validate().err();
        let errors = outcome.errors();
        assert_eq!(errors.len(), 1, "{at}: {errors:#?}");
        let line = 1 + hcl.lines().position(|l| l.trim() == at).unwrap();
        assert_eq!(errors[0].place(), format!("main.tf:{line}"), "{at}: {:#?}", errors[0]);
        for word in says {
            assert!(errors[0].text().contains(word), "{at}: no {word:?} in {}", errors[0].text());
        }
    }
}

const POOL: &str = r#"resource "karpenter_nodepool" "a" {
  name = "refused"
  limits = { cpu = "10" }
  disruption {
    consolidate_after = "5m"
  }
  template {
    expire_after = "720h"
    node_class_ref {
      name = "a"
    }
    requirements = { "kubernetes.io/os" = ["linux"] }
  }
}
"#;

#[test]
fn what_the_api_server_refuses_shows_each_cause_at_its_attribute() {
    let lab = Lab::shared();
    lab.install_crds();
    let proxy = lab.proxy();
    let tofu = Tofu::new(lab, &configuration(lab, POOL)).through(&proxy);
    let line = |of: &str| 4 + POOL.lines().position(|l| l.trim().starts_with(of)).unwrap();

    let invalid = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Invalid","code":422,
        "message":"NodePool.karpenter.sh \"refused\" is invalid","details":{"name":"refused","group":"karpenter.sh","kind":"NodePool","causes":[
        {"reason":"FieldValueInvalid","message":"Invalid value: the first cause","field":"spec.disruption.consolidateAfter"},
        {"reason":"FieldValueInvalid","message":"Invalid value: the second cause","field":"spec.template.spec.expireAfter"}]}}"#;
    proxy.fault(Fault::on("kubernetes:PATCH .*/nodepools/refused").body(422, invalid));
    let outcome = tofu.apply().err();
    for (cause, at) in [("the first cause", "consolidate_after"), ("the second cause", "expire_after")] {
        let told: Vec<_> = outcome.errors().into_iter().filter(|d| d.text().contains(cause)).collect();
        assert_eq!(told.len(), 1, "{cause}: {:#?}", outcome.diagnostics);
        assert_eq!(told[0].place(), format!("main.tf:{}", line(at)), "{:#?}", told[0]);
    }
    proxy.clear();

    let undeclared = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","code":500,
        "message":"failed to create typed patch object (/refused; karpenter.sh/v1, Kind=NodePool): .spec.template.spec.expireAfter: field not declared in schema"}"#;
    proxy.fault(Fault::on("kubernetes:PATCH .*/nodepools/refused").times(100).body(500, undeclared));
    proxy.reset();
    let outcome = tofu.apply().err();
    let errors = outcome.errors();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0].place(), format!("main.tf:{}", line("expire_after")), "{:#?}", errors[0]);
    assert_eq!(proxy.count("kubernetes:PATCH"), 1, "a validation error is not tried again");
    assert!(!lab.exists(&["nodepools.karpenter.sh", "refused"]));
}
