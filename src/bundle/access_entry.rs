//! The access entry that lets nodes with the node role join the cluster.

use std::collections::BTreeMap;

use super::association::retag;
use super::context::{Context, Ownership, unless_gone};
use crate::aws::Clients;
use crate::aws::error::from_sdk;
use crate::{Error, Kind};

/// What nodes on EC2 with Linux need; it also grants their groups.
pub const TYPE: &str = "EC2_LINUX";

/// An access entry as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Its ARN.
    pub arn: String,
    /// E.g. `EC2_LINUX`.
    pub kind: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The role's access entry, or `None` where there is none.
///
/// # Errors
/// Any error but absence.
pub async fn observe(aws: &Clients, cluster: &str, role_arn: &str) -> Result<Option<Observed>, Error> {
    let sent = aws.eks.describe_access_entry().cluster_name(cluster).principal_arn(role_arn);
    let found = match sent.send().await.map_err(|e| from_sdk(format!("eks:DescribeAccessEntry {role_arn}"), e)) {
        Ok(answer) => answer.access_entry,
        Err(error) if error.kind == Kind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(found.map(|found| Observed {
        arn: found.access_entry_arn.unwrap_or_default(),
        kind: found.r#type.unwrap_or_default(),
        tags: found.tags.unwrap_or_default().into_iter().collect(),
    }))
}

/// How an access entry differs from what the bundle wants.
pub fn differences(cx: &Context, live: &Observed) -> Vec<String> {
    let kind = (live.kind != TYPE).then(|| format!("type {}, want {TYPE}", live.kind));
    kind.into_iter().chain(cx.tags.differences(&live.tags)).collect()
}

/// Makes the entry, or changes the one that is there; whether it is the bundle's, and its ARN. One that somebody else made is left alone,
/// as the node role of that name is then somebody else's, too. An entry is of a role's id and not of its name: of a role that was made
/// anew (`is_role_new`), it is made anew.
///
/// # Errors
/// What EKS says, and an entry of another type.
pub async fn converge(
    cx: &Context,
    role_arn: &str,
    live: Option<&Observed>,
    owned: bool,
    is_role_new: bool,
) -> Result<(bool, String), Error> {
    let action = format!("eks:CreateAccessEntry {role_arn}");
    let found = match live {
        Some(live) => live.clone(),
        None => match create(cx, role_arn, &action).await {
            Ok(arn) => return Ok((true, arn)),
            Err(error) if error.kind == Kind::AlreadyExists => match observe(&cx.aws, &cx.place.cluster, role_arn).await? {
                Some(found) => found,
                None => return Err(error),
            },
            Err(error) if error.kind == Kind::Conflict => {
                return Err(
                    error.remedy("The cluster's authentication mode must be API or API_AND_CONFIG_MAP, and one change runs at a time.")
                );
            }
            Err(error) => return Err(error),
        },
    };
    let ours = owned || cx.ownership(&found.tags) == Ownership::Ours;
    if found.kind != TYPE && !ours {
        let message = format!("the role has an access entry of type {}, and nodes need {TYPE}", found.kind);
        return Err(Error::new(Kind::AlreadyExists, action, message).remedy("Delete that access entry, or name another node role."));
    }
    // EKS cannot change a type.
    if ours && (is_role_new || found.kind != TYPE) {
        delete(cx, role_arn).await?;
        let arn = create(cx, role_arn, &action).await?;
        return Ok((true, arn));
    }
    if ours {
        retag(cx, &found.arn, &found.tags).await?;
    }
    Ok((ours, found.arn))
}

async fn create(cx: &Context, role_arn: &str, action: &str) -> Result<String, Error> {
    // A role that was just made is unknown to EKS for seconds.
    cx.patiently(&[Kind::Invalid], || async {
        let sent = cx.aws.eks.create_access_entry().cluster_name(&cx.place.cluster).principal_arn(role_arn).r#type(TYPE);
        let sent = sent.set_tags(Some(cx.tags.wanted.clone().into_iter().collect()));
        let answer = sent.send().await.map_err(|e| from_sdk(action, e))?;
        Ok(answer.access_entry.and_then(|made| made.access_entry_arn).unwrap_or_default())
    })
    .await
}

/// Deletes an access entry; one that is gone is fine.
///
/// # Errors
/// What EKS says.
pub async fn delete(cx: &Context, role_arn: &str) -> Result<(), Error> {
    unless_gone(|| async {
        let sent = cx.aws.eks.delete_access_entry().cluster_name(&cx.place.cluster).principal_arn(role_arn);
        sent.send().await.map_err(|e| from_sdk(format!("eks:DeleteAccessEntry {role_arn}"), e))
    })
    .await
    .map(drop)
}
