//! What carries a cluster's owner tag, or was tagged by Karpenter for it, and belongs to nothing that lives. It only reads.
//!
//! A bundle lives where the cluster does and its controller's role, not under construction any more, is what an association or the
//! cluster's OIDC issuer leads to. What that role's policies name, what they are, and what feeds their queue lives with it.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::{Duration, Instant};

use super::desired::{CREATING_TAG, Place};
use super::nodes;
use super::owned::{Kind as Of, Owned, owned};
use crate::aws::arn::{ClusterRef, partition};
use crate::aws::config::Chain;
use crate::aws::ec2::Ec2;
use crate::aws::{Clients, xml};
use crate::provider::config::ProviderConfig;
use crate::provider::{Cluster, Connections};
use crate::tofu::value::Value;
use crate::{Error, Kind, aws::error::from_sdk};

/// How long the look at the cluster may take.
const LOOK: Duration = Duration::from_secs(120);

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// The cluster's ARN.
    pub cluster_arn: String,
    /// Whether EKS knows it.
    pub cluster_exists: bool,
    /// What is left behind.
    pub orphans: Vec<Orphan>,
}

/// An object that belongs to nothing that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// E.g. `role`, `instance`.
    pub kind: &'static str,
    /// Its ARN or id.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// What runs on a cluster that exists.
struct Living {
    cluster: Cluster,
    /// EC2 instances of NodeClaims.
    instances: BTreeSet<String>,
    /// Names of EC2NodeClasses.
    classes: BTreeSet<String>,
}

/// Looks for orphans of a cluster, given by name or ARN.
///
/// # Errors
/// What AWS or the cluster says; a cluster that does not exist is none.
pub async fn find(cluster: &str, region: Option<&str>) -> Result<Report, Error> {
    let wanted = ClusterRef::parse(cluster)?;
    let config = ProviderConfig { region: wanted.region.clone().or_else(|| region.map(str::to_owned)), ..ProviderConfig::default() };
    let chain = Chain::load(&config).await?;
    let region = chain.region().await?;
    let aws = chain.clients(&region);
    let living = living(cluster, &region).await?;
    let place = match &living {
        Some(living) => Place::of_cluster(&living.cluster),
        None => Some(gone(&aws, &wanted, &region).await?),
    };
    let place = place.ok_or_else(|| Error::new(Kind::Other, "find the cluster", "EKS answered without its ARN"))?;
    let owned = owned(&aws, &place, living.is_some()).await?;
    let mut orphans = of_bundle(&owned, living.as_ref().map(|living| &living.cluster));
    let ec2 = Ec2::new(chain.credentials(), &region);
    let (instances, templates, profiles) = futures::try_join!(
        instances(&ec2, &place, living.as_ref()),
        launch_templates(&ec2, &place, living.as_ref()),
        instance_profiles(&aws, &place, living.as_ref()),
    )?;
    orphans.extend(instances.into_iter().chain(templates).chain(profiles));
    Ok(Report { cluster_arn: place.arn(), cluster_exists: living.is_some(), orphans })
}

/// What lives on the cluster; `None` where EKS knows no such cluster.
async fn living(cluster: &str, region: &str) -> Result<Option<Living>, Error> {
    let connections = Connections::new();
    connections.configure(&Value::object([("region", Value::from(region))]));
    let connection = match connections.connect(cluster).await {
        Ok(connection) => connection,
        Err(error) if error.kind == Kind::NotFound && error.action.starts_with("eks:DescribeCluster") => return Ok(None),
        Err(error) => return Err(error),
    };
    let (client, deadline) = (connection.kube().await?, Instant::now() + LOOK);
    let (instances, classes) = futures::try_join!(nodes::instances(&client, deadline), nodes::class_names(&client, deadline))?;
    Ok(Some(Living { cluster: connection.cluster.clone(), instances, classes }))
}

/// The place of a cluster that is gone: of these credentials' account, which must be that of an ARN that was given.
async fn gone(aws: &Clients, wanted: &ClusterRef, region: &str) -> Result<Place, Error> {
    let caller = crate::provider::cluster::identify(aws, region).await?.account_id;
    let own = Place {
        partition: partition(region).to_owned(),
        region: region.to_owned(),
        account: caller,
        cluster: wanted.name.clone(),
        ..Place::default()
    };
    match &wanted.arn {
        Some(arn) if *arn != own.arn() => {
            Err(Error::new(Kind::Invalid, format!("find what is left of {arn}"), format!("the credentials are of account {}", own.account))
                .remedy("Use credentials of the account in the ARN."))
        }
        _ => Ok(own),
    }
}

/// Owned objects that nothing living leads to. Pure.
fn of_bundle(owned: &[Owned], cluster: Option<&Cluster>) -> Vec<Orphan> {
    let alive = cluster.map(|cluster| alive(owned, cluster)).unwrap_or_default();
    let left = owned.iter().filter(|object| !alive.contains(object.arn.as_str()));
    left.map(|object| {
        let reason = match (cluster, object.tags.contains_key(CREATING_TAG)) {
            (None, _) => "its cluster does not exist",
            (_, true) => "of a create that did not finish: an apply of its configuration goes on with it",
            (_, false) => "no bundle that lives leads to it",
        };
        Orphan { kind: object.kind.word(), id: object.arn.clone(), reason: reason.to_owned() }
    })
    .collect()
}

/// ARNs of what lives.
fn alive<'a>(owned: &'a [Owned], cluster: &Cluster) -> BTreeSet<&'a str> {
    let issuer = cluster.oidc_issuer.trim_start_matches("https://");
    let of = |kind: Of| owned.iter().filter(move |object| object.kind == kind);
    let finished = |object: &&Owned| !object.tags.contains_key(CREATING_TAG);
    let by_arn: BTreeMap<&str, &Owned> = owned.iter().map(|object| (object.arn.as_str(), object)).collect();
    let mut alive: BTreeSet<&str> = BTreeSet::new();
    let mut roles: Vec<&Owned> = of(Of::Role).filter(|role| !issuer.is_empty() && role.leads_to(issuer)).filter(finished).collect();
    for association in of(Of::Association) {
        match association.links.iter().find_map(|arn| by_arn.get(arn.as_str()).copied()) {
            Some(role) if role.tags.contains_key(CREATING_TAG) => {}
            Some(role) => {
                alive.insert(&association.arn);
                roles.push(role);
            }
            // A role that the bundle was given names nothing that could be followed: all that is finished may be in use.
            None => return owned.iter().filter(finished).map(|object| object.arn.as_str()).collect(),
        }
    }
    for role in roles {
        alive.insert(&role.arn);
        let policies = of(Of::Policy).filter(|policy| role.links.contains(&policy.arn));
        for policy in policies {
            alive.insert(&policy.arn);
            alive
                .extend(owned.iter().filter(|o| matches!(o.kind, Of::Queue | Of::Role) && policy.leads_to(&o.arn)).map(|o| o.arn.as_str()));
        }
    }
    let feeds = |object: &&Owned| object.links.iter().any(|arn| alive.contains(arn.as_str()));
    let more: Vec<&str> =
        owned.iter().filter(|o| matches!(o.kind, Of::Rule | Of::AccessEntry)).filter(feeds).map(|o| o.arn.as_str()).collect();
    alive.extend(more);
    alive
}

/// Instances of Karpenter's that no NodeClaim knows.
async fn instances(ec2: &Ec2, place: &Place, living: Option<&Living>) -> Result<Vec<Orphan>, Error> {
    let cluster = format!("tag:kubernetes.io/cluster/{}", place.cluster);
    let running = ["pending", "running", "stopping", "stopped"];
    let filters = [(cluster.as_str(), &["owned"][..]), ("tag-key", &["karpenter.sh/nodepool"][..]), ("instance-state-name", &running[..])];
    let found = ec2.describe("DescribeInstances", &filters, &["reservationSet", "item", "instancesSet", "item"]).await?;
    let left = found.iter().filter(|one| living.is_none_or(|living| !living.instances.contains(one.text(&["instanceId"]))));
    Ok(left
        .map(|one| Orphan {
            kind: "instance",
            id: one.text(&["instanceId"]).to_owned(),
            reason: match living {
                None => "it runs for a cluster that does not exist".to_owned(),
                Some(_) => format!("no NodeClaim knows it; it is of the NodePool {}", tag(one, "karpenter.sh/nodepool")),
            },
        })
        .collect())
}

/// Launch templates of Karpenter's whose node class is gone.
async fn launch_templates(ec2: &Ec2, place: &Place, living: Option<&Living>) -> Result<Vec<Orphan>, Error> {
    let filters = [("tag:karpenter.k8s.aws/cluster", &[place.cluster.as_str()][..])];
    let found = ec2.describe("DescribeLaunchTemplates", &filters, &["launchTemplates", "item"]).await?;
    let of_class = |one: &xml::Element| of_class(tag(one, CLASS_TAG), living);
    Ok(found
        .iter()
        .filter_map(|one| {
            of_class(one).map(|reason| Orphan { kind: "launch template", id: one.text(&["launchTemplateId"]).to_owned(), reason })
        })
        .collect())
}

/// Instance profiles of Karpenter's whose node class is gone.
async fn instance_profiles(aws: &Clients, place: &Place, living: Option<&Living>) -> Result<Vec<Orphan>, Error> {
    let mut pages = aws.iam.list_instance_profiles().into_paginator().items().send();
    let mut found = vec![];
    while let Some(profile) = pages.next().await {
        let profile = profile.map_err(|e| from_sdk("iam:ListInstanceProfiles", e))?;
        let (name, path) = (profile.instance_profile_name, profile.path);
        // The list leaves tags out; Karpenter's names start with the cluster's, or its paths with its own.
        if !name.starts_with(&format!("{}_", place.cluster)) && !path.starts_with("/karpenter/") {
            continue;
        }
        let sent = aws.iam.list_instance_profile_tags().instance_profile_name(&name).send().await;
        let tags = sent.map_err(|e| from_sdk(format!("iam:ListInstanceProfileTags {name}"), e))?.tags;
        let tag = |key: &str| tags.iter().find(|tag| tag.key == key).map_or("", |tag| tag.value.as_str());
        let of_cluster = tag(&format!("kubernetes.io/cluster/{}", place.cluster)) == "owned";
        let here = ["", place.region.as_str()].contains(&tag("topology.kubernetes.io/region"));
        if let (true, true, Some(reason)) = (of_cluster, here, of_class(tag(CLASS_TAG), living)) {
            found.push(Orphan { kind: "instance profile", id: profile.arn, reason });
        }
    }
    Ok(found)
}

/// Where Karpenter notes the node class.
const CLASS_TAG: &str = "karpenter.k8s.aws/ec2nodeclass";

/// Why what was made for a node class is left behind; `None`: it is not.
fn of_class(class: &str, living: Option<&Living>) -> Option<String> {
    match living {
        None => Some("its cluster does not exist".to_owned()),
        Some(living) => (!living.classes.contains(class)).then(|| format!("its EC2NodeClass {class:?} does not exist")),
    }
}

fn tag<'a>(element: &'a xml::Element, key: &str) -> &'a str {
    element.below(&["tagSet", "item"]).into_iter().find(|tag| tag.text(&["key"]) == key).map_or("", |tag| tag.text(&["value"]))
}

impl Owned {
    fn leads_to(&self, text: &str) -> bool {
        self.document.contains(text)
    }
}

#[cfg(test)]
mod tests;
