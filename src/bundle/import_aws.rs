//! What AWS tells an import of the controller's role and of the queue with its rules.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use serde_json::Value as Json;

use super::context::{Context, Ownership, unless_gone};
use super::documents::passed_roles;
use super::events::{self, Rule};
use super::found::{Found, FoundRole};
use super::names;
use super::{policies, policy, queue, role, rules, statement};
use crate::Error;
use crate::aws::error::from_sdk;

/// The controller's role with what is on it.
#[derive(Clone, Debug, Default)]
pub struct ControllerRole {
    /// Name, ARN, path.
    pub role: FoundRole,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its boundary.
    pub permissions_boundary: Option<String>,
    /// Longest session in seconds.
    pub max_session_duration: i64,
    /// Whether only the cluster's tokens let somebody assume it, the way of IAM roles for service accounts.
    pub by_token: bool,
    /// ARNs of managed policies that the bundle made, or that are of this role alone and hold nothing but what Karpenter needs.
    pub policies: Vec<String>,
    /// ARNs of the account's other managed policies on it.
    pub others: Vec<String>,
    /// Names of such inline policies.
    pub inline: Vec<String>,
    /// ARNs of roles that it may pass to nodes.
    pub passed: Vec<String>,
}

/// What is known of the queue.
#[derive(Clone, Debug)]
pub enum Queue {
    /// Nothing: a bundle's default is as good as any.
    Unknown,
    /// The controller runs without one.
    Disabled,
    /// It has this one.
    Named {
        /// Its name.
        name: String,
        /// It as it is; `None` where the controller's queue does not exist.
        live: Option<queue::Observed>,
        /// Names of the rules that feed it, by their keys in `objects`.
        rules: BTreeMap<String, String>,
    },
}

/// The role of that name with its policies, or `None` where there is none.
///
/// # Errors
/// What IAM says.
pub async fn controller_role(cx: &Context, found: FoundRole) -> Result<Option<ControllerRole>, Error> {
    let Some(live) = role::observe(&cx.aws, &found.name).await? else { return Ok(None) };
    let customer = live.attached.iter().filter(|arn| !arn.contains(":iam::aws:"));
    let managed = try_join_all(customer.map(|arn| managed(cx, arn))).await?;
    let inline = inline(cx, &found.name).await?;
    let documents = managed.iter().map(|policy| &policy.document).chain(inline.iter().map(|(_, document)| document));
    let passed = documents.flat_map(passed_roles).collect();
    // what an interrupted change left is none of them
    let is_interim = |arn: &str| arn.rsplit('/').next().is_some_and(|name| name.starts_with(&format!("{}-former", found.name)));
    let is_taken = |policy: &Managed| policy.ours && !is_interim(&policy.arn) || policy.alone && policies::is_karpenters(&policy.document);
    let (taken, others): (Vec<_>, Vec<_>) = managed.into_iter().partition(is_taken);
    let mut policies: Vec<String> = taken.into_iter().map(|policy| policy.arn).collect();
    // as the bundle numbers its own: NAME, NAME-2, ...
    policies.sort_by_key(|arn| (arn.len(), arn.clone()));
    let others = others.into_iter().filter(|policy| !policy.ours).map(|policy| policy.arn).collect();
    let inline = inline.into_iter().filter(|(_, document)| policies::is_karpenters(document)).map(|(name, _)| name).collect();
    Ok(Some(ControllerRole {
        role: FoundRole { arn: live.arn, path: live.path, name: found.name },
        tags: live.tags,
        permissions_boundary: live.permissions_boundary,
        max_session_duration: live.max_session_duration,
        by_token: is_by_token(&live.trust),
        policies,
        others,
        inline,
        passed,
    }))
}

fn is_by_token(trust: &Json) -> bool {
    let trust = trust.to_string();
    trust.contains("sts:AssumeRoleWithWebIdentity") && !trust.contains("pods.eks.amazonaws.com")
}

/// A managed policy of the controller's role.
struct Managed {
    arn: String,
    document: Json,
    /// Whether the bundle made it.
    ours: bool,
    /// Whether it is attached to nothing else.
    alone: bool,
}

async fn managed(cx: &Context, arn: &str) -> Result<Managed, Error> {
    let attached = async {
        let answer = cx.aws.iam.get_policy().policy_arn(arn).send().await.map_err(|e| from_sdk(format!("iam:GetPolicy {arn}"), e))?;
        Ok(answer.policy.and_then(|policy| policy.attachment_count).unwrap_or_default())
    };
    let (attached, live) = futures::try_join!(attached, policy::observe(&cx.aws, arn))?;
    let policy::Observed { document, tags } = live.unwrap_or_default();
    Ok(Managed { arn: arn.to_owned(), document, ours: cx.ownership(&tags) == Ownership::Ours, alone: attached == 1 })
}

/// Names and documents of the inline policies.
async fn inline(cx: &Context, role: &str) -> Result<Vec<(String, Json)>, Error> {
    let iam = &cx.aws.iam;
    let answer = iam.list_role_policies().role_name(role).send().await.map_err(|e| from_sdk(format!("iam:ListRolePolicies {role}"), e))?;
    let read = |name: String| async move {
        let sent = iam.get_role_policy().role_name(role).policy_name(&name).send().await;
        let answer = sent.map_err(|e| from_sdk(format!("iam:GetRolePolicy {role} {name}"), e))?;
        Ok::<_, Error>((name, role::document(&answer.policy_document)))
    };
    try_join_all(answer.policy_names.into_iter().map(read)).await
}

/// Deletes the inline policies whose statements the bundle's managed ones now hold: a role with inline policies cannot be deleted.
///
/// # Errors
/// What IAM says.
pub async fn retire_inline(cx: &Context, found: &Found) -> Result<(), Error> {
    let Some(FoundRole { name: role, .. }) = &found.controller_role else { return Ok(()) };
    for name in &found.inline {
        unless_gone(|| async {
            let sent = cx.aws.iam.delete_role_policy().role_name(role).policy_name(name).send().await;
            sent.map_err(|e| from_sdk(format!("iam:DeleteRolePolicy {role} {name}"), e))
        })
        .await?;
    }
    Ok(())
}

/// The queue: the one that the controller reads, else one of the names that its common makers give, if events feed it.
///
/// # Errors
/// What SQS and EventBridge say.
pub async fn queue(cx: &Context, configured: Option<String>, installed: bool) -> Result<Queue, Error> {
    if let Some(name) = configured.filter(|name| !name.is_empty()) {
        let (live, rules) = futures::try_join!(queue::observe(&cx.aws, &name, None), fed_by(cx, &name))?;
        return Ok(Queue::Named { name, live, rules });
    }
    let cluster = &cx.place.cluster;
    for name in [names::queue(cluster), format!("Karpenter-{cluster}"), cluster.clone()] {
        let Some(live) = queue::observe(&cx.aws, &name, None).await? else { continue };
        let rules = fed_by(cx, &name).await?;
        if name == names::queue(cluster) || !rules.is_empty() {
            return Ok(Queue::Named { name, live: Some(live), rules });
        }
    }
    Ok(if installed { Queue::Disabled } else { Queue::Unknown })
}

/// Names of the rules that feed a queue with what Karpenter reads, by their keys in `objects`.
async fn fed_by(cx: &Context, queue: &str) -> Result<BTreeMap<String, String>, Error> {
    let arn = cx.place.regional_arn("sqs", queue);
    let names = rules::feeding(cx, &arn).await?;
    let found = try_join_all(names.iter().map(|name| rules::find(cx, name))).await?;
    let patterns: Vec<(String, Json)> = found
        .into_iter()
        .flatten()
        .filter_map(|rule| Some((rule.name?, serde_json::from_str(rule.event_pattern.as_deref()?).ok()?)))
        .collect();
    Ok(matched(&events::rules(&semver::Version::new(u64::MAX, 0, 0), &cx.place, &arn, None), &patterns))
}

/// Which rule stands for which of the wanted ones: the same pattern first, else one that lets its events through among others.
fn matched(wanted: &[Rule], live: &[(String, Json)]) -> BTreeMap<String, String> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for fits in [statement::same as fn(&Json, &Json) -> bool, covers] {
        for want in wanted {
            let free = |name: &String, names: &BTreeMap<String, String>| !names.values().any(|taken| taken == name);
            let mut candidates: Vec<&String> =
                live.iter().filter(|(name, pattern)| free(name, &names) && fits(pattern, &want.pattern)).map(|(name, _)| name).collect();
            candidates.sort_by_key(|name| **name != want.name);
            if let (Some(first), false) = (candidates.first(), names.contains_key(&want.key)) {
                names.insert(want.key.clone(), (*first).clone());
            }
        }
    }
    names
}

fn covers(pattern: &Json, wanted: &Json) -> bool {
    let holds = |key: &str| {
        let listed = |value: &Json| value.as_array().cloned().unwrap_or_default();
        listed(&wanted[key]).iter().all(|one| listed(&pattern[key]).contains(one))
    };
    let plain = pattern.as_object().is_some_and(|keys| keys.keys().all(|key| key == "source" || key == "detail-type"));
    plain && holds("source") && holds("detail-type")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::desired::Place;
    use serde_json::json;

    fn wanted() -> Vec<Rule> {
        let place = Place::of_arn("arn:aws:eks:us-east-1:123456789012:cluster/demo").unwrap();
        events::rules(&semver::Version::new(1, 14, 1), &place, "q", None)
    }

    fn rule(name: &str, source: &[&str], kinds: &[&str]) -> (String, Json) {
        (name.to_owned(), json!({"source": source, "detail-type": kinds}))
    }

    #[test]
    fn rules_are_known_by_what_they_match() {
        let live = [
            rule("KarpenterSpotInterrupt-1", &["aws.ec2"], &["EC2 Spot Instance Interruption Warning"]),
            rule("KarpenterHealthEvent-1", &["aws.health"], &["AWS Health Event"]),
            rule("other", &["aws.s3"], &["x"]),
        ];
        let names = matched(&wanted(), &live);
        assert_eq!(names["rule_spot_interruption"], "KarpenterSpotInterrupt-1");
        assert_eq!(names["rule_health_event"], "KarpenterHealthEvent-1");
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn a_rule_for_all_events_becomes_one_of_them() {
        let all = rule(
            "all",
            &["aws.ec2", "aws.health"],
            &["AWS Health Event", "EC2 Spot Instance Interruption Warning", "EC2 Instance Rebalance Recommendation"],
        );
        assert_eq!(matched(&wanted(), &[all]).values().collect::<Vec<_>>(), ["all"]);
    }

    #[test]
    fn of_two_rules_for_the_same_the_default_name_wins() {
        let health = |name: &str| rule(name, &["aws.health"], &["AWS Health Event"]);
        let names = matched(&wanted(), &[health("a"), health("demo-karpenter-health-event")]);
        assert_eq!(names["rule_health_event"], "demo-karpenter-health-event");
    }
}
