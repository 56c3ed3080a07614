//! A managed policy of the controller.

use std::collections::BTreeMap;

use aws_sdk_iam::config::retry::RetryConfig;
use serde_json::Value as Json;

use super::context::{Context, Ownership, unless_gone};
use super::desired::Policy;
use super::role::{document, iam_tags};
use super::statement;
use crate::aws::Clients;
use crate::aws::error::from_sdk;
use crate::{Error, Kind};

/// A policy as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The default version's document.
    pub document: Json,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The policy of that ARN, or `None` where there is none.
///
/// # Errors
/// Any error but absence.
pub async fn observe(aws: &Clients, arn: &str) -> Result<Option<Observed>, Error> {
    let Some(policy) = get(aws, arn).await? else { return Ok(None) };
    let sent = || aws.iam.get_policy_version().policy_arn(arn).version_id(policy.default_version_id.clone().unwrap_or_default());
    // one that was just deleted may still be listed
    let version = unless_gone(|| async { sent().send().await.map_err(|e| from_sdk(format!("iam:GetPolicyVersion {arn}"), e)) }).await?;
    let Some(version) = version.map(|found| found.policy_version) else { return Ok(None) };
    Ok(Some(Observed {
        document: version.and_then(|version| version.document).map(|text| document(&text)).unwrap_or_default(),
        tags: tags(policy),
    }))
}

/// [`observe`] without the document, in one call.
///
/// # Errors
/// Any error but absence.
pub async fn look(aws: &Clients, arn: &str) -> Result<Option<Observed>, Error> {
    Ok(get(aws, arn).await?.map(|policy| Observed { document: Json::Null, tags: tags(policy) }))
}

async fn get(aws: &Clients, arn: &str) -> Result<Option<aws_sdk_iam::types::Policy>, Error> {
    match aws.iam.get_policy().policy_arn(arn).send().await.map_err(|e| from_sdk(format!("iam:GetPolicy {arn}"), e)) {
        Ok(answer) => Ok(answer.policy),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn tags(policy: aws_sdk_iam::types::Policy) -> BTreeMap<String, String> {
    policy.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
}

/// How a policy differs from what the bundle wants.
pub fn differences(cx: &Context, policy: &Policy, live: &Observed) -> Vec<String> {
    let document = (!statement::same(&live.document, &policy.document)).then(|| "document differs".to_owned());
    document.into_iter().chain(cx.tags.differences(&live.tags)).collect()
}

/// Makes the policy, or changes the one that is there. One that a look did not find and that exists all the same is taken over
/// when it is ours: a create does not look for policies first, to save calls.
///
/// # Errors
/// What IAM says, and a policy of that name that is not ours.
pub async fn converge(cx: &Context, policy: &Policy, live: Option<&Observed>) -> Result<(), Error> {
    if let Some(live) = live {
        return update(cx, policy, live).await;
    }
    let sent = cx.aws.iam.create_policy().policy_name(&policy.name).path(&policy.path).policy_document(policy.document.to_string());
    let sent = sent.set_tags(Some(iam_tags(&cx.tags.wanted)?));
    let Err(error) = sent.send().await.map_err(|e| from_sdk(format!("iam:CreatePolicy {}", policy.name), e)) else { return Ok(()) };
    if error.kind != Kind::AlreadyExists {
        return Err(error);
    }
    let live = observe(&cx.aws, &policy.arn).await?;
    match live.as_ref().map(|live| (live, cx.ownership(&live.tags))) {
        Some((live, Ownership::Ours)) => update(cx, policy, live).await,
        Some((_, Ownership::Foreign(owner))) => Err(Error { message: format!("it exists and belongs to the bundle of {owner}"), ..error }
            .remedy("Set another name for the controller's role in this bundle.")),
        Some((_, Ownership::Untagged)) => Err(Error { message: "it exists and this bundle did not make it".into(), ..error }
            .remedy("Delete it, or set another name for the controller's role in this bundle.")),
        None => Err(error),
    }
}

async fn update(cx: &Context, policy: &Policy, live: &Observed) -> Result<(), Error> {
    let (iam, arn) = (&cx.aws.iam, policy.arn.as_str());
    if !statement::same(&live.document, &policy.document) {
        match create_version(cx, policy).await {
            // IAM keeps five versions
            Err(error) if error.kind == Kind::Quota => {
                delete_oldest_version(cx, arn).await?;
                create_version(cx, policy).await?;
            }
            done => done?,
        }
    }
    let (set, remove) = (cx.tags.to_set(&live.tags), cx.tags.to_remove(&live.tags));
    if !set.is_empty() {
        let sent = iam.tag_policy().policy_arn(arn).set_tags(Some(iam_tags(&set)?));
        sent.send().await.map_err(|e| from_sdk(format!("iam:TagPolicy {arn}"), e))?;
    }
    if !remove.is_empty() {
        let sent = iam.untag_policy().policy_arn(arn).set_tag_keys(Some(remove));
        sent.send().await.map_err(|e| from_sdk(format!("iam:UntagPolicy {arn}"), e))?;
    }
    Ok(())
}

/// Makes a version, once: where the answer to an attempt is lost, a look tells whether there is one already. The SDK's own retries
/// would make another.
async fn create_version(cx: &Context, policy: &Policy) -> Result<(), Error> {
    let once = aws_sdk_iam::config::Builder::default().retry_config(RetryConfig::disabled());
    let create = || async {
        let sent = cx.aws.iam.create_policy_version().policy_arn(&policy.arn).policy_document(policy.document.to_string());
        let sent = sent.set_as_default(true).customize().config_override(once.clone());
        match sent.send().await.map_err(|e| from_sdk(format!("iam:CreatePolicyVersion {}", policy.arn), e)) {
            Err(error) if error.kind == Kind::Unavailable => match observe(&cx.aws, &policy.arn).await? {
                Some(live) if live.document == policy.document => Ok(()),
                _ => Err(error),
            },
            done => done.map(|_| ()),
        }
    };
    cx.patiently(&[Kind::Unavailable], create).await
}

async fn delete_oldest_version(cx: &Context, arn: &str) -> Result<(), Error> {
    // IAM numbers versions v1, v2, ...: the lowest is the oldest.
    let number = |id: &String| id.trim_start_matches('v').parse::<u64>().unwrap_or(u64::MAX);
    let Some(oldest) = other_versions(cx, arn).await?.into_iter().min_by_key(number) else { return Ok(()) };
    delete_version(cx, arn, &oldest).await
}

/// Ids of the versions that are not the default.
///
/// # Errors
/// What IAM says.
async fn other_versions(cx: &Context, arn: &str) -> Result<Vec<String>, Error> {
    let sent = cx.aws.iam.list_policy_versions().policy_arn(arn);
    let versions = sent.send().await.map_err(|e| from_sdk(format!("iam:ListPolicyVersions {arn}"), e))?.versions.unwrap_or_default();
    Ok(versions.into_iter().filter(|version| !version.is_default_version).filter_map(|version| version.version_id).collect())
}

async fn delete_version(cx: &Context, arn: &str, id: &str) -> Result<(), Error> {
    let sent = cx.aws.iam.delete_policy_version().policy_arn(arn).version_id(id);
    sent.send().await.map_err(|e| from_sdk(format!("iam:DeletePolicyVersion {arn} {id}"), e))?;
    Ok(())
}

/// [`delete`]s the policy of that ARN where there is one and it is ours.
///
/// # Errors
/// What IAM says.
pub async fn delete_own(cx: &Context, arn: &str) -> Result<(), Error> {
    match observe(&cx.aws, arn).await? {
        Some(live) if cx.ownership(&live.tags) == Ownership::Ours => delete(cx, arn).await,
        _ => Ok(()),
    }
}

/// Deletes a policy that is attached to nothing any more; one that is gone is fine.
///
/// # Errors
/// What IAM says.
pub async fn delete(cx: &Context, arn: &str) -> Result<(), Error> {
    let delete =
        || async { cx.aws.iam.delete_policy().policy_arn(arn).send().await.map_err(|e| from_sdk(format!("iam:DeletePolicy {arn}"), e)) };
    unless_gone(|| async {
        match delete().await {
            // attached still, as IAM sees it, or with older versions
            Err(error) if error.kind == Kind::Conflict => {}
            done => return done,
        }
        for id in other_versions(cx, arn).await? {
            delete_version(cx, arn, &id).await?;
        }
        cx.patiently(&[Kind::Conflict], delete).await
    })
    .await
    .map(drop)
}
