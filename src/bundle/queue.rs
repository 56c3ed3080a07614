//! The interruption queue.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::context::{Context, unless_gone};
use super::desired::{MadeQueue, Queue};
use super::statement;
use crate::aws::Clients;
use crate::aws::error::from_sdk;
use crate::{Error, Kind};

/// SQS' name of the attribute with the KMS key.
const KEY: &str = "KmsMasterKeyId";

/// A queue as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Its URL.
    pub url: String,
    /// Its attributes by SQS' names; the policy apart.
    pub attributes: BTreeMap<String, String>,
    /// Its policy; null where it has none.
    pub policy: Json,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The queue's URL, or `None` where SQS says that there is none.
///
/// # Errors
/// Any error but absence.
pub async fn look(aws: &Clients, name: &str) -> Result<Option<String>, Error> {
    match aws.sqs.get_queue_url().queue_name(name).send().await.map_err(|e| from_sdk(format!("sqs:GetQueueUrl {name}"), e)) {
        Ok(answer) => Ok(answer.queue_url),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The queue: by its URL where one is known, else by its name.
///
/// # Errors
/// Any error but absence.
pub async fn observe(aws: &Clients, name: &str, known: Option<&str>) -> Result<Option<Observed>, Error> {
    let url = match known.filter(|url| url.ends_with(&format!("/{name}"))) {
        Some(url) => url.to_owned(),
        None => match look(aws, name).await? {
            Some(url) => url,
            None => return Ok(None),
        },
    };
    let attributes = unless_gone(|| async {
        let sent = aws.sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
        sent.send().await.map_err(|e| from_sdk(format!("sqs:GetQueueAttributes {name}"), e))
    });
    let tags = unless_gone(|| async {
        aws.sqs.list_queue_tags().queue_url(&url).send().await.map_err(|e| from_sdk(format!("sqs:ListQueueTags {name}"), e))
    });
    let (Some(attributes), Some(tags)) = futures::try_join!(attributes, tags)? else { return Ok(None) };
    let (attributes, tags) = (attributes.attributes.unwrap_or_default(), tags.tags.unwrap_or_default());
    let mut attributes: BTreeMap<String, String> = attributes.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect();
    let policy = attributes.remove("Policy").and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(Some(Observed { url, attributes, policy, tags: tags.into_iter().collect() }))
}

/// How a queue differs from what the bundle wants.
pub fn differences(cx: &Context, want: &MadeQueue, live: &Observed) -> Vec<String> {
    let mut found: Vec<String> = changed(want, live)
        .into_iter()
        .map(|(name, value)| {
            let text = |value: Option<&String>| value.filter(|value| !value.is_empty()).map_or("none", String::as_str).to_owned();
            format!("{} {}, want {}", hcl_name(&name), text(live.attributes.get(&name)), text(Some(&value)))
        })
        .collect();
    if !statement::same(&live.policy, &want.policy) {
        found.push("policy differs".to_owned());
    }
    found.extend(cx.tags.differences(&live.tags));
    found
}

fn changed(want: &MadeQueue, live: &Observed) -> BTreeMap<String, String> {
    let mut wanted = want.attributes.clone();
    // a key that is not wanted any more is taken away by an empty one
    if live.attributes.get(KEY).is_some_and(|key| !key.is_empty()) {
        wanted.entry(KEY.to_owned()).or_default();
    }
    wanted.into_iter().filter(|(name, value)| live.attributes.get(name) != Some(value)).collect()
}

/// The names that a reader of Karpenter's documentation knows.
fn hcl_name(attribute: &str) -> &str {
    match attribute {
        "MessageRetentionPeriod" => "message_retention_seconds",
        "SqsManagedSseEnabled" => "sqs_managed_sse_enabled",
        KEY => "kms_key_id",
        "KmsDataKeyReusePeriodSeconds" => "kms_data_key_reuse_period_seconds",
        other => other,
    }
}

/// Makes the queue, or changes the one that is there; its URL. SQS wants 60 seconds between a deletion and a queue of the same
/// name, which is waited for.
///
/// # Errors
/// What SQS says.
pub async fn converge(cx: &Context, queue: &Queue, want: &MadeQueue, live: Option<&Observed>) -> Result<String, Error> {
    let (sqs, name) = (&cx.aws.sqs, queue.name.as_str());
    let attributes = |attributes: BTreeMap<String, String>, policy: Option<&Json>| -> HashMap<QueueAttributeName, String> {
        let policy = policy.map(|policy| (QueueAttributeName::Policy, policy.to_string()));
        attributes.into_iter().map(|(name, value)| (QueueAttributeName::from(name.as_str()), value)).chain(policy).collect()
    };
    let Some(live) = live else {
        return cx
            .patiently(&[Kind::Unavailable], || async {
                let sent =
                    sqs.create_queue().queue_name(name).set_attributes(Some(attributes(want.attributes.clone(), Some(&want.policy))));
                let sent = sent.set_tags(Some(cx.tags.wanted.clone().into_iter().collect()));
                let answer = sent.send().await.map_err(|e| from_sdk(format!("sqs:CreateQueue {name}"), e))?;
                Ok(answer.queue_url.unwrap_or_default())
            })
            .await;
    };
    let changed = changed(want, live);
    if !changed.is_empty() || !statement::same(&live.policy, &want.policy) {
        // The policy always goes along: it is one call either way.
        let changed = attributes(changed, Some(&want.policy));
        let sent = sqs.set_queue_attributes().queue_url(&live.url).set_attributes(Some(changed));
        sent.send().await.map_err(|e| from_sdk(format!("sqs:SetQueueAttributes {name}"), e))?;
    }
    let (set, remove) = (cx.tags.to_set(&live.tags), cx.tags.to_remove(&live.tags));
    if !set.is_empty() {
        let sent = sqs.tag_queue().queue_url(&live.url).set_tags(Some(set.into_iter().collect()));
        sent.send().await.map_err(|e| from_sdk(format!("sqs:TagQueue {name}"), e))?;
    }
    if !remove.is_empty() {
        let sent = sqs.untag_queue().queue_url(&live.url).set_tag_keys(Some(remove));
        sent.send().await.map_err(|e| from_sdk(format!("sqs:UntagQueue {name}"), e))?;
    }
    Ok(live.url.clone())
}

/// The last call of a create whose first object was the queue.
///
/// # Errors
/// What SQS says.
pub async fn remove_marker(cx: &Context, url: &str) -> Result<(), Error> {
    let sent = cx.aws.sqs.untag_queue().queue_url(url).tag_keys(super::desired::CREATING_TAG);
    sent.send().await.map_err(|e| from_sdk(format!("sqs:UntagQueue {url}"), e))?;
    Ok(())
}

/// How long SQS may take to forget a queue: 60 seconds, its documentation says.
const FORGOTTEN: Duration = Duration::from_secs(90);

/// Deletes a queue, and waits until SQS knows it no more, since a create would find it; one that is gone is fine.
///
/// # Errors
/// What SQS says.
pub async fn delete(cx: &Context, url: &str) -> Result<(), Error> {
    unless_gone(|| async {
        cx.aws.sqs.delete_queue().queue_url(url).send().await.map_err(|e| from_sdk(format!("sqs:DeleteQueue {url}"), e))
    })
    .await?;
    let end = cx.deadline.min(Instant::now() + FORGOTTEN);
    let name = url.rsplit('/').next().unwrap_or_default();
    while look(&cx.aws, name).await?.is_some() && Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
