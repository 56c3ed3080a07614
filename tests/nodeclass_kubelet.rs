//! `kubelet.extra` on a cluster whose CRD takes any field of the kubelet, as Karpenter makes it after v1.14.1.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{Lab, Tofu};
use serde_json::{Value, json};

const CRD: &str = "crd/ec2nodeclasses.karpenter.k8s.aws";

/// A lab whose CRD knows nothing of the kubelet's fields.
fn lab() -> &'static Lab {
    let lab = Lab::shared();
    lab.install_crds();
    let open = json!([{
        "op": "replace",
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/kubelet",
        "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }]);
    lab.kubectl_text(&["patch", CRD, "--type=json", "-p", &open.to_string()]);
    // the API server takes the new schema a moment later
    let probe = "apiVersion: karpenter.k8s.aws/v1\nkind: EC2NodeClass\nmetadata: {name: probe}\nspec:\n  role: r\n  kubelet: {brandNew: true}\n  \
                 amiSelectorTerms: [{alias: al2023@latest}]\n  subnetSelectorTerms: [{id: subnet-1}]\n  securityGroupSelectorTerms: [{id: sg-1}]\n";
    let file = lab.dir().join("probe.yaml");
    std::fs::write(&file, probe).unwrap();
    let accepted = || lab.try_kubectl(&["apply", "--server-side", "--dry-run=server", "-f", file.to_str().unwrap()]).0;
    assert!(
        (0..100).any(|_| accepted() || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            false
        }),
        "the CRD did not change"
    );
    lab
}

fn class(extra: &str) -> String {
    format!(
        r#"provider "karpenter" {{
  cluster_name = "harbor"
}}
resource "karpenter_nodeclass" "this" {{
  name = "extra"
  role = "node"
  ami_selector_term {{
    alias = "al2023@latest"
  }}
  subnet_selector_term {{
    tags = {{ Name = "private" }}
  }}
  security_group_selector_term {{
    tags = {{ Name = "node" }}
  }}
  kubelet {{
    max_pods = 50
    {extra}
  }}
}}
"#
    )
}

fn kubelet(lab: &Lab) -> Value {
    lab.kubectl(&["get", "ec2nodeclass", "extra"])["spec"]["kubelet"].clone()
}

#[test]
fn extra_is_applied_beside_the_typed_fields_and_its_drift_shows() {
    let lab = lab();
    let written = r#"extra = jsonencode({ seccompDefault = true, limits = { pods = 5.0 }, owner = "{{ cluster_name }}" })"#;
    let tofu = Tofu::new(lab, &class(written));
    tofu.apply().ok();
    assert_eq!(kubelet(lab), json!({"maxPods": 50, "seccompDefault": true, "limits": {"pods": 5}, "owner": "harbor"}));
    tofu.plan().empty();

    lab.kubectl_text(&[
        "patch",
        "ec2nodeclass",
        "extra",
        "--type=merge",
        "-p",
        r#"{"spec":{"kubelet":{"seccompDefault":false,"other":1}}}"#,
    ]);
    let change = tofu.plan().ok().change("karpenter_nodeclass.this");
    assert_eq!(change["actions"], json!(["update"]));
    let seen: Value = serde_json::from_str(change["before"]["kubelet"][0]["extra"].as_str().unwrap()).unwrap();
    assert_eq!((&seen["seccompDefault"], &seen["other"]), (&json!(false), &Value::Null), "{seen}");
    tofu.apply().ok();
    assert_eq!(kubelet(lab)["seccompDefault"], true);
    assert_eq!(kubelet(lab)["other"], 1, "what others added is theirs");
    tofu.plan().empty();

    tofu.write("main.tf", &class("extra = jsonencode({ seccompDefault = true })"));
    tofu.apply().ok();
    assert_eq!(kubelet(lab), json!({"maxPods": 50, "seccompDefault": true, "other": 1}), "what is left out goes");
    tofu.plan().empty();

    tofu.run(&["state", "rm", "karpenter_nodeclass.this"]).ok();
    tofu.write("main.tf", &class("extra = jsonencode({ other = 1, seccompDefault = true })"));
    tofu.import("karpenter_nodeclass.this", "extra").ok();
    tofu.plan().empty();
    tofu.destroy().ok();
}

#[test]
fn extra_that_is_no_object_of_new_fields_is_refused_at_its_place() {
    for (extra, says) in [
        (r#"extra = "seccompDefault: true""#, "is no JSON"),
        (r#"extra = jsonencode(["seccompDefault"])"#, "no object"),
        (r#"extra = jsonencode({ maxPods = 10 })"#, "max_pods = ..."),
    ] {
        let hcl = class(extra);
        let outcome = Tofu::offline(&hcl, "http://127.0.0.1:9").validate().err();
        let errors = outcome.errors();
        assert_eq!(errors.len(), 1, "{extra}: {errors:#?}");
        assert_eq!(errors[0].place(), format!("main.tf:{}", 1 + hcl.lines().position(|l| l.contains("extra =")).unwrap()));
        assert!(errors[0].text().contains(says), "{extra}: {}", errors[0].text());
    }
}
