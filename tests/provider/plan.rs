//! The provider block as OpenTofu drives it: what is not there yet, what is refused, what is not known.

use karpenter::tofu::schema::{Attribute, Block, Type};

use crate::common::{Fault, Lab, Tofu};

const POOL: &str = r#"
resource "karpenter_nodepool" "this" {
  name = "provider-test"
  timeouts { create = "5s" }
  template {
    node_class_ref { name = "none" }
    requirements = { "kubernetes.io/arch" = ["arm64"] }
  }
}
"#;

fn with_provider(block: &str) -> String {
    format!("provider \"karpenter\" {{\n{block}\n}}\n{POOL}")
}

fn named(lab: &Lab) -> String {
    with_provider(&format!("cluster_name = \"{}\"", lab.cluster_name()))
}

#[test]
fn a_create_is_planned_without_credentials_or_cluster() {
    let lab = Lab::shared();
    let without = || Tofu::new(lab, &named(lab)).env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    for tofu in [
        without(),
        without().env("AWS_REGION", "").env("AWS_DEFAULT_REGION", ""),
        Tofu::new(lab, &with_provider("cluster_name = \"nowhere\"")),
    ] {
        let plan = tofu.plan().ok();
        assert_eq!(plan.changes(), ["karpenter_nodepool.this: create"]);
        assert_eq!(plan.change("karpenter_nodepool.this")["after_unknown"]["cluster_arn"], true);
    }
}

#[test]
fn a_known_cluster_is_planned_with_its_arn() {
    let lab = Lab::shared();
    let plan = Tofu::new(lab, &named(lab)).plan().ok();
    let arn = format!("arn:aws:eks:us-east-1:{}:cluster/{}", lab.account_id(), lab.cluster_name());
    assert_eq!(plan.change("karpenter_nodepool.this")["after"]["cluster_arn"], arn);
}

#[test]
fn refused_credentials_fail_the_plan_and_name_the_call() {
    let lab = Lab::shared();
    let proxy = lab.proxy();
    proxy.fault(Fault::on("eks:DescribeCluster").times(9).status(403, "AccessDeniedException", "User: x is not authorized"));
    let plan = Tofu::new(lab, &named(lab)).through(&proxy).plan();
    let errors = plan.outcome.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let text = errors[0].text();
    assert!(text.contains("eks:DescribeCluster") && text.contains("not authorized") && text.contains("permission"), "{text}");
}

#[test]
fn every_value_may_be_unknown_at_plan() {
    let lab = Lab::shared();
    let unknown = "terraform_data.later.output";
    // every argument of the declaration, whatever it is
    let schema = karpenter::provider::config::schema();
    let hcl = with_provider(&all_unknown(&schema.block, unknown)) + "\nresource \"terraform_data\" \"later\" {\n  input = timestamp()\n}\n";
    let plan = Tofu::new(lab, &hcl).plan().ok();
    assert_eq!(plan.changes(), ["karpenter_nodepool.this: create", "terraform_data.later: create"]);
}

/// HCL in which every argument of the block, and of the blocks in it, is `value`.
fn all_unknown(block: &Block, value: &str) -> String {
    let argument = |a: &Attribute| match &a.ty {
        // beside the allowed ones: a list of one is no unknown list
        _ if a.name == "forbidden_account_ids" => String::new(),
        Type::List(_) => format!("{} = [{value}]\n", a.name),
        Type::Map(_) => format!("{} = {{ a = {value} }}\n", a.name),
        _ => format!("{} = {value}\n", a.name),
    };
    let arguments: String = block.attributes.iter().map(argument).collect();
    let blocks = block.blocks.iter().map(|inner| format!("{} {{\n{}}}\n", inner.name, all_unknown(&inner.block, value)));
    arguments + &blocks.collect::<String>()
}

#[test]
fn a_refresh_with_an_unknown_configuration_keeps_the_state_and_says_so() {
    let lab = Lab::start(crate::common::Options { cluster_name: "provider-refresh".into(), ..crate::common::Options::default() });
    lab.install_crds();
    let tofu = Tofu::new(&lab, &named(&lab));
    tofu.apply().ok();
    // not made yet, so that its output is unknown at plan
    let block = format!("cluster_name = \"{}\"\n  region = terraform_data.later.output", lab.cluster_name());
    let later = with_provider(&block) + "resource \"terraform_data\" \"later\" {\n  input = \"us-east-1\"\n}\n";
    tofu.write("main.tf", &later);
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), ["terraform_data.later: create"]);
    assert!(plan.outcome.warnings().iter().any(|w| w.summary.contains("not refreshed")), "{:?}", plan.outcome.warnings());
    tofu.apply().ok();
    // another region: EKS does not know the name there, which proves nothing
    tofu.write("main.tf", &named(&lab));
    let elsewhere = tofu.env("AWS_REGION", "eu-west-1");
    let plan = elsewhere.plan();
    let errors = plan.outcome.errors();
    assert!(errors.iter().any(|e| e.text().contains("eks:DescribeCluster finds it, but not where the provider block")), "{errors:?}");
    elsewhere.env("AWS_REGION", "us-east-1").destroy().ok();
}

#[test]
fn a_contradictory_block_is_refused_at_its_line_without_network() {
    let hcl = with_provider("cluster_name = \"a b\"\n  kubernetes {\n    token = \"t\"\n    client_key = \"k\"\n  }");
    let outcome = Tofu::offline(&hcl, "http://127.0.0.1:9").validate();
    let places: Vec<String> = outcome.errors().iter().map(|e| e.place()).collect();
    assert_eq!(places, ["main.tf:2", "main.tf:5"], "{:?}", outcome.errors());
}
