//! The EventBridge rules and their one target each, the queue.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_eventbridge::types::{RuleState, Tag, Target};
use futures::future::try_join_all;
use serde_json::Value as Json;

use super::context::{Context, unless_gone};
use super::events::{Rule, TARGET_ID, common_prefix};
use super::statement;
use crate::aws::error::from_sdk;
use crate::{Error, Kind};

/// A rule as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// What it matches.
    pub pattern: Json,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether the queue is a target of it.
    pub feeds_queue: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The wanted rules that exist, by name: a call for those of the common prefix, one for each of another name, which an import found, and
/// one for the tags of each.
///
/// # Errors
/// What EventBridge says.
pub async fn observe(cx: &Context, wanted: &[Rule], queue_arn: Option<&str>) -> Result<BTreeMap<String, Observed>, Error> {
    let prefix = common_prefix(wanted);
    let is_prefixed = |rule: &&Rule| prefix.is_some_and(|prefix| rule.name.starts_with(prefix));
    let listed = async {
        match prefix {
            Some(prefix) => named(cx, prefix).await,
            None => Ok(vec![]),
        }
    };
    let others: Vec<_> = wanted.iter().filter(|rule| !is_prefixed(rule)).map(|rule| find(cx, &rule.name)).collect();
    let (mut rules, others) = futures::try_join!(listed, try_join_all(others))?;
    // a short prefix may be others', too
    rules.retain(|rule| wanted.iter().any(|want| rule.name.as_ref() == Some(&want.name)));
    rules.extend(others.into_iter().flatten());
    if rules.is_empty() {
        return Ok(BTreeMap::new());
    }
    let tags: Vec<_> = rules.iter().map(|rule| tags_of(cx, rule.arn.as_deref().unwrap_or_default())).collect();
    let feeding = async {
        match queue_arn {
            Some(arn) => feeding(cx, arn).await,
            None => Ok(BTreeSet::new()),
        }
    };
    let (tags, feeding) = futures::try_join!(try_join_all(tags), feeding)?;
    let observed = rules.into_iter().zip(tags).map(|(rule, tags)| {
        let name = rule.name.unwrap_or_default();
        let rule = Observed {
            pattern: rule.event_pattern.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
            enabled: rule.state == Some(RuleState::Enabled),
            feeds_queue: feeding.contains(&name),
            tags,
        };
        (name, rule)
    });
    Ok(observed.collect())
}

/// The rules whose names start so.
async fn named(cx: &Context, prefix: &str) -> Result<Vec<aws_sdk_eventbridge::types::Rule>, Error> {
    let mut rules = vec![];
    let mut token = None;
    loop {
        let sent = cx.aws.eventbridge.list_rules().name_prefix(prefix).set_next_token(token);
        let answer = sent.send().await.map_err(|e| from_sdk(format!("events:ListRules {prefix}*"), e))?;
        rules.extend(answer.rules.unwrap_or_default());
        token = answer.next_token;
        if token.is_none() {
            return Ok(rules);
        }
    }
}

/// The rule of that name, or `None` where there is none.
///
/// # Errors
/// Any error but absence.
pub async fn find(cx: &Context, name: &str) -> Result<Option<aws_sdk_eventbridge::types::Rule>, Error> {
    let answer = cx.aws.eventbridge.describe_rule().name(name).send().await;
    match answer.map_err(|e| from_sdk(format!("events:DescribeRule {name}"), e)) {
        Ok(found) => Ok(Some(
            aws_sdk_eventbridge::types::Rule::builder()
                .set_name(found.name)
                .set_arn(found.arn)
                .set_event_pattern(found.event_pattern)
                .set_state(found.state)
                .build(),
        )),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Names of the rules that have the queue as a target.
///
/// # Errors
/// What EventBridge says.
pub async fn feeding(cx: &Context, queue_arn: &str) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    let mut token = None;
    loop {
        let sent = cx.aws.eventbridge.list_rule_names_by_target().target_arn(queue_arn).set_next_token(token);
        let answer = sent.send().await.map_err(|e| from_sdk(format!("events:ListRuleNamesByTarget {queue_arn}"), e))?;
        names.extend(answer.rule_names.unwrap_or_default());
        token = answer.next_token;
        if token.is_none() {
            return Ok(names);
        }
    }
}

async fn tags_of(cx: &Context, arn: &str) -> Result<BTreeMap<String, String>, Error> {
    let answer = unless_gone(|| async {
        let answer = cx.aws.eventbridge.list_tags_for_resource().resource_arn(arn).send().await;
        answer.map_err(|e| from_sdk(format!("events:ListTagsForResource {arn}"), e))
    });
    let tags = answer.await?.and_then(|answer| answer.tags).unwrap_or_default();
    Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

/// How a rule differs from what the bundle wants.
pub fn differences(cx: &Context, want: &Rule, live: &Observed) -> Vec<String> {
    let mut found = vec![];
    if !statement::same(&live.pattern, &want.pattern) {
        found.push("event_pattern differs".to_owned());
    }
    if !live.enabled {
        found.push("disabled, want enabled".to_owned());
    }
    if !live.feeds_queue {
        found.push("target missing".to_owned());
    }
    found.extend(cx.tags.differences(&live.tags));
    found
}

/// Makes the rule and its target, or changes what is there.
///
/// # Errors
/// What EventBridge says.
pub async fn converge(cx: &Context, want: &Rule, live: Option<&Observed>) -> Result<(), Error> {
    let bus = &cx.aws.eventbridge;
    if live.is_none_or(|live| !statement::same(&live.pattern, &want.pattern) || !live.enabled) {
        let sent = bus.put_rule().name(&want.name).event_pattern(want.pattern.to_string()).state(RuleState::Enabled);
        // EventBridge ignores tags of a rule that exists.
        let sent = match live {
            None => {
                sent.set_tags(Some(event_tags(&cx.tags.wanted)?)).description(format!("Karpenter on the EKS cluster {}", cx.place.cluster))
            }
            Some(_) => sent,
        };
        sent.send().await.map_err(|e| from_sdk(format!("events:PutRule {}", want.name), e))?;
    }
    if live.is_none_or(|live| !live.feeds_queue) {
        put_target(cx, want).await?;
    }
    let Some(live) = live else { return Ok(()) };
    let (set, remove) = (cx.tags.to_set(&live.tags), cx.tags.to_remove(&live.tags));
    if !set.is_empty() {
        let sent = bus.tag_resource().resource_arn(&want.arn).set_tags(Some(event_tags(&set)?));
        sent.send().await.map_err(|e| from_sdk(format!("events:TagResource {}", want.name), e))?;
    }
    if !remove.is_empty() {
        let sent = bus.untag_resource().resource_arn(&want.arn).set_tag_keys(Some(remove));
        sent.send().await.map_err(|e| from_sdk(format!("events:UntagResource {}", want.name), e))?;
    }
    Ok(())
}

async fn put_target(cx: &Context, want: &Rule) -> Result<(), Error> {
    let action = format!("events:PutTargets {}", want.name);
    let target = Target::builder().id(TARGET_ID).arn(&want.target_arn).build();
    let target = target.map_err(|e| Error::new(Kind::Other, action.clone(), "incomplete target").caused_by(e))?;
    let sent = cx.aws.eventbridge.put_targets().rule(&want.name).targets(target);
    let answer = sent.send().await.map_err(|e| from_sdk(action.clone(), e))?;
    // EventBridge answers 200 for targets that it refused.
    match answer.failed_entries.unwrap_or_default().into_iter().next() {
        None => Ok(()),
        Some(failed) => {
            let code = failed.error_code.unwrap_or_default();
            let message = format!("{code}: {}", failed.error_message.unwrap_or_default());
            Err(Error::new(crate::aws::error::kind(&code), action, message))
        }
    }
}

fn event_tags(tags: &BTreeMap<String, String>) -> Result<Vec<Tag>, Error> {
    let build = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    tags.iter()
        .map(build)
        .collect::<Result<_, _>>()
        .map_err(|e| Error::new(Kind::Other, "build EventBridge tags", "incomplete").caused_by(e))
}

/// Deletes a rule with all its targets; one that is gone is fine.
///
/// # Errors
/// What EventBridge says.
pub async fn delete(cx: &Context, name: &str) -> Result<(), Error> {
    let bus = &cx.aws.eventbridge;
    unless_gone(|| async {
        let listed = bus.list_targets_by_rule().rule(name).send().await;
        let listed = listed.map_err(|e| from_sdk(format!("events:ListTargetsByRule {name}"), e))?.targets.unwrap_or_default();
        if !listed.is_empty() {
            let sent = bus.remove_targets().rule(name).set_ids(Some(listed.into_iter().map(|target| target.id).collect()));
            sent.send().await.map_err(|e| from_sdk(format!("events:RemoveTargets {name}"), e))?;
        }
        bus.delete_rule().name(name).send().await.map_err(|e| from_sdk(format!("events:DeleteRule {name}"), e))
    })
    .await
    .map(drop)
}
