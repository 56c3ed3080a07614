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

fn with(change: impl FnOnce(&mut Arguments)) -> Arguments {
    let mut arguments = Arguments::default();
    change(&mut arguments);
    arguments
}

#[test]
fn the_longest_cluster_name_fits_every_limit_in_every_partition() {
    for partition in ["aws", "aws-cn", "aws-us-gov", "aws-iso-b"] {
        let cluster = "c".repeat(100);
        let place = Place::of_arn(&format!("arn:{partition}:eks:us-gov-west-1:123456789012:cluster/{cluster}")).unwrap();
        for minor in 0..=15 {
            let desired = desired(&Arguments::default(), &Version::new(1, minor, 0), &place, &BTreeMap::new()).unwrap();
            assert!(desired.controller_role.name.len() <= 64 && desired.node_role.name.len() <= 64);
            assert!(desired.queue.as_ref().unwrap().name.len() <= 80);
            assert!(desired.policies.iter().all(|policy| policy.name.len() <= 128));
            assert!(desired.rules.iter().all(|rule| rule.name.len() <= 64));
            let arns = desired.rules.iter().map(|rule| &rule.arn).chain(desired.policies.iter().map(|policy| &policy.arn));
            let own = format!("arn:{partition}:");
            assert!(arns.chain(&desired.node_role.made.as_ref().unwrap().attached).all(|arn| arn.starts_with(&own)));
        }
    }
}

#[test]
fn nodes_pull_with_the_policy_of_their_karpenter() {
    let attached = |minor| {
        desired(&Arguments::default(), &Version::new(1, minor, 0), &place(), &BTreeMap::new()).unwrap().node_role.made.unwrap().attached
    };
    assert!(attached(3).contains(&"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly".to_owned()));
    assert!(attached(4).contains(&"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly".to_owned()));
}

#[test]
fn irsa_trusts_one_service_account_and_annotates_it() {
    let mut place = Place::of_arn("arn:aws-cn:eks:cn-north-1:123456789012:cluster/demo").unwrap();
    place.oidc_issuer = "oidc.eks.cn-north-1.amazonaws.com.cn/id/X".into();
    let arguments = with(|arguments| {
        arguments.credentials = Some(Credentials::Irsa);
        arguments.namespace = Some("karpenter".into());
    });
    let desired = desired(&arguments, &Version::new(1, 14, 1), &place, &BTreeMap::new()).unwrap();
    assert!(desired.association.is_none());
    let trust = &desired.controller_role.made.as_ref().unwrap().trust["Statement"][0];
    assert_eq!(trust["Principal"]["Federated"], "arn:aws-cn:iam::123456789012:oidc-provider/oidc.eks.cn-north-1.amazonaws.com.cn/id/X");
    assert_eq!(
        trust["Condition"]["StringEquals"]["oidc.eks.cn-north-1.amazonaws.com.cn/id/X:sub"],
        "system:serviceaccount:karpenter:karpenter"
    );
    let annotations = &desired.chart.unwrap().injected["serviceAccount"]["annotations"];
    assert_eq!(annotations[ROLE_ANNOTATION], desired.controller_role.arn.as_str());
}

#[test]
fn each_node_role_gets_one_access_entry_where_the_cluster_has_any() {
    let arguments = with(|arguments| {
        let role = "arn:aws:iam::123456789012:role/".to_owned();
        let arns = vec![role.clone() + "x/other", role.clone() + "demo-karpenter-node-role", role + "x/other"];
        arguments.node_role = Some(arguments::NodeRole { additional_arns: Some(arns), ..Default::default() });
    });
    let keys = |desired: Desired| desired.access_entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>();
    assert_eq!(keys(made(&arguments)), ["access_entry", "access_entry_other"]);
    let place = Place { has_access_entries: false, ..place() };
    assert!(keys(desired(&arguments, &Version::new(1, 14, 1), &place, &BTreeMap::new()).unwrap()).is_empty());
}

#[test]
fn a_queue_has_one_key() {
    let queue = |change: fn(&mut arguments::InterruptionQueue)| {
        let mut queue = arguments::InterruptionQueue::default();
        change(&mut queue);
        made(&with(|arguments| arguments.interruption_queue = Some(queue))).queue.unwrap().made.unwrap().attributes
    };
    assert_eq!(queue(|_| {})["SqsManagedSseEnabled"], "true");
    assert_eq!(queue(|queue| queue.sqs_managed_sse_enabled = Some(false))["SqsManagedSseEnabled"], "false");
    let kms = queue(|queue| queue.kms_key_id = Some("alias/x".into()));
    assert!(
        kms["KmsMasterKeyId"] == "alias/x" && kms["KmsDataKeyReusePeriodSeconds"] == "300" && !kms.contains_key("SqsManagedSseEnabled")
    );
}
