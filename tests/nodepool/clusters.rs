//! Which cluster an object belongs to, and what happens where that is not known or is another one.

use serde_json::json;

use super::{ADDRESS, configured, lab, small};
use crate::common::Tofu;

#[test]
fn a_resource_s_cluster_counts_before_the_provider_s() {
    let lab = lab();
    let arn = format!("arn:aws:eks:us-east-1:{}:cluster/{}", lab.account_id(), lab.cluster_name());
    let with = |provider: &str, own: &str| {
        let own = if own.is_empty() { String::new() } else { format!("cluster_name = \"{own}\"") };
        format!("provider \"karpenter\" {{\n  {provider}\n}}\n{}", small("whose", &own, "labels = { of = \"{{ cluster_name }}\" }"))
    };
    // the provider's names a cluster that does not exist: nothing asks for it
    let tofu = Tofu::new(lab, &with("cluster_name = \"nowhere\"", lab.cluster_name()));
    tofu.apply().ok();
    assert_eq!(tofu.resource(ADDRESS)["cluster_name"], lab.cluster_name());
    assert_eq!(super::live("whose")["spec"]["template"]["metadata"]["labels"]["of"], lab.cluster_name());
    tofu.plan().empty();

    // not written any more: the recorded one stays, whatever the provider's is
    tofu.write("main.tf", &with("cluster_name = \"nowhere\"", ""));
    tofu.plan().empty();

    // a replacement that is asked for does not move it there
    let moved = tofu.plan_with(&[&format!("-replace={ADDRESS}")]).outcome.err();
    assert!(moved.errors()[0].text().contains("but the provider's cluster_name is now \"nowhere\""), "{:#?}", moved.errors());

    // the ARN is another way to write the same
    tofu.write("main.tf", &with("", &arn));
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), ["karpenter_nodepool.this: update"]);
    tofu.apply_planned().ok();
    assert_eq!(tofu.resource(ADDRESS)["cluster_name"], arn);
    tofu.plan().empty();

    // another cluster is another object
    tofu.write("main.tf", &with("", "nowhere"));
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), ["karpenter_nodepool.this: delete, create"]);
    assert_eq!(plan.change(ADDRESS)["replace_paths"], json!([["cluster_name"]]));
    tofu.write("main.tf", &with("", &arn));
    tofu.destroy().ok();
}

#[test]
fn another_cluster_than_the_recorded_one_is_refused() {
    let lab = lab();
    let tofu = Tofu::new(lab, &configured(&small("elsewhere", "", "")));
    tofu.apply().ok();
    // a cluster of the same name in another region
    lab.boto3(
        "west = boto3.client('eks', region_name='us-west-2')
west.create_cluster(name=cluster, roleArn='arn:aws:iam::123456789012:role/x', resourcesVpcConfig={'subnetIds': []})",
    );
    let west = configured(&small("elsewhere", "", "")).replace("cluster_name", "region = \"us-west-2\"\n  cluster_name");
    tofu.write("main.tf", &west);
    for outcome in [tofu.plan().outcome.err(), tofu.run(&["destroy", "-json", "-auto-approve", "-refresh=false"]).err()] {
        let text = outcome.errors()[0].text();
        for words in ["NodePool \"elsewhere\"", "it belongs to cluster arn:aws:eks:us-east-1:", "reaches arn:aws:eks:us-west-2:"] {
            assert!(text.contains(words), "no {words:?} in {text}");
        }
    }
    assert!(lab.exists(&["nodepools.karpenter.sh", "elsewhere"]));
    tofu.write("main.tf", &configured(&small("elsewhere", "", "")));
    tofu.destroy().ok();
}

#[test]
fn a_refresh_with_an_unknown_provider_configuration_keeps_the_state_with_a_warning() {
    let lab = lab();
    let hcl = |input: &str| {
        let provider = format!("region = terraform_data.region.output\n  cluster_name = \"{}\"", lab.cluster_name());
        format!(
            "resource \"terraform_data\" \"region\" {{\n  input            = \"us-east-1\"\n  triggers_replace = \"{input}\"\n}}\nprovider \"karpenter\" {{\n  {provider}\n}}\n{}",
            small("unrefreshed", "", "")
        )
    };
    let tofu = Tofu::new(lab, &hcl("a"));
    tofu.apply().ok();
    tofu.write("main.tf", &hcl("b"));
    let plan = tofu.plan().ok();
    let warnings = plan.outcome.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert_eq!(warnings[0].summary, "NodePool \"unrefreshed\" was not refreshed");
    assert!(!plan.changes().iter().any(|c| c.contains("karpenter_nodepool")), "{:?}", plan.changes());
    tofu.apply_planned().ok();
    tofu.plan().empty();
    tofu.destroy().ok();
}
