//! Everything in an account that carries a cluster's owner tag, whatever its name, and what it leads to. It only reads.

use std::collections::BTreeMap;

use aws_sdk_iam::types::EntityType;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::desired::{OWNER_TAG, Place};
use super::role::document;
use crate::Error;
use crate::aws::Clients;
use crate::aws::error::from_sdk;

/// Calls at once: fewer than what IAM throttles.
const CONCURRENCY: usize = 6;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IAM role.
    Role,
    /// An IAM policy.
    Policy,
    /// A Pod Identity association.
    Association,
    /// An access entry.
    AccessEntry,
    /// An instance profile.
    InstanceProfile,
    /// An SQS queue.
    Queue,
    /// An EventBridge rule.
    Rule,
}

/// An object with the owner tag, or one that may lead to such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// What it is.
    pub kind: Kind,
    /// Its ARN.
    pub arn: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// ARNs: a role's policies, an association's or a profile's role, an entry's principal, a rule's targets.
    pub links: Vec<String>,
    /// A policy's document, a role's trust, namespace and name of an association's service account.
    pub document: String,
}

impl Kind {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Role => "role",
            Kind::Policy => "policy",
            Kind::Association => "pod identity association",
            Kind::AccessEntry => "access entry",
            Kind::InstanceProfile => "instance profile",
            Kind::Queue => "queue",
            Kind::Rule => "rule",
        }
    }
}

/// Everything with the cluster's owner tag, and every association and instance profile: the bundle's role may be in one that it did not
/// make, and Karpenter makes profiles.
///
/// # Errors
/// What AWS says.
pub async fn owned(aws: &Clients, place: &Place, cluster_exists: bool) -> Result<Vec<Owned>, Error> {
    let of_cluster = async { if cluster_exists { of_cluster(aws, place).await } else { Ok(vec![]) } };
    let (iam, profiles, queues, rules, of_cluster) =
        futures::try_join!(iam(aws), instance_profiles(aws), queues(aws), rules(aws), of_cluster)?;
    let all = iam.into_iter().chain(profiles).chain(queues).chain(rules).chain(of_cluster);
    let arn = place.arn();
    Ok(all.filter(|object| matches!(object.kind, Kind::Association | Kind::InstanceProfile) || object.is_of(&arn)).collect())
}

impl Owned {
    /// Whether it has the owner tag of the cluster with that ARN.
    pub fn is_of(&self, cluster_arn: &str) -> bool {
        self.tags.get(OWNER_TAG).is_some_and(|owner| owner == cluster_arn)
    }
}

/// Roles and policies, from the one operation that answers for a whole account.
async fn iam(aws: &Clients) -> Result<Vec<Owned>, Error> {
    let sent = aws.iam.get_account_authorization_details().filter(EntityType::Role).filter(EntityType::LocalManagedPolicy);
    let mut pages = sent.into_paginator().send();
    let (mut found, mut policies) = (vec![], vec![]);
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| from_sdk("iam:GetAccountAuthorizationDetails", e))?;
        found.extend(page.role_detail_list.unwrap_or_default().into_iter().map(|role| Owned {
            kind: Kind::Role,
            arn: role.arn.unwrap_or_default(),
            tags: role.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect(),
            links: role.attached_managed_policies.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_arn).collect(),
            document: document(role.assume_role_policy_document.as_deref().unwrap_or_default()).to_string(),
        }));
        policies.extend(page.policies.unwrap_or_default());
    }
    // the tags of policies are not among the details
    let tagged = policies.into_iter().map(|policy| async move {
        let arn = policy.arn.unwrap_or_default();
        let sent = aws.iam.list_policy_tags().policy_arn(&arn).send().await;
        let tags = sent.map_err(|e| from_sdk(format!("iam:ListPolicyTags {arn}"), e))?.tags;
        let current = policy.policy_version_list.unwrap_or_default().into_iter().find(|version| version.is_default_version);
        let text = current.and_then(|version| version.document).unwrap_or_default();
        let tags = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
        Ok(Owned { kind: Kind::Policy, arn, tags, links: vec![], document: document(&text).to_string() })
    });
    found.extend(each(tagged).await?);
    Ok(found)
}

async fn instance_profiles(aws: &Clients) -> Result<Vec<Owned>, Error> {
    let mut pages = aws.iam.list_instance_profiles().into_paginator().items().send();
    let mut profiles = vec![];
    while let Some(profile) = pages.next().await {
        profiles.push(profile.map_err(|e| from_sdk("iam:ListInstanceProfiles", e))?);
    }
    // the list leaves tags out
    let tagged = profiles.into_iter().map(|profile| async move {
        let name = profile.instance_profile_name;
        let sent = aws.iam.list_instance_profile_tags().instance_profile_name(&name).send().await;
        let tags = match sent.map_err(|e| from_sdk(format!("iam:ListInstanceProfileTags {name}"), e)) {
            Ok(sent) => sent.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            // deleted since it was listed
            Err(error) if error.kind == crate::Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let links = profile.roles.into_iter().map(|role| role.arn).collect();
        Ok(Some(Owned { kind: Kind::InstanceProfile, arn: profile.arn, tags, links, document: String::new() }))
    });
    Ok(each(tagged).await?.into_iter().flatten().collect())
}

async fn queues(aws: &Clients) -> Result<Vec<Owned>, Error> {
    let mut pages = aws.sqs.list_queues().max_results(1000).into_paginator().items().send();
    let mut urls = vec![];
    while let Some(url) = pages.next().await {
        urls.push(url.map_err(|e| from_sdk("sqs:ListQueues", e))?);
    }
    let tagged = urls.into_iter().map(|url| async move {
        let sent = aws.sqs.list_queue_tags().queue_url(&url).send().await;
        let tags: BTreeMap<String, String> =
            sent.map_err(|e| from_sdk(format!("sqs:ListQueueTags {url}"), e))?.tags.unwrap_or_default().into_iter().collect();
        // A queue's ARN follows from the cluster's, which its owner tag is: arn:PARTITION:eks:REGION:ACCOUNT:...
        let cluster = tags.get(OWNER_TAG).cloned().unwrap_or_default();
        let place = cluster.splitn(6, ':').take(5).collect::<Vec<_>>().join(":").replace(":eks:", ":sqs:");
        let arn = format!("{place}:{}", url.rsplit('/').next().unwrap_or_default());
        Ok(Owned { kind: Kind::Queue, arn, tags, links: vec![], document: String::new() })
    });
    each(tagged).await
}

async fn rules(aws: &Clients) -> Result<Vec<Owned>, Error> {
    let (bus, mut token, mut rules) = (&aws.eventbridge, None, vec![]);
    loop {
        let page = bus.list_rules().set_next_token(token).send().await.map_err(|e| from_sdk("events:ListRules", e))?;
        rules.extend(page.rules.unwrap_or_default());
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    let tagged = rules.into_iter().map(|rule| async move {
        let (name, arn) = (rule.name.unwrap_or_default(), rule.arn.unwrap_or_default());
        let sent = bus.list_tags_for_resource().resource_arn(&arn).send().await;
        let tags = sent.map_err(|e| from_sdk(format!("events:ListTagsForResource {arn}"), e))?.tags.unwrap_or_default();
        let tags: BTreeMap<String, String> = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
        let mut links = vec![];
        if tags.contains_key(OWNER_TAG) {
            let sent = bus.list_targets_by_rule().rule(&name).send().await;
            let targets = sent.map_err(|e| from_sdk(format!("events:ListTargetsByRule {name}"), e))?.targets.unwrap_or_default();
            links = targets.into_iter().map(|target| target.arn).collect();
        }
        Ok(Owned { kind: Kind::Rule, arn, tags, links, document: String::new() })
    });
    each(tagged).await
}

async fn of_cluster(aws: &Clients, place: &Place) -> Result<Vec<Owned>, Error> {
    let cluster = place.cluster.as_str();
    let mut pages = aws.eks.list_pod_identity_associations().cluster_name(cluster).into_paginator().items().send();
    let mut ids = vec![];
    while let Some(found) = pages.next().await {
        ids.extend(found.map_err(|e| from_sdk(format!("eks:ListPodIdentityAssociations {cluster}"), e))?.association_id);
    }
    let associations = ids.into_iter().map(|id| async move {
        let sent = aws.eks.describe_pod_identity_association().cluster_name(cluster).association_id(&id).send().await;
        let found = sent.map_err(|e| from_sdk(format!("eks:DescribePodIdentityAssociation {id}"), e))?.association;
        Ok(found.map(|found| Owned {
            kind: Kind::Association,
            arn: found.association_arn.unwrap_or_default(),
            tags: found.tags.unwrap_or_default().into_iter().collect(),
            links: found.role_arn.into_iter().collect(),
            document: format!("{}/{}", found.namespace.unwrap_or_default(), found.service_account.unwrap_or_default()),
        }))
    });
    let mut found: Vec<Owned> = each(associations).await?.into_iter().flatten().collect();
    if !place.has_access_entries {
        return Ok(found);
    }
    let mut pages = aws.eks.list_access_entries().cluster_name(cluster).into_paginator().items().send();
    let mut principals = vec![];
    while let Some(principal) = pages.next().await {
        principals.push(principal.map_err(|e| from_sdk(format!("eks:ListAccessEntries {cluster}"), e))?);
    }
    let entries = principals.into_iter().map(|principal| async move {
        let entry = super::access_entry::observe(aws, cluster, &principal).await?;
        Ok(entry.map(|entry| Owned {
            kind: Kind::AccessEntry,
            arn: entry.arn,
            tags: entry.tags,
            links: vec![principal],
            document: String::new(),
        }))
    });
    found.extend(each(entries).await?.into_iter().flatten());
    Ok(found)
}

async fn each<T>(calls: impl Iterator<Item = impl Future<Output = Result<T, Error>>>) -> Result<Vec<T>, Error> {
    // collected first: a stream over the iterator itself would borrow for too general a lifetime
    stream::iter(calls.collect::<Vec<_>>()).buffer_unordered(CONCURRENCY).try_collect().await
}
