//! What carries a cluster's owner tag, or was tagged by Karpenter for it, and belongs to nothing that lives. It only reads.
//!
//! A bundle lives where the cluster does and its controller's role, not under construction any more, is what an association or the
//! cluster's OIDC issuer leads to. What that role's policies name, what they are, and what feeds their queue lives with it. Where a
//! controller runs with a role that no bundle made, everything that is finished may be in use, and counts as living.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use tokio::time::{Duration, Instant};

use super::desired::{CREATING_TAG, OWNER_TAG, Place};
use super::installation::{annotated_role, installations};
use super::nodes;
use super::owned::{Kind as Of, Owned, owned};
use crate::aws::arn::{ClusterRef, partition};
use crate::aws::config::Chain;
use crate::aws::ec2::Ec2;
use crate::aws::{Clients, xml};
use crate::provider::config::ProviderConfig;
use crate::provider::{Cluster, Connections};
use crate::tofu::value::Value;
use crate::{Error, Kind};

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
#[derive(Default)]
struct Living {
    cluster: Cluster,
    /// EC2 instances of NodeClaims.
    instances: BTreeSet<String>,
    /// Names of EC2NodeClasses.
    classes: BTreeSet<String>,
    /// Karpenter's Deployments.
    controllers: Vec<Controller>,
}

/// What a controller gets its role by.
struct Controller {
    /// Namespace and name of its service account, with a slash between.
    account: String,
    /// The role that this asks for.
    role_arn: Option<String>,
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
    let mut orphans = of_bundle(&owned, &place.arn(), living.as_ref());
    let ec2 = Ec2::new(chain.credentials(), &region);
    let (instances, templates) =
        futures::try_join!(instances(&ec2, &place, living.as_ref()), launch_templates(&ec2, &place, living.as_ref()))?;
    orphans.extend(instances.into_iter().chain(templates).chain(instance_profiles(&owned, &place, living.as_ref())));
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
    let (instances, classes, controllers) = futures::try_join!(
        nodes::instances(&client, deadline),
        nodes::class_names(&client, deadline),
        controllers(&client, &connection.cluster.name, deadline)
    )?;
    Ok(Some(Living { cluster: connection.cluster.clone(), instances, classes, controllers }))
}

/// What serves the cluster of that name.
async fn controllers(client: &kube::Client, cluster: &str, deadline: Instant) -> Result<Vec<Controller>, Error> {
    let found = installations(client, deadline).await?.into_iter().filter(|found| found.serves(cluster));
    let controllers = found.map(|found| async move {
        let role_arn = annotated_role(client, &found.namespace, &found.service_account, deadline).await?;
        Ok(Controller { account: format!("{}/{}", found.namespace, found.service_account), role_arn })
    });
    try_join_all(controllers).await
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
fn of_bundle(owned: &[Owned], cluster_arn: &str, living: Option<&Living>) -> Vec<Orphan> {
    let alive = living.map(|living| alive(owned, cluster_arn, living)).unwrap_or_default();
    let left = owned.iter().filter(|object| object.is_of(cluster_arn) && !alive.contains(object.arn.as_str()));
    left.map(|object| {
        let reason = match (living, object.tags.contains_key(CREATING_TAG)) {
            (None, _) => "its cluster does not exist",
            (_, true) => "of a create that did not finish: an apply of its configuration goes on with it",
            (_, false) => "no bundle that lives leads to it",
        };
        Orphan { kind: object.kind.word(), id: object.arn.clone(), reason: reason.to_owned() }
    })
    .collect()
}

/// ARNs of what lives.
fn alive<'a>(owned: &'a [Owned], cluster_arn: &str, living: &Living) -> BTreeSet<&'a str> {
    let issuer = living.cluster.oidc_issuer.trim_start_matches("https://");
    let of = |kind: Of| owned.iter().filter(move |object| object.kind == kind);
    let finished = |object: &&Owned| !object.tags.contains_key(CREATING_TAG);
    let is_owned = |arn: &String| of(Of::Role).any(|role| role.arn == *arn);
    let has_given_role = |controller: &Controller| {
        let associated = of(Of::Association).filter(|association| association.document == controller.account);
        !associated.flat_map(|association| &association.links).chain(&controller.role_arn).any(is_owned)
    };
    // A role that the bundle was given names nothing that could be followed: all that is finished may be in use.
    if of(Of::Association).any(|association| association.is_of(cluster_arn) && !association.links.iter().any(is_owned))
        || living.controllers.iter().any(has_given_role)
    {
        return owned.iter().filter(finished).map(|object| object.arn.as_str()).collect();
    }
    let annotated = living.controllers.iter().filter_map(|controller| controller.role_arn.as_ref());
    let in_use: BTreeSet<&String> = of(Of::Association).flat_map(|association| &association.links).chain(annotated).collect();
    let runs = |role: &&Owned| in_use.contains(&role.arn) || (!issuer.is_empty() && role.document.contains(issuer));
    let roles: Vec<&Owned> = of(Of::Role).filter(runs).filter(finished).collect();
    let policies: Vec<&Owned> = of(Of::Policy).filter(|policy| roles.iter().any(|role| role.links.contains(&policy.arn))).collect();
    let is_named = |arn: &String| policies.iter().any(|policy| policy.document.contains(arn));
    let named = owned.iter().filter(|object| matches!(object.kind, Of::Queue | Of::Role) && is_named(&object.arn));
    let mut alive: BTreeSet<&str> = roles.iter().chain(&policies).copied().chain(named).map(|object| object.arn.as_str()).collect();
    // a given node role is only named
    let leads = |object: &&Owned| object.links.iter().any(|arn| alive.contains(arn.as_str()) || is_named(arn));
    let linked = |kind: Of| matches!(kind, Of::Association | Of::AccessEntry | Of::InstanceProfile | Of::Rule);
    let more: Vec<&str> = owned.iter().filter(|object| linked(object.kind)).filter(leads).map(|object| object.arn.as_str()).collect();
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

/// Instance profiles of Karpenter's whose node class is gone. Pure.
fn instance_profiles(owned: &[Owned], place: &Place, living: Option<&Living>) -> Vec<Orphan> {
    let of_cluster = format!("kubernetes.io/cluster/{}", place.cluster);
    let profiles = owned.iter().filter(|object| object.kind == Of::InstanceProfile && !object.tags.contains_key(OWNER_TAG));
    let left = profiles.filter_map(|profile| {
        let tag = |key: &str| profile.tags.get(key).map(String::as_str);
        let here = tag(&of_cluster) == Some("owned") && tag("topology.kubernetes.io/region").is_none_or(|region| region == place.region);
        let reason = of_class(tag(CLASS_TAG).filter(|_| here)?, living)?;
        Some(Orphan { kind: profile.kind.word(), id: profile.arn.clone(), reason })
    });
    left.collect()
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

#[cfg(test)]
mod tests;
