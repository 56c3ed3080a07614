//! `karpenter_nodepool` as users drive it: real tofu, a real API server with Karpenter's CRDs, verified with kubectl.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;

mod clusters;
mod create;
mod delete;
mod drift;
mod example;
mod manifest;
mod readiness;
mod refusals;
mod rolling;

use std::sync::OnceLock;

use common::{Lab, Tofu};
use serde_json::{Value, json};

const ADDRESS: &str = "karpenter_nodepool.this";

/// The lab of this file, with Karpenter's CRDs.
fn lab() -> &'static Lab {
    static READY: OnceLock<&'static Lab> = OnceLock::new();
    READY.get_or_init(|| {
        let lab = Lab::shared();
        lab.install_crds();
        lab
    })
}

/// `hcl` with a provider block that names the lab's cluster.
fn configured(hcl: &str) -> String {
    format!("provider \"karpenter\" {{\n  cluster_name = \"{}\"\n}}\n{hcl}", lab().cluster_name())
}

/// A workspace with that configuration.
fn workspace(hcl: &str) -> Tofu {
    Tofu::new(lab(), &configured(hcl))
}

/// A small pool: `top` and `template` are lines of HCL at their places.
fn small(name: &str, top: &str, template: &str) -> String {
    format!(
        r#"
resource "karpenter_nodepool" "this" {{
  name = "{name}"
  {top}
  template {{
    node_class_ref {{
      name = "default"
    }}
    requirements = {{ "kubernetes.io/os" = ["linux"] }}
    {template}
  }}
}}
"#
    )
}

/// The same, whose readiness a test decides.
fn by_hand(name: &str, top: &str) -> String {
    small(name, &format!("metadata_labels = {{ \"lab/by-hand\" = \"1\" }}\n  {top}"), "")
}

/// The live pool.
fn live(name: &str) -> Value {
    lab().kubectl(&["get", "nodepools.karpenter.sh", name])
}

const FULL: &str = r#"
resource "karpenter_nodepool" "this" {
  name                 = "full"
  weight               = 10
  limits               = { cpu = "1000m", memory = "4Gi" }
  metadata_labels      = { team = "data" }
  metadata_annotations = { "example.com/note" = "for {{ cluster_name }}, {{ ds }}" }

  disruption {
    consolidation_policy = "WhenEmpty"
    consolidate_after    = "60m"
    budget {
      nodes   = "20%"
      reasons = ["Empty", "Drifted"]
    }
    budget {
      nodes    = "0"
      schedule = "@daily"
      duration = "10m"
    }
  }
  template {
    expire_after             = "48h"
    termination_grace_period = "30s"
    labels                   = { "{{ cluster_name }}/role" = "worker-{{ ext_account_id }}" }
    annotations              = { "example.com/template" = "{{ whatever }}" }
    node_class_ref {
      name = "{{ cluster_name }}-class"
    }
    requirements = {
      "kubernetes.io/os"           = ["linux"]
      "karpenter.sh/capacity-type" = ["spot", "on-demand"]
    }
    requirement {
      key      = "karpenter.k8s.aws/instance-generation"
      operator = "Gt"
      values   = ["4"]
    }
    requirement {
      key        = "kubernetes.io/arch"
      operator   = "In"
      values     = ["arm64", "amd64"]
      min_values = 2
    }
    taint {
      key    = "dedicated"
      value  = "{{ cluster_name }}"
      effect = "NoSchedule"
    }
    taint {
      key    = "alone"
      effect = "NoExecute"
    }
    startup_taint {
      key    = "example.com/starting"
      effect = "NoSchedule"
    }
  }
}
"#;

#[test]
fn a_pool_is_created_updated_and_destroyed_as_written() {
    let lab = lab();
    let tofu = workspace(FULL);
    let applied = tofu.apply().ok();
    assert!(applied.warnings().is_empty(), "{:#?}", applied.warnings());

    let pool = live("full");
    let cluster = lab.cluster_name();
    assert_eq!(pool["metadata"]["labels"], json!({"team": "data"}));
    assert_eq!(pool["metadata"]["annotations"]["example.com/note"], format!("for {cluster}, {{{{ ds }}}}"));
    assert_eq!(
        pool["spec"],
        json!({
            "weight": 10,
            "limits": {"cpu": "1000m", "memory": "4Gi"},
            "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "60m", "budgets": [
                {"nodes": "20%", "reasons": ["Empty", "Drifted"]}, {"nodes": "0", "schedule": "@daily", "duration": "10m"}]},
            "template": {
                "metadata": {
                    "labels": {format!("{cluster}/role"): format!("worker-{}", lab.account_id())},
                    "annotations": {"example.com/template": "{{ whatever }}"},
                },
                "spec": {
                    "expireAfter": "48h",
                    "terminationGracePeriod": "30s",
                    "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": format!("{cluster}-class")},
                    "requirements": [
                        {"key": "karpenter.k8s.aws/instance-generation", "operator": "Gt", "values": ["4"]},
                        {"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64", "amd64"], "minValues": 2},
                        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "on-demand"]},
                        {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
                    ],
                    "taints": [{"key": "dedicated", "value": cluster, "effect": "NoSchedule"}, {"key": "alone", "effect": "NoExecute"}],
                    "startupTaints": [{"key": "example.com/starting", "effect": "NoSchedule"}],
                },
            },
        })
    );
    let state = tofu.resource(ADDRESS);
    assert_eq!(state["ready"], true);
    assert_eq!(state["cluster_name"], cluster);
    assert_eq!(state["cluster_arn"], format!("arn:aws:eks:us-east-1:{}:cluster/{cluster}", lab.account_id()));
    assert_eq!(state["node_selector"], json!({"karpenter.sh/nodepool": "full"}));
    let tolerations = json!([
        {"key": "alone", "operator": "Exists", "value": null, "effect": "NoExecute"},
        {"key": "dedicated", "operator": "Equal", "value": cluster, "effect": "NoSchedule"},
    ]);
    assert_eq!(state["tolerations"], tolerations, "in an order of their own: that of the taints means nothing");
    assert_eq!(state["template"][0]["taint"][0]["value"], "{{ cluster_name }}", "state keeps the text");
    tofu.plan().empty();
    tofu.plan_with(&["-refresh=false"]).empty();

    // what Karpenter adds, and what is equal in meaning, is no drift
    lab.kubectl(&["annotate", "nodepools.karpenter.sh", "full", "karpenter.sh/nodepool-hash=77", "--overwrite"]);
    lab.status("nodepools.karpenter.sh", "full", json!({"nodes": 3, "resources": {"cpu": "12"}}));
    tofu.plan().empty();

    let changed = FULL.replace("weight               = 10", "weight               = 20").replace("[\"linux\"]", "[\"linux\", \"windows\"]");
    let changed = changed.replace("    taint {\n      key    = \"alone\"\n      effect = \"NoExecute\"\n    }\n", "");
    tofu.write("main.tf", &configured(&changed));
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), ["karpenter_nodepool.this: update"]);
    tofu.apply_planned().ok();
    let pool = live("full");
    assert_eq!(pool["spec"]["weight"], 20);
    assert_eq!(pool["spec"]["template"]["spec"]["requirements"][3]["values"], json!(["linux", "windows"]));
    assert_eq!(pool["spec"]["template"]["spec"]["taints"], json!([{"key": "dedicated", "value": cluster, "effect": "NoSchedule"}]));
    assert_eq!(tofu.resource(ADDRESS)["tolerations"].as_array().unwrap().len(), 1);
    assert_eq!(tofu.resource(ADDRESS)["ready"], true);
    tofu.plan().empty();

    tofu.destroy().ok();
    assert!(!lab.exists(&["nodepools.karpenter.sh", "full"]));
}

#[test]
fn equal_text_costs_nothing_and_removed_values_fall_back_to_the_default() {
    let tofu = workspace(&small("equal", "limits = { cpu = \"2\" }\n  weight = 5", "expire_after = \"48h\""));
    tofu.apply().ok();
    // the same, otherwise written
    lab().kubectl(&[
        "patch",
        "nodepools.karpenter.sh",
        "equal",
        "--type=merge",
        "--field-manager=terraform-provider-karpenter",
        "-p",
        r#"{"spec":{"limits":{"cpu":"2000m"},"template":{"spec":{"expireAfter":"2880m"}}}}"#,
    ]);
    tofu.plan().empty();

    tofu.write("main.tf", &configured(&small("equal", "limits = { cpu = \"2\" }", "")));
    let plan = tofu.plan().ok();
    let change = plan.change(ADDRESS);
    assert_eq!(change["after"]["weight"], Value::Null);
    assert_eq!(change["after"]["template"][0]["expire_after"], "720h", "the API server's default is planned");
    tofu.apply_planned().ok();
    let pool = live("equal");
    assert_eq!(pool["spec"]["weight"], Value::Null);
    assert_eq!(pool["spec"]["template"]["spec"]["expireAfter"], "720h");
    tofu.plan().empty();
    tofu.destroy().ok();
}

#[test]
fn a_pool_is_imported_without_a_change() {
    let lab = lab();
    lab.kubectl_apply(
        r#"{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "imported", "labels": {"team": "data"}}, "spec": {
            "weight": 30, "limits": {"cpu": "10"}, "template": {"spec": {"expireAfter": "Never",
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
                "requirements": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}],
                "taints": [{"key": "a", "effect": "NoSchedule"}]}}}}"#,
    );
    lab.eventually("the pool is Ready", || live("imported")["status"]["conditions"][2]["status"] == "True");
    let proxy = lab.proxy();
    let hcl = small(
        "imported",
        "weight = 30\n  limits = { cpu = \"10\" }\n  metadata_labels = { team = \"data\" }",
        "expire_after = \"Never\"\n    taint {\n      key = \"a\"\n      effect = \"NoSchedule\"\n    }",
    );
    let block = |id: &str| configured(&format!("{hcl}\nimport {{\n  to = karpenter_nodepool.this\n  id = \"{id}\"\n}}\n"));
    let tofu = Tofu::new(lab, &block(&format!("{}/imported", lab.cluster_name()))).through(&proxy);
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), Vec::<String>::new(), "{:#}", plan.change(ADDRESS));
    assert_eq!(plan.change(ADDRESS)["importing"], json!({"id": format!("{}/imported", lab.cluster_name())}));
    tofu.apply_planned().ok();
    assert_eq!(proxy.calls().iter().filter(|c| c.mutating).count(), 0);
    assert_eq!(tofu.resource(ADDRESS)["ready"], true);
    tofu.plan().empty();

    // configuration made from the live object plans no change either
    let generated = Tofu::new(lab, &configured("\nimport {\n  to = karpenter_nodepool.this\n  id = \"imported\"\n}\n"));
    let plan = generated.plan_with(&["-generate-config-out=generated.tf"]).ok();
    assert_eq!(plan.changes(), Vec::<String>::new(), "{:#}", plan.change(ADDRESS));

    let missing = Tofu::new(lab, &block("nobody")).plan();
    let error = missing.outcome.err();
    assert!(error.errors()[0].text().contains("there is no object of that name"), "{:#?}", error.errors());
    tofu.destroy().ok();
}

#[test]
fn a_pool_that_disappeared_is_made_again() {
    let lab = lab();
    let tofu = workspace(&small("gone", "", ""));
    tofu.apply().ok();
    lab.kubectl_text(&["delete", "nodepools.karpenter.sh", "gone"]);
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodepool.this: create"]);
    tofu.apply().ok();
    assert!(lab.exists(&["nodepools.karpenter.sh", "gone"]));
    // gone when it is to be destroyed: nothing to do
    tofu.plan_with(&["-destroy"]).ok();
    lab.kubectl_text(&["delete", "nodepools.karpenter.sh", "gone"]);
    tofu.apply_planned().ok();
}
