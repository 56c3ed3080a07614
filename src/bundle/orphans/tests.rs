use super::*;
use crate::bundle::desired::OWNER_TAG;

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
    ]
}

fn left(owned: &[Owned], cluster: Option<&Cluster>) -> Vec<String> {
    of_bundle(owned, cluster).into_iter().map(|orphan| orphan.id).collect()
}

#[test]
fn what_the_associations_role_leads_to_lives_and_a_second_bundle_does_not() {
    let mut owned = bundle("");
    owned.push(object(Of::Association, "association", &["controller"], ""));
    let cluster = Cluster { arn: CLUSTER.into(), ..Cluster::default() };
    assert_eq!(left(&owned, Some(&cluster)), Vec::<String>::new());
    owned.extend(bundle("-old"));
    assert_eq!(left(&owned, Some(&cluster)), ["controller-old", "policy-old", "queue-old", "rule-old", "nodes-old", "entry-old"]);
    assert_eq!(left(&owned, None).len(), owned.len(), "without its cluster nothing of it lives");
}

#[test]
fn an_unfinished_create_is_left_and_irsa_leads_to_a_role_as_well() {
    let mut owned = bundle("");
    owned[0].document = "oidc.eks.us-east-1.amazonaws.com/id/1:sub".into();
    let cluster = Cluster { oidc_issuer: "https://oidc.eks.us-east-1.amazonaws.com/id/1".into(), ..Cluster::default() };
    assert_eq!(left(&owned, Some(&cluster)), Vec::<String>::new());
    owned[0].tags.insert(CREATING_TAG.into(), "true".into());
    let found = of_bundle(&owned, Some(&cluster));
    assert!(found.len() == owned.len() && found[0].reason.contains("did not finish"), "{found:#?}");
}

#[test]
fn with_a_given_role_what_is_finished_may_be_in_use() {
    let mut owned = bundle("");
    owned.drain(..2);
    owned.push(object(Of::Association, "association", &["somebody-elses-role"], ""));
    assert_eq!(left(&owned, Some(&Cluster::default())), Vec::<String>::new());
}
