//! `karpenter_nodeclass` as users drive it: real tofu, a real API server with Karpenter's CRDs, verified with kubectl.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;

mod conflicts;
mod controller;
mod manifest;
mod refusals;
mod rolling;

use std::sync::OnceLock;

use common::{Lab, Tofu};
use serde_json::{Value, json};

const ADDRESS: &str = "karpenter_nodeclass.this";
const KIND: &str = "ec2nodeclasses.karpenter.k8s.aws";

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

/// A small class with further lines of HCL.
fn small(name: &str, more: &str) -> String {
    format!(
        r#"
resource "karpenter_nodeclass" "this" {{
  name = "{name}"
  role = "node-role"
  ami_selector_term {{
    alias = "al2023@latest"
  }}
  subnet_selector_term {{
    tags = {{ Name = "private" }}
  }}
  security_group_selector_term {{
    tags = {{ Name = "node" }}
  }}
  {more}
}}
"#
    )
}

/// The same, whose readiness a test decides.
fn by_hand(name: &str, more: &str) -> String {
    small(name, &format!("metadata_labels = {{ \"lab/by-hand\" = \"1\" }}\n  {more}"))
}

/// The live class.
fn live(name: &str) -> Value {
    lab().kubectl(&["get", KIND, name])
}

/// Another client's merge patch.
fn edit(name: &str, manager: &str, patch: &Value) {
    lab().kubectl(&["patch", KIND, name, "--type=merge", &format!("--field-manager={manager}"), "-p", &patch.to_string()]);
}

const FULL: &str = r##"
resource "karpenter_nodeclass" "this" {
  name                = "full"
  ami_family          = "AL2023"
  role                = "{{ cluster_name }}-node-role"
  detailed_monitoring = true
  user_data           = "#!/bin/sh\necho {{ cluster_name }} {{ ds }}\n"
  tags                = { "{{ cluster_name }}/owner" = "{{ ext_account_id }}" }
  metadata_labels     = { team = "infra" }

  ami_selector_term {
    alias = "al2023@latest"
  }
  subnet_selector_term {
    tags = { Name = "{{ ext_account_id }}-private*" }
  }
  subnet_selector_term {
    id = "subnet-0123456789abcdef0"
  }
  security_group_selector_term {
    tags = { Name = "{{ cluster_name }}-node" }
  }
  block_device_mapping {
    device_name = "/dev/xvda"
    ebs {
      volume_size           = "100Gi"
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }
  kubelet {
    max_pods      = 58
    kube_reserved = { cpu = "100m", memory = "1Gi" }
  }
}
"##;

#[test]
fn a_class_is_created_updated_and_destroyed_as_written() {
    let lab = lab();
    let tofu = workspace(FULL);
    let applied = tofu.apply().ok();
    assert!(applied.warnings().is_empty(), "{:#?}", applied.warnings());

    let (class, cluster, account) = (live("full"), lab.cluster_name(), lab.account_id());
    assert_eq!(class["metadata"]["labels"], json!({"team": "infra"}));
    assert_eq!(
        class["spec"],
        json!({
            "amiFamily": "AL2023",
            "role": format!("{cluster}-node-role"),
            "detailedMonitoring": true,
            "userData": format!("#!/bin/sh\necho {cluster} {{{{ ds }}}}\n"),
            "tags": {format!("{cluster}/owner"): account},
            "amiSelectorTerms": [{"alias": "al2023@latest"}],
            "subnetSelectorTerms": [{"tags": {"Name": format!("{account}-private*")}}, {"id": "subnet-0123456789abcdef0"}],
            "securityGroupSelectorTerms": [{"tags": {"Name": format!("{cluster}-node")}}],
            "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs":
                {"volumeSize": "100Gi", "volumeType": "gp3", "encrypted": true, "deleteOnTermination": true}}],
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2, "httpEndpoint": "enabled", "httpProtocolIPv6": "disabled"},
            "kubelet": {"maxPods": 58, "kubeReserved": {"cpu": "100m", "memory": "1Gi"}},
        })
    );
    let state = tofu.resource(ADDRESS);
    assert_eq!(state["ready"], true);
    assert_eq!(state["role"], "{{ cluster_name }}-node-role", "state keeps the text");
    assert_eq!(state["cluster_arn"], format!("arn:aws:eks:us-east-1:{account}:cluster/{cluster}"));
    tofu.plan().empty();
    tofu.plan_with(&["-refresh=false"]).empty();

    let changed = FULL.replace("\"100Gi\"", "\"200Gi\"").replace("max_pods      = 58", "max_pods      = 110");
    tofu.write("main.tf", &configured(&changed));
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodeclass.this: update"]);
    tofu.apply_planned().ok();
    let class = live("full");
    assert_eq!(class["spec"]["blockDeviceMappings"][0]["ebs"]["volumeSize"], "200Gi");
    assert_eq!(class["spec"]["kubelet"]["maxPods"], 110);
    tofu.plan().empty();

    tofu.destroy().ok();
    assert!(!lab.exists(&[KIND, "full"]));
}

#[test]
fn a_class_is_imported_without_a_change() {
    let lab = lab();
    lab.kubectl_apply(
        r#"{"apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {"name": "imported"}, "spec": {"role": "node-role",
            "amiSelectorTerms": [{"alias": "al2023@latest"}], "subnetSelectorTerms": [{"tags": {"Name": "private"}}],
            "securityGroupSelectorTerms": [{"tags": {"Name": "node"}}], "tags": {"a": "b"}}}"#,
    );
    lab.eventually("the class is Ready", || live("imported")["status"]["conditions"].is_array());
    let proxy = lab.proxy();
    let block = "import {\n  to = karpenter_nodeclass.this\n  id = \"imported\"\n}\n";
    let tofu = Tofu::new(lab, &configured(&format!("{}{block}", small("imported", "tags = { a = \"b\" }")))).through(&proxy);
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), Vec::<String>::new(), "{:#}", plan.change(ADDRESS));
    tofu.apply_planned().ok();
    assert_eq!(proxy.calls().iter().filter(|c| c.mutating).count(), 0);
    tofu.plan().empty();

    let generated = Tofu::new(lab, &configured(&format!("\n{block}")));
    let plan = generated.plan_with(&["-generate-config-out=generated.tf"]).ok();
    assert_eq!(plan.changes(), Vec::<String>::new(), "{:#}", plan.change(ADDRESS));
    tofu.destroy().ok();
}

#[test]
fn a_class_that_disappeared_is_made_again_and_one_in_the_way_is_refused() {
    let lab = lab();
    let tofu = workspace(&small("gone", ""));
    tofu.apply().ok();
    lab.kubectl_text(&["delete", KIND, "gone"]);
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodeclass.this: create"]);
    tofu.apply().ok();

    let second = workspace(&small("gone", "detailed_monitoring = true")).apply().err();
    let error = second.errors()[0];
    assert_eq!((error.summary.as_str(), error.code()), ("could not create EC2NodeClass \"gone\"", "name = \"gone\""));
    assert!(error.detail.contains("to = karpenter_nodeclass."), "{}", error.detail);
    // gone when it is to be destroyed: nothing to do
    tofu.plan_with(&["-destroy"]).ok();
    lab.kubectl_text(&["delete", KIND, "gone"]);
    tofu.apply_planned().ok();
}
