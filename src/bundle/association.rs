//! The Pod Identity association of the controller's service account with its role.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_eks::types::PodIdentityAssociation;

use super::context::{Context, Ownership, unless_gone};
use super::desired::Association;
use crate::aws::Clients;
use crate::aws::error::from_sdk;
use crate::{Error, Kind};

/// An association as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// EKS' id of it.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// The role.
    pub role_arn: String,
    /// The service account's namespace.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// When it was made, in seconds since the epoch: pods that are older lack its credentials.
    pub created: i64,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The service account's association: by its id where one is known, else found in the list.
///
/// # Errors
/// Any error but absence.
pub async fn observe(aws: &Clients, cluster: &str, want: &Association, known: Option<&str>) -> Result<Option<Observed>, Error> {
    if let Some(id) = known
        && let Some(found) = describe(aws, cluster, id).await?
        && (&found.namespace, &found.service_account) == (&want.namespace, &want.service_account)
    {
        return Ok(Some(found));
    }
    let sent =
        aws.eks.list_pod_identity_associations().cluster_name(cluster).namespace(&want.namespace).service_account(&want.service_account);
    let listed = sent.send().await.map_err(|e| from_sdk(format!("eks:ListPodIdentityAssociations {cluster}"), e))?;
    match listed.associations.unwrap_or_default().into_iter().find_map(|summary| summary.association_id) {
        Some(id) => describe(aws, cluster, &id).await,
        None => Ok(None),
    }
}

/// The namespaces in which a service account of that name has an association.
///
/// # Errors
/// What EKS says.
pub async fn namespaces(aws: &Clients, cluster: &str, service_account: &str) -> Result<Vec<String>, Error> {
    let mut pages =
        aws.eks.list_pod_identity_associations().cluster_name(cluster).service_account(service_account).into_paginator().items().send();
    let mut namespaces = vec![];
    while let Some(found) = pages.next().await {
        let found = found.map_err(|e| from_sdk(format!("eks:ListPodIdentityAssociations {cluster}"), e))?;
        // asked for, and yet not what every emulator filters by
        namespaces.extend(found.namespace.filter(|_| found.service_account.as_deref() == Some(service_account)));
    }
    Ok(namespaces)
}

async fn describe(aws: &Clients, cluster: &str, id: &str) -> Result<Option<Observed>, Error> {
    let sent = aws.eks.describe_pod_identity_association().cluster_name(cluster).association_id(id);
    let found = match sent.send().await.map_err(|e| from_sdk(format!("eks:DescribePodIdentityAssociation {id}"), e)) {
        Ok(answer) => answer.association,
        Err(error) if error.kind == Kind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(found.map(observed))
}

fn observed(found: PodIdentityAssociation) -> Observed {
    Observed {
        created: found.created_at.map(|at| at.secs()).unwrap_or_default(),
        id: found.association_id.unwrap_or_default(),
        arn: found.association_arn.unwrap_or_default(),
        role_arn: found.role_arn.unwrap_or_default(),
        namespace: found.namespace.unwrap_or_default(),
        service_account: found.service_account.unwrap_or_default(),
        tags: found.tags.unwrap_or_default().into_iter().collect(),
    }
}

/// How an association differs from what the bundle wants.
pub fn differences(cx: &Context, want: &Association, live: &Observed) -> Vec<String> {
    let role = (live.role_arn != want.role_arn).then(|| format!("role_arn {}, want {}", live.role_arn, want.role_arn));
    role.into_iter().chain(cx.tags.differences(&live.tags)).collect()
}

/// Makes the association, or changes the one that is there; its id, and when it was made. A role that was just made is unknown to EKS for seconds,
/// which is waited for.
///
/// # Errors
/// What EKS says.
pub async fn converge(cx: &Context, want: &Association, live: Option<&Observed>) -> Result<(String, i64), Error> {
    let (eks, cluster) = (&cx.aws.eks, cx.place.cluster.as_str());
    let found;
    let live = match live {
        Some(live) => live,
        None => match create(cx, want).await {
            Ok(made) => return Ok((made.id, made.created)),
            // the answer to an earlier try may have been lost
            Err(error) if error.kind == Kind::AlreadyExists => match observe(&cx.aws, cluster, want, None).await? {
                Some(other) if cx.ownership(&other.tags) == Ownership::Ours => {
                    found = other;
                    &found
                }
                _ => return Err(error.remedy("Delete the association that is there, or set another service_account.")),
            },
            Err(error) => return Err(error),
        },
    };
    if live.role_arn != want.role_arn {
        cx.patiently(&[Kind::Invalid], || async {
            let sent = eks.update_pod_identity_association().cluster_name(cluster).association_id(&live.id).role_arn(&want.role_arn);
            sent.send().await.map_err(|e| from_sdk(format!("eks:UpdatePodIdentityAssociation {}", live.id), e)).map(|_| ())
        })
        .await?;
    }
    retag(cx, &live.arn, &live.tags).await?;
    Ok((live.id.clone(), live.created))
}

async fn create(cx: &Context, want: &Association) -> Result<Observed, Error> {
    let action = format!("eks:CreatePodIdentityAssociation {}/{}", want.namespace, want.service_account);
    let tags: HashMap<String, String> = cx.tags.wanted.clone().into_iter().collect();
    cx.patiently(&[Kind::Invalid], || async {
        let sent = cx.aws.eks.create_pod_identity_association().cluster_name(&cx.place.cluster).role_arn(&want.role_arn);
        let sent = sent.namespace(&want.namespace).service_account(&want.service_account).set_tags(Some(tags.clone()));
        let answer = sent.send().await.map_err(|e| from_sdk(action.clone(), e))?;
        Ok(answer.association.map(observed).unwrap_or_default())
    })
    .await
}

/// Brings the tags of an EKS object in line.
///
/// # Errors
/// What EKS says.
pub async fn retag(cx: &Context, arn: &str, live: &BTreeMap<String, String>) -> Result<(), Error> {
    let (set, remove) = (cx.tags.to_set(live), cx.tags.to_remove(live));
    if !set.is_empty() {
        let sent = cx.aws.eks.tag_resource().resource_arn(arn).set_tags(Some(set.into_iter().collect()));
        sent.send().await.map_err(|e| from_sdk(format!("eks:TagResource {arn}"), e))?;
    }
    if !remove.is_empty() {
        let sent = cx.aws.eks.untag_resource().resource_arn(arn).set_tag_keys(Some(remove));
        sent.send().await.map_err(|e| from_sdk(format!("eks:UntagResource {arn}"), e))?;
    }
    Ok(())
}

/// Deletes an association; one that is gone is fine.
///
/// # Errors
/// What EKS says.
pub async fn delete(cx: &Context, id: &str) -> Result<(), Error> {
    unless_gone(|| async {
        let sent = cx.aws.eks.delete_pod_identity_association().cluster_name(&cx.place.cluster).association_id(id);
        sent.send().await.map_err(|e| from_sdk(format!("eks:DeletePodIdentityAssociation {id}"), e))
    })
    .await
    .map(drop)
}
