//! The example of the repository on real servers, from an empty state to an empty account, as a user would run it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod before_the_cluster;
mod budgets;
mod interrupted;
mod verify;

use std::collections::BTreeSet;

use common::{Engine, Lab, Options, Tofu};
use serde_json::Value;

/// The example in a workspace of its own, for this lab's cluster and charts.
fn seed_stack(lab: &Lab) -> Tofu {
    Tofu::new(lab, "")
        .example("examples/seed-stack")
        .var("cluster_name", lab.cluster_name())
        .var("chart_repository", &lab.chart_repository())
}

/// A provider block for this lab's cluster, and `rest`.
fn configuration(lab: &Lab, rest: &str) -> String {
    format!("provider \"karpenter\" {{\n  cluster_name = \"{}\"\n}}\n{rest}", lab.cluster_name())
}

#[test]
fn opentofu_creates_the_stack_finds_nothing_to_do_and_destroys_it() {
    let lab = Lab::start(Options { cluster_name: "quarry-blue".into(), admin: false, ..Options::default() });
    create_no_op_destroy(&lab, seed_stack(&lab));
}

#[test]
fn terraform_creates_the_stack_finds_nothing_to_do_and_destroys_it() {
    let Some(terraform) = Engine::terraform() else { return };
    // the longest name that EKS takes: what is named after the cluster meets AWS' limits
    let name = format!("{}-{}", "a-cluster-with-a-rather-long-name".repeat(2), "x".repeat(33));
    let lab = Lab::start(Options { cluster_name: name, kubernetes_version: "1.34".into(), admin: false, ..Options::default() });
    create_no_op_destroy(&lab, seed_stack(&lab).engine(terraform));
}

fn create_no_op_destroy(lab: &Lab, tofu: Tofu) {
    lab.boto3(NEIGHBOURS);
    lab.kubectl_apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: karpenter-neighbour, namespace: kube-system}}");
    let before = lab.inventory();

    tofu.plan().ok();
    tofu.apply_planned().ok();
    verify::everything_is_there(lab, &tofu);
    tofu.plan().empty();
    tofu.plan_with(&["-refresh=false"]).empty();

    tofu.destroy().ok();
    only_what_stays_by_design_is_left(&before, &lab.inventory());
}

/// Objects of somebody else, named and shaped like ours where that is possible.
const NEIGHBOURS: &str = "
    trust = json.dumps({'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Principal': {'Service': 'pods.eks.amazonaws.com'}, 'Action': ['sts:AssumeRole', 'sts:TagSession']}]})
    role = iam.create_role(RoleName='karpenter-neighbour', AssumeRolePolicyDocument=trust)['Role']['Arn']
    allow = json.dumps({'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': 'sqs:*', 'Resource': '*'}]})
    policy = iam.create_policy(PolicyName='karpenter-neighbour', PolicyDocument=allow)['Policy']['Arn']
    iam.attach_role_policy(RoleName='karpenter-neighbour', PolicyArn=policy)
    iam.create_instance_profile(InstanceProfileName='karpenter-neighbour')
    iam.add_role_to_instance_profile(InstanceProfileName='karpenter-neighbour', RoleName='karpenter-neighbour')
    queue = sqs.create_queue(QueueName='karpenter-neighbour', tags={'of': 'somebody else'})['QueueUrl']
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=['QueueArn'])['Attributes']['QueueArn']
    events.put_rule(Name='karpenter-neighbour', EventPattern=json.dumps({'source': ['aws.health']}))
    events.put_targets(Rule='karpenter-neighbour', Targets=[{'Id': '1', 'Arn': arn}])
    eks.create_pod_identity_association(clusterName=cluster, namespace='default', serviceAccount='karpenter', roleArn=role)
    eks.create_access_entry(clusterName=cluster, principalArn=role, type='STANDARD')
";

/// Nothing of ours is left, and everything that was there before is as it was.
pub fn only_what_stays_by_design_is_left(before: &Value, after: &Value) {
    let aws = |inventory: &Value| inventory["aws"].as_object().unwrap().clone();
    let mut after_aws = aws(after);
    after_aws.retain(|name, _| !name.starts_with("role AWSServiceRoleFor"));
    let mut before_aws = aws(before);
    before_aws.retain(|name, _| !name.starts_with("role AWSServiceRoleFor"));
    assert_same_objects(&before_aws.into(), &after_aws.into());

    let objects = |inventory: &Value| -> BTreeSet<String> {
        inventory["kubernetes"].as_array().unwrap().iter().map(|o| o.as_str().unwrap().to_owned()).collect()
    };
    let (before, after) = (objects(before), objects(after));
    assert_eq!(before.difference(&after).collect::<Vec<_>>(), Vec::<&String>::new(), "objects that were there before");
    let by_design = |object: &&String| {
        let (kind, name) = object.split_once(' ').unwrap();
        let karpenters = name.ends_with("karpenter.sh") || name.ends_with("karpenter.k8s.aws");
        karpenters && matches!(kind, "CustomResourceDefinition.apiextensions.k8s.io" | "APIService.apiregistration.k8s.io")
    };
    let left: Vec<&String> = after.difference(&before).filter(|o| !by_design(o)).collect();
    assert_eq!(left, Vec::<&String>::new(), "objects of ours");
}

/// `assert_eq` that names the keys which differ, and not a page of both sides.
fn assert_same_objects(left: &Value, right: &Value) {
    let lines =
        |side: &Value| -> Vec<String> { side.as_object().unwrap().iter().map(|(name, details)| format!("{name}  {details}")).collect() };
    assert_same_lines(&lines(left), &lines(right), "before", "after");
}

/// The same, of lines in any order.
#[track_caller]
fn assert_same_lines(left: &[String], right: &[String], this: &str, that: &str) {
    let only =
        |these: &[String], those: &[String]| these.iter().filter(|line| !those.contains(line)).cloned().collect::<Vec<_>>().join("\n  ");
    let (only_left, only_right) = (only(left, right), only(right, left));
    assert!(only_left.is_empty() && only_right.is_empty(), "only {this}:\n  {only_left}\nonly {that}:\n  {only_right}");
}
