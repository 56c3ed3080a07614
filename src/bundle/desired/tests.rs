use super::super::arguments;
use super::*;

fn place() -> Place {
    Place::of_arn("arn:aws:eks:us-east-1:123456789012:cluster/demo").unwrap()
}

fn made(arguments: &Arguments) -> Desired {
    desired(arguments, &Version::new(1, 14, 1), &place(), &BTreeMap::new()).unwrap()
}

#[test]
fn an_arn_and_its_place_are_the_same() {
    assert_eq!(place().arn(), "arn:aws:eks:us-east-1:123456789012:cluster/demo");
    assert_eq!(Place::of_arn("arn:aws:eks:us-east-1:123456789012:nodegroup/x"), None);
    assert_eq!(Place::of_arn("demo"), None);
}

#[test]
fn the_cluster_name_alone_gives_the_whole_inventory() {
    let desired = made(&Arguments::default());
    assert_eq!(desired.controller_role.arn, "arn:aws:iam::123456789012:role/demo-karpenter-controller");
    assert_eq!(desired.node_role.name, "demo-karpenter-node-role");
    assert_eq!(desired.policies.len(), 1);
    assert_eq!(desired.policies[0].name, "demo-karpenter-controller");
    assert_eq!(desired.queue.as_ref().unwrap().arn, "arn:aws:sqs:us-east-1:123456789012:demo-karpenter");
    assert_eq!(desired.rules.len(), 5);
    assert_eq!(desired.tags[OWNER_TAG], place().arn());
    let chart = desired.chart.unwrap();
    assert_eq!(chart.injected["settings"], json!({"clusterName": "demo", "interruptionQueue": "demo-karpenter"}));
    assert_eq!(chart.injected["serviceAccount"]["name"], "karpenter");
}

#[test]
fn the_owner_tag_wins_over_the_users() {
    let tags = BTreeMap::from([(OWNER_TAG.to_owned(), "mine".to_owned()), ("team".to_owned(), "data".to_owned())]);
    let defaults = BTreeMap::from([("team".to_owned(), "none".to_owned()), ("env".to_owned(), "test".to_owned())]);
    let desired = desired(&Arguments { tags: Some(tags), ..Arguments::default() }, &Version::new(1, 14, 1), &place(), &defaults).unwrap();
    assert_eq!(desired.tags[OWNER_TAG], place().arn());
    assert_eq!((desired.tags["team"].as_str(), desired.tags["env"].as_str()), ("data", "test"));
}

#[test]
fn a_given_controller_role_gets_no_policies() {
    let role =
        arguments::ControllerRole { create: Some(false), arn: Some("arn:aws:iam::123456789012:role/x/mine".into()), ..Default::default() };
    let desired = made(&Arguments { controller_role: Some(role), ..Arguments::default() });
    assert!(desired.policies.is_empty());
    assert_eq!(desired.controller_role.name, "mine");
    assert_eq!(desired.association.unwrap().role_arn, "arn:aws:iam::123456789012:role/x/mine");
}

#[test]
fn a_given_controller_role_must_be_named() {
    let role = arguments::ControllerRole { create: Some(false), ..Default::default() };
    let error =
        desired(&Arguments { controller_role: Some(role), ..Arguments::default() }, &Version::new(1, 14, 1), &place(), &BTreeMap::new())
            .unwrap_err();
    assert_eq!(error.path.unwrap().to_string(), "controller_role[0]");
}

#[test]
fn without_a_queue_there_are_no_rules_and_the_chart_hears_of_none() {
    let queue = arguments::InterruptionQueue { enabled: Some(false), ..Default::default() };
    let desired = made(&Arguments { interruption_queue: Some(queue), ..Arguments::default() });
    assert!(desired.queue.is_none() && desired.rules.is_empty());
    assert!(desired.chart.unwrap().injected["settings"].get("interruptionQueue").is_none());
}

#[test]
fn further_node_roles_may_be_passed_too() {
    let node_role =
        arguments::NodeRole { additional_arns: Some(vec!["arn:aws:iam::123456789012:role/other".into()]), ..Default::default() };
    let desired = made(&Arguments { node_role: Some(node_role), ..Arguments::default() });
    assert!(desired.policies[0].document.to_string().contains("role/other"));
}
