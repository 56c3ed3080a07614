//! The interruption queue and its rules.

use std::collections::BTreeMap;

use semver::Version;
use serde_json::{Value as Json, json};

use super::super::arguments::Arguments;
use super::super::events::{self, Rule};
use super::super::names;
use super::{MadeQueue, Place, Queue};

/// Seconds for which a message is of use: an interruption comes two minutes ahead.
const RETENTION: &str = "300";
/// SQS' default of the reuse of data keys, in seconds.
pub const DATA_KEY_REUSE: i64 = 300;

pub(super) fn queue(arguments: &Arguments, place: &Place) -> Option<Queue> {
    let queue = arguments.interruption_queue.clone().unwrap_or_default();
    if queue.enabled == Some(false) {
        return None;
    }
    let name = queue.name.unwrap_or_else(|| names::queue(&place.cluster));
    let arn = place.regional_arn("sqs", &name);
    if queue.create == Some(false) {
        return Some(Queue { name, arn, made: None });
    }
    let mut attributes = BTreeMap::from([("MessageRetentionPeriod".to_owned(), RETENTION.to_owned())]);
    match queue.kms_key_id {
        Some(key) => {
            let reuse = queue.kms_data_key_reuse_period_seconds.unwrap_or(DATA_KEY_REUSE);
            attributes.extend([("KmsMasterKeyId".into(), key), ("KmsDataKeyReusePeriodSeconds".into(), reuse.to_string())]);
        }
        None => {
            let enabled = queue.sqs_managed_sse_enabled != Some(false);
            attributes.insert("SqsManagedSseEnabled".into(), enabled.to_string());
        }
    }
    let mut statements = vec![
        json!({
            "Sid": "EventsMaySend",
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", "sqs.amazonaws.com"]},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }),
        json!({
            "Sid": "NoPlainHttp",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": arn,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }),
    ];
    statements.extend(queue.policy_statement.iter().flatten().map(|statement| statement.json_about(&arn)));
    let policy: Json = json!({"Version": "2012-10-17", "Statement": statements});
    Some(Queue { name, arn, made: Some(MadeQueue { attributes, policy }) })
}

pub(super) fn rules(arguments: &Arguments, version: &Version, place: &Place, queue: Option<&Queue>) -> Vec<Rule> {
    let rules = arguments.rules.clone().unwrap_or_default();
    match queue {
        Some(queue) if rules.create != Some(false) => events::rules(version, place, &queue.arn, rules.prefix.as_deref()),
        _ => vec![],
    }
}
