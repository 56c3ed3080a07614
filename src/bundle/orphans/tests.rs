use super::*;
use std::collections::BTreeMap;

const CLUSTER: &str = "arn:aws:eks:us-east-1:123456789012:cluster/demo";

fn object(kind: Of, arn: &str, links: &[&str], document: &str) -> Owned {
    let tags = BTreeMap::from([(OWNER_TAG.to_owned(), CLUSTER.to_owned())]);
    Owned { kind, arn: arn.into(), tags, links: links.iter().map(|l| (*l).to_owned()).collect(), document: document.into() }
}

fn bundle(suffix: &str) -> Vec<Owned> {
    let arn = |name: &str| format!("{name}{suffix}");
    vec![
        object(Of::Role, &arn("controller"), &[&arn("policy")], "{}"),
        object(Of::Policy, &arn("policy"), &[], &format!("\"{}\" \"{}\"", arn("queue"), arn("nodes"))),
        object(Of::Queue, &arn("queue"), &[], ""),
        object(Of::Rule, &arn("rule"), &[&arn("queue")], ""),
        object(Of::Role, &arn("nodes"), &["AmazonEKS_CNI_Policy"], "{}"),
        object(Of::AccessEntry, &arn("entry"), &[&arn("nodes")], ""),
        object(Of::InstanceProfile, &arn("profile"), &[&arn("nodes")], ""),
    ]
}

/// Made by somebody else for the service account `kube-system/karpenter`.
fn association(role: &str) -> Owned {
    Owned { tags: BTreeMap::new(), ..object(Of::Association, "association", &[role], "kube-system/karpenter") }
}

fn on_cluster(issuer: &str, controllers: Vec<Controller>) -> Living {
    let cluster = Cluster { arn: CLUSTER.into(), oidc_issuer: issuer.into(), ..Cluster::default() };
    Living { cluster, controllers, ..Living::default() }
}

fn controller(role: Option<&str>) -> Controller {
    Controller { account: "kube-system/karpenter".into(), role_arn: role.map(str::to_owned) }
}

fn left(owned: &[Owned], living: Option<&Living>) -> Vec<String> {
    of_bundle(owned, CLUSTER, living).into_iter().map(|orphan| orphan.id).collect()
}

const OLD: [&str; 7] = ["controller-old", "policy-old", "queue-old", "rule-old", "nodes-old", "entry-old", "profile-old"];

#[test]
fn what_the_associations_role_leads_to_lives_and_a_second_bundle_does_not() {
    let mut owned = bundle("");
    owned.push(object(Of::Association, "association", &["controller"], ""));
    let living = on_cluster("", vec![]);
    assert_eq!(left(&owned, Some(&living)), Vec::<String>::new());
    owned.extend(bundle("-old"));
    assert_eq!(left(&owned, Some(&living)), OLD);
    assert_eq!(left(&owned, None).len(), owned.len(), "without its cluster nothing of it lives");
}

#[test]
fn an_unfinished_create_is_left_and_irsa_leads_to_a_role_as_well() {
    let mut owned = bundle("");
    owned[0].document = "oidc.eks.us-east-1.amazonaws.com/id/1:sub".into();
    let living = on_cluster("https://oidc.eks.us-east-1.amazonaws.com/id/1", vec![]);
    assert_eq!(left(&owned, Some(&living)), Vec::<String>::new());
    owned[0].tags.insert(CREATING_TAG.into(), "true".into());
    let found = of_bundle(&owned, CLUSTER, Some(&living));
    assert!(found.len() == owned.len() && found[0].reason.contains("did not finish"), "{found:#?}");
}

#[test]
fn an_association_that_somebody_else_made_is_followed_and_never_left() {
    let mut owned = bundle("");
    owned.extend(bundle("-old"));
    owned.push(association("controller"));
    owned.push(Owned { arn: "of-another-workload".into(), ..association("another-role") });
    for controllers in [vec![], vec![controller(None)]] {
        assert_eq!(left(&owned, Some(&on_cluster("", controllers))), OLD);
    }
    assert!(!left(&owned, None).contains(&"association".to_owned()));
}

#[test]
fn the_role_of_a_service_account_is_followed() {
    let owned = [bundle(""), bundle("-old")].concat();
    assert_eq!(left(&owned, Some(&on_cluster("", vec![controller(Some("controller"))]))), OLD);
}

#[test]
fn with_a_given_role_what_is_finished_may_be_in_use() {
    let mut owned = bundle("");
    owned.drain(..2);
    let there_are = owned.len();
    let associated = |tags| Owned { tags, ..association("somebody-elses-role") };
    let none = Vec::<String>::new();
    // as IAM roles for service accounts, or in a way that nothing tells
    for role in [Some("somebody-elses-role"), None] {
        assert_eq!(left(&owned, Some(&on_cluster("", vec![controller(role)]))), none);
    }
    assert_eq!(left(&owned, Some(&on_cluster("", vec![]))).len(), there_are, "no controller runs");
    owned.push(associated(BTreeMap::new()));
    assert_eq!(left(&owned, Some(&on_cluster("", vec![controller(None)]))), none);
    assert_eq!(left(&owned, Some(&on_cluster("", vec![]))).len(), there_are, "another workload's");
    owned.pop();
    owned.push(associated(owned[0].tags.clone()));
    assert_eq!(left(&owned, Some(&on_cluster("", vec![]))), none);
}

#[test]
fn what_lets_given_node_roles_in_lives_while_the_controller_may_pass_them() {
    let mut owned = bundle("");
    owned.push(association("controller"));
    owned.remove(4);
    let living = on_cluster("", vec![]);
    assert_eq!(left(&owned, Some(&living)), Vec::<String>::new());
    owned[1].document = "\"queue\"".into();
    assert_eq!(left(&owned, Some(&living)), ["entry", "profile"]);
}

#[test]
fn a_profile_of_karpenters_is_left_when_its_node_class_is_gone() {
    let place = Place::of_arn(CLUSTER).unwrap();
    let profile = |arn: &str, tags: &[(&str, &str)]| {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Owned { tags, ..object(Of::InstanceProfile, arn, &[], "") }
    };
    let (of_cluster, region) = (("kubernetes.io/cluster/demo", "owned"), "topology.kubernetes.io/region");
    let owned = [
        profile("left", &[of_cluster, (CLASS_TAG, "gone"), (region, "us-east-1")]),
        profile("in-use", &[of_cluster, (CLASS_TAG, "default")]),
        profile("elsewhere", &[of_cluster, (CLASS_TAG, "gone"), (region, "eu-west-1")]),
        profile("another-clusters", &[("kubernetes.io/cluster/other", "owned"), (CLASS_TAG, "gone")]),
        profile("a-node-groups", &[of_cluster]),
        profile("the-bundles", &[of_cluster, (OWNER_TAG, CLUSTER)]),
    ];
    let living = Living { classes: ["default".to_owned()].into(), ..on_cluster("", vec![]) };
    let found = |living| instance_profiles(&owned, &place, living).into_iter().map(|orphan| orphan.id).collect::<Vec<_>>();
    assert_eq!(found(Some(&living)), ["left"]);
    assert_eq!(found(None), ["left", "in-use"]);
}
