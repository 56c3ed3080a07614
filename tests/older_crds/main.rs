//! Fields that are newer than the CRDs installed in the cluster: the plan warns, apply refuses before it writes, and where the same
//! apply raises the CRDs first, nothing is in the way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;
mod crds;

use common::{Diagnostic, Fault, Lab, Options, Outcome, Tofu};

const CRD: &str = "kubernetes:GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/";

/// A pool with further lines in it and in its template.
fn pool(name: &str, top: &str, template: &str) -> String {
    format!(
        r#"
resource "karpenter_nodepool" "{name}" {{
  name = "{name}"
  timeouts {{
    create = "5s"
    update = "5s"
  }}
  {top}
  template {{
    node_class_ref {{
      name = "default"
    }}
    {template}
  }}
}}
"#
    )
}

/// A class with further lines, whose images are found by `term`.
fn class(name: &str, term: &str, more: &str) -> String {
    format!(
        r#"
resource "karpenter_nodeclass" "{name}" {{
  name = "{name}"
  role = "node-role"
  timeouts {{
    create = "5s"
    update = "5s"
  }}
  ami_selector_term {{
    {term}
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

fn requirement(key: &str, operator: &str) -> String {
    format!("requirement {{\n      key      = \"{key}\"\n      operator = \"{operator}\"\n      values   = [\"4\"]\n    }}")
}

fn disruption(policy: &str) -> String {
    format!("disruption {{\n    consolidate_after    = \"1m\"\n    consolidation_policy = \"{policy}\"\n  }}")
}

/// Everything that came after 1.0, one at a time: the configuration, the line that needs it, and the version.
fn later() -> Vec<(String, &'static str, &'static str)> {
    let alias = "alias = \"al2023@latest\"";
    let reservation = |more: &str| format!("capacity_reservation_selector_term {{\n    {more}\n  }}");
    let volume = "block_device_mapping {\n    device_name = \"/dev/xvda\"\n    ebs {\n      volume_size                = \"10Gi\"\n      \
                  snapshot_id                = \"snap-0123456789abcdef0\"\n      volume_initialization_rate = 200\n    }\n  }";
    let interface =
        "network_interface {\n    network_card_index = 0\n    device_index       = 0\n    interface_type     = \"interface\"\n  }";
    let tenancy = "labels = { \"karpenter.k8s.aws/instance-tenancy\" = \"default\" }";
    vec![
        (pool("p-static", "replicas = 2", ""), "replicas = 2", "1.8.0"),
        (pool("p-balanced", &disruption("Balanced"), ""), "consolidation_policy = \"Balanced\"", "1.14.0"),
        (pool("p-gte", "", &requirement("karpenter.k8s.aws/instance-cpu", "Gte")), "operator = \"Gte\"", "1.9.0"),
        (
            pool("p-label", "", &requirement("karpenter.k8s.aws/capacity-reservation-type", "In")),
            "key      = \"karpenter.k8s.aws/capacity-reservation-type\"",
            "1.6.0",
        ),
        (pool("p-tenancy", "", tenancy), tenancy, "1.9.0"),
        (class("c-windows", "name = \"windows-*\"", "ami_family = \"Windows2025\""), "ami_family = \"Windows2025\"", "1.9.0"),
        (class("c-alias", "alias = \"windows2025@latest\"", ""), "alias = \"windows2025@latest\"", "1.9.0"),
        (class("c-ssm", "ssm_parameter = \"/images/mine\"", "ami_family = \"AL2023\""), "ssm_parameter = \"/images/mine\"", "1.4.0"),
        (class("c-reserved", alias, &reservation("id = \"cr-0123\"")), "id = \"cr-0123\"", "1.3.0"),
        (class("c-rate", alias, volume), "volume_initialization_rate = 200", "1.5.0"),
        (class("c-prefix", alias, "ip_prefix_count = 1"), "ip_prefix_count = 1", "1.8.0"),
        (class("c-interface", alias, interface), "device_index       = 0", "1.11.0"),
        (class("c-placed", alias, "placement_group_selector {\n    name = \"near\"\n  }"), "name = \"near\"", "1.11.0"),
        (class("c-tracked", alias, "connection_tracking {\n    udp_timeout = 30\n  }"), "udp_timeout = 30", "1.13.0"),
        (
            class("c-nested", alias, "cpu_options {\n    nested_virtualization = \"enabled\"\n  }"),
            "nested_virtualization = \"enabled\"",
            "1.13.0",
        ),
    ]
}

fn configured(lab: &Lab, hcl: &str) -> String {
    format!("provider \"karpenter\" {{\n  cluster_name = \"{}\"\n}}\n{hcl}", lab.cluster_name())
}

/// The one diagnostic of a resource.
fn of<'a>(all: &[&'a Diagnostic], address: &str) -> &'a Diagnostic {
    let own: Vec<_> = all.iter().filter(|d| d.address == address).collect();
    assert_eq!(own.len(), 1, "{address}: {all:#?}");
    own[0]
}

fn address(hcl: &str) -> String {
    let words: Vec<&str> = hcl.trim_start().lines().next().unwrap().split('"').collect();
    format!("{}.{}", words[1], words[3])
}

fn older(cluster: &str) -> Lab {
    let lab = Lab::start(Options { cluster_name: cluster.into(), ..Options::default() });
    lab.kubectl_apply(&crds::first().to_string());
    let both = ["crd/nodepools.karpenter.sh", "crd/ec2nodeclasses.karpenter.k8s.aws"];
    lab.kubectl_text(&[&["wait", "--for=condition=Established", "--timeout=60s"], both.as_slice()].concat());
    lab
}

#[test]
fn what_the_installed_crds_lack_warns_at_plan_and_is_refused_at_apply() {
    let lab = older("older");
    each_is_told_with_its_version(&lab);
    a_change_is_refused_and_the_object_stays(&lab);
    without_a_look_at_the_crd_the_api_server_decides(&lab);
    crds_raised_in_the_same_apply_are_seen(&lab);
}

fn each_is_told_with_its_version(lab: &Lab) {
    let proxy = lab.proxy();
    let later = later();
    let all: String = later.iter().map(|(hcl, _, _)| hcl.as_str()).collect();
    let tofu = Tofu::new(lab, &configured(lab, &all)).through(&proxy);
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes().len(), later.len(), "a plan is only warned about");
    for (hcl, code, version) in &later {
        let warning = of(&plan.outcome.warnings(), &address(hcl));
        assert_eq!(warning.code(), *code);
        assert!(warning.summary.contains(&format!("needs Karpenter {version}")), "{}", warning.text());
        for words in ["does not have it", "cluster \"older\"", "karpenter_bundle"] {
            assert!(warning.detail.contains(words), "no {words:?} in {}", warning.detail);
        }
    }
    assert_eq!(proxy.count(CRD), 2, "one look a kind: {:#?}", proxy.counts());
    proxy.reset();
    let outcome = tofu.apply_planned().err();
    for (hcl, code, version) in &later {
        let error = of(&outcome.errors(), &address(hcl));
        let (kind, name) = (if hcl.contains("nodepool") { "NodePool" } else { "EC2NodeClass" }, address(hcl));
        let name = name.split('.').next_back().unwrap().to_owned();
        assert_eq!((error.code(), error.summary.clone()), (*code, format!("could not apply {kind} {name:?}")));
        assert!(error.detail.contains(&format!("came with Karpenter {version}")), "{}", error.detail);
        assert!(error.detail.contains("Nothing was written"), "{}", error.detail);
    }
    assert_eq!(proxy.count("kubernetes:PATCH"), 0, "{:#?}", proxy.counts());

    // as a manifest: at its place in the text
    let manifest = "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: {name: p-text}\nspec:\n  replicas: 1\n  template: {spec: {requirements: [], \
                    nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}}}\n";
    let hcl = format!("resource \"karpenter_nodepool\" \"text\" {{\n  manifest = <<-EOT\n{manifest}EOT\n}}\n");
    let tofu = Tofu::new(lab, &configured(lab, &hcl));
    let plan = tofu.plan().ok();
    let warning = plan.outcome.warnings()[0];
    assert_eq!(warning.summary, "spec.replicas needs Karpenter 1.8.0");
    assert!(warning.code().starts_with("manifest = <<-EOT"), "{}", warning.code());
    assert!(tofu.apply_planned().err().errors()[0].detail.contains("spec.replicas came with Karpenter 1.8.0"));
}

fn a_change_is_refused_and_the_object_stays(lab: &Lab) {
    let proxy = lab.proxy();
    let tofu = Tofu::new(lab, &configured(lab, &pool("grows", "weight = 1", ""))).through(&proxy);
    tofu.apply().ok();
    assert_eq!(proxy.count(CRD), 0, "no version matters: {:#?}", proxy.counts());
    tofu.write("main.tf", &configured(lab, &pool("grows", &format!("weight = 2\n  {}", disruption("Balanced")), "")));
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), ["karpenter_nodepool.grows: update"]);
    assert_eq!(plan.outcome.warnings().len(), 1, "{:#?}", plan.outcome.warnings());
    assert_refused(&tofu.apply_planned().err(), "1.14.0");
    assert_eq!(lab.kubectl(&["get", "nodepools.karpenter.sh", "grows"])["spec"]["weight"], 1);
    // and taken back, nothing is left of it
    tofu.write("main.tf", &configured(lab, &pool("grows", "weight = 1", "")));
    tofu.plan().empty();
    tofu.destroy().ok();
}

/// Two ways not to see a CRD: it is not answered for, and it may not be read.
fn without_a_look_at_the_crd_the_api_server_decides(lab: &Lab) {
    let proxy = lab.proxy();
    let hcl = configured(lab, &pool("unseen", "replicas = 2", ""));
    let tofu = Tofu::new(lab, &hcl).through(&proxy);
    proxy.fault(Fault::on("kubernetes:GET .*/customresourcedefinitions").times(1000).status(500, "InternalError", "down"));
    let plan = tofu.plan().ok();
    assert!(plan.outcome.warnings().is_empty(), "a cluster that does not answer is no reason to warn: {:#?}", plan.outcome.warnings());

    let token = lab.limited_token("pools-only", "get,list,watch,create,patch,delete");
    let provider = format!("kubernetes {{\n    token = \"{token}\"\n  }}\n  cluster_name");
    let tofu = Tofu::new(lab, &hcl.replacen("cluster_name", &provider, 1)).through(&proxy);
    proxy.clear();
    let plan = tofu.plan().ok();
    assert!(plan.outcome.warnings().is_empty(), "{:#?}", plan.outcome.warnings());
    proxy.reset();
    let outcome = tofu.apply_planned().err();
    let error = outcome.errors()[0];
    assert_eq!((error.code(), error.summary.as_str()), ("replicas = 2", "could not apply NodePool \"unseen\""));
    for words in ["field not declared in schema", "came with Karpenter 1.8.0"] {
        assert!(error.detail.contains(words), "no {words:?} in {}", error.detail);
    }
    assert_eq!(proxy.count("kubernetes:PATCH"), 1, "never tried again: {:#?}", proxy.counts());
}

fn crds_raised_in_the_same_apply_are_seen(lab: &Lab) {
    let chart = format!("chart {{\n    repository = \"{}\"\n  }}", lab.chart_repository());
    let bundle = format!("resource \"karpenter_bundle\" \"this\" {{\n  {chart}\n}}\n");
    let raised = pool("raised", "replicas = 0\n  depends_on = [karpenter_bundle.this]", "");
    let tofu = Tofu::new(lab, &configured(lab, &(bundle + &raised)));
    let plan = tofu.plan().ok();
    let warning = of(&plan.outcome.warnings(), "karpenter_nodepool.raised");
    assert_eq!(warning.summary, "spec.replicas needs Karpenter 1.8.0");
    tofu.apply_planned().ok();
    assert_eq!(lab.kubectl(&["get", "nodepools.karpenter.sh", "raised"])["spec"]["replicas"], 0);
    let plan = tofu.plan().empty();
    assert!(plan.outcome.warnings().is_empty(), "{:#?}", plan.outcome.warnings());
    tofu.destroy().ok();
}

#[track_caller]
fn assert_refused(outcome: &Outcome, version: &str) {
    let errors = outcome.errors();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].detail.contains(&format!("came with Karpenter {version}")), "{}", errors[0].text());
}
