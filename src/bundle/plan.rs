//! What a plan can say of a bundle: names and ARNs wherever the account is known. Pure.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::arguments::Arguments;
use super::chart::CRDS;
use super::desired::{Desired, Place};
use super::found::Found;
use super::observe::{ACCESS_ENTRY, IN_SYNC, INSTANCE_PROFILE, NOT_MANAGED, QUEUE};
use crate::Error;
use crate::tofu::convert;
use crate::tofu::path::{Path, Step};
use crate::tofu::schema::Block;
use crate::tofu::value::Value;

/// Computed attributes that only an apply can tell.
const LIVE: [&str; 3] = ["ready", "ready_reason", "objects"];

/// Computed attributes that follow from arguments, with those.
const FOLLOWING: [(&str, &[&str]); 11] = [
    ("controller_role_name", &["controller_role"]),
    ("controller_role_arn", &["controller_role"]),
    ("node_role_name", &["node_role"]),
    ("node_role_arn", &["node_role"]),
    ("instance_profile_name", &["instance_profile", "node_role"]),
    ("instance_profile_arn", &["instance_profile", "node_role"]),
    ("queue_name", &["interruption_queue"]),
    ("queue_arn", &["interruption_queue"]),
    ("event_rules", &["interruption_queue", "rules", "version"]),
    ("cluster_arn", &["cluster_name"]),
    ("account_id", &["cluster_name"]),
];

/// Computed attributes that AWS or the cluster chooses: the object that each is of, and the arguments with which it changes.
const CHOSEN: [(&str, &str, &[&str]); 6] = [
    ("queue_url", QUEUE, &["interruption_queue"]),
    ("controller_role_unique_id", "controller_role", &["controller_role"]),
    ("node_role_unique_id", "node_role", &["node_role"]),
    ("access_entry_arn", ACCESS_ENTRY, &["node_role", "access_entry"]),
    ("instance_profile_unique_id", INSTANCE_PROFILE, &["instance_profile", "node_role"]),
    ("crd_versions", CRDS, &["version", "chart", "namespace"]),
];

/// The version that names are planned for where none is known.
const SOME_VERSION: Version = Version::new(1, 14, 1);

fn computed() -> impl Iterator<Item = &'static str> {
    LIVE.into_iter().chain(FOLLOWING.map(|(name, _)| name)).chain(CHOSEN.map(|(name, _, _)| name))
}

/// The arguments of a configuration, plan or state; what is unknown in it is left out.
pub fn arguments(block: &Block, value: &Value) -> Arguments {
    serde_json::from_value(convert::expand(block, value)).unwrap_or_default()
}

/// Whether the last apply's configuration set the attribute. What is chosen once is kept: the cluster and the version.
pub fn was_set(set: &BTreeSet<String>, path: &Path) -> bool {
    matches!(path.0.as_slice(), [Step::Attribute(name)] if name != "cluster_name" && name != "version" && set.contains(name))
}

/// Names of the top-level attributes that a configuration sets.
pub fn set_by(config: &Value) -> BTreeSet<String> {
    config.entries().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone()).collect()
}

/// Makes every computed attribute unknown, as at a create or a replacement.
pub fn forget(planned: &mut Value) {
    computed().for_each(|name| planned.set(name, Value::unknown()));
}

/// What an update plans for the computed attributes: unknown where something but drift changes; where only drift is to be
/// repaired, the lines of what drifted say "in sync" again.
pub fn update(prior: &Value, planned: &mut Value) {
    let differs = |planned: &Value, name: &str| planned.attr(name) != prior.attr(name);
    let changes = planned.entries().any(|(name, _)| !computed().any(|computed| computed == name) && differs(planned, name));
    let repaired = prior.attr("objects").entries().map(|(key, line)| {
        let line = if line.as_str() == Some(NOT_MANAGED) { line.clone() } else { Value::from(IN_SYNC) };
        (key.clone(), line)
    });
    let repaired = Value::Map(repaired.collect());
    let repairs = !prior.attr("objects").is_null() && repaired != *prior.attr("objects");
    if !changes && !repairs {
        return;
    }
    for (name, key, arguments) in CHOSEN {
        let line = prior.attr("objects").attr(key).as_str();
        let is_lost = line.is_some_and(|line| line != IN_SYNC && line != NOT_MANAGED);
        if is_lost || arguments.iter().any(|argument| differs(planned, argument)) {
            planned.set(name, Value::unknown());
        }
    }
    LIVE.iter().for_each(|name| planned.set(name, Value::unknown()));
    if !changes {
        planned.set("objects", repaired);
    }
}

/// What a plan asks for, as far as it is known yet; `place` may lack account, region and partition (empty).
///
/// # Errors
/// As [`Found::desired`].
pub fn wanted(block: &Block, planned: &Value, place: &Place, found: &Found) -> Result<Desired, Error> {
    let version = planned.attr("version").as_str().and_then(|text| Version::parse(text.trim_start_matches('v')).ok());
    // an account that is not known yet is as long as any
    let mut place = place.clone();
    if place.account.is_empty() {
        place = Place { partition: "aws".into(), region: "us-east-1".into(), account: "123456789012".into(), ..place };
    }
    found.desired(&arguments(block, planned), &version.unwrap_or(SOME_VERSION), &place, &BTreeMap::new())
}

/// Names of an existing bundle follow its arguments; where those did not change, they stay as they are. Without anything `wanted`, they are
/// not known yet.
pub fn rename(prior: &Value, planned: &mut Value, wanted: Option<&Desired>) {
    let changed = |arguments: &[&str]| arguments.iter().any(|argument| planned.attr(argument) != prior.attr(argument));
    // a cluster is the same one under its name and its ARN
    let names = FOLLOWING.iter().filter(|(_, arguments)| *arguments != ["cluster_name"] && changed(arguments)).map(|(name, _)| *name);
    let names: Vec<&str> = names.collect();
    let mut renamed = planned.clone();
    names.iter().for_each(|name| renamed.set(name, Value::unknown()));
    if let Some(wanted) = wanted {
        set_names(&mut renamed, wanted, true);
    }
    names.into_iter().for_each(|name| planned.set(name, renamed.attr(name).clone()));
}

/// Sets names and ARNs as far as they follow from what is known: ARNs where the `account` is.
pub fn set_names(planned: &mut Value, wanted: &Desired, account: bool) {
    for (name, value) in outputs(wanted) {
        let from = FOLLOWING.iter().find(|(following, _)| *following == name).map_or(&[][..], |(_, arguments)| arguments);
        let known = from.iter().all(|argument| planned.attr(argument).is_wholly_known());
        if known && (account || name.ends_with("_name")) {
            planned.set(name, value);
        }
    }
    if wanted.queue.is_none() && planned.attr("interruption_queue").is_wholly_known() {
        planned.set("queue_url", Value::Null);
    }
}

/// Whether the arguments are known that decide whether there can be such a bundle: whether IAM takes its policies, above all.
pub fn decides(planned: &Value) -> bool {
    let version = planned.attr("version").as_str().is_none_or(|text| Version::parse(text.trim_start_matches('v')).is_ok());
    version && ["controller_role", "node_role", "interruption_queue"].iter().all(|name| planned.attr(name).is_wholly_known())
}

/// The computed attributes that follow from what a bundle should be.
pub fn outputs(desired: &Desired) -> Vec<(&'static str, Value)> {
    let Desired { place, controller_role, node_role, queue, instance_profile, rules, .. } = desired;
    let of_queue =
        |text: fn(&super::desired::Queue) -> &String| queue.as_ref().map_or(Value::Null, |queue| Value::from(text(queue).clone()));
    let of_profile = |text: fn(&super::desired::InstanceProfile) -> &String| {
        instance_profile.as_ref().map_or(Value::Null, |profile| Value::from(text(profile).clone()))
    };
    vec![
        ("instance_profile_name", of_profile(|profile| &profile.name)),
        ("instance_profile_arn", of_profile(|profile| &profile.arn)),
        ("event_rules", Value::object(rules.iter().map(|rule| (rule.name.clone(), Value::from(rule.arn.clone()))))),
        ("controller_role_name", Value::from(controller_role.name.clone())),
        ("controller_role_arn", Value::from(controller_role.arn.clone())),
        ("node_role_name", Value::from(node_role.name.clone())),
        ("node_role_arn", Value::from(node_role.arn.clone())),
        ("queue_name", of_queue(|queue| &queue.name)),
        ("queue_arn", of_queue(|queue| &queue.arn)),
        ("cluster_arn", Value::from(place.arn())),
        ("account_id", Value::from(place.account.clone())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(lines: &[(&str, &str)]) -> Value {
        let objects = Value::object(lines.iter().map(|(key, line)| (*key, Value::from(*line))));
        Value::object([("objects", objects), ("ready", Value::from(true)), ("version", Value::from("1.14.1"))])
    }

    #[test]
    fn without_drift_nothing_is_planned() {
        let prior = state(&[("a", IN_SYNC), ("node_role", NOT_MANAGED)]);
        let mut planned = prior.clone();
        update(&prior, &mut planned);
        assert_eq!(planned, prior);
    }

    #[test]
    fn drift_is_planned_back_line_by_line() {
        let prior = state(&[("a", "drifted: x"), ("b", IN_SYNC), ("node_role", NOT_MANAGED)]);
        let mut planned = prior.clone();
        update(&prior, &mut planned);
        assert_eq!(planned.attr("objects"), state(&[("a", IN_SYNC), ("b", IN_SYNC), ("node_role", NOT_MANAGED)]).attr("objects"));
        assert!(planned.attr("ready").is_unknown());
    }

    #[test]
    fn another_change_makes_the_map_unknown() {
        let prior = state(&[("a", "missing")]);
        let mut planned = prior.clone();
        planned.set("version", Value::from("1.14.0"));
        update(&prior, &mut planned);
        assert!(planned.attr("objects").is_unknown() && planned.attr("ready").is_unknown());
    }
}
