//! What a plan can say of a bundle: names and ARNs wherever the account is known. Pure.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::arguments::Arguments;
use super::desired::{Desired, Place};
use super::found::Found;
use super::observe::{IN_SYNC, NOT_MANAGED};
use crate::tofu::convert;
use crate::tofu::path::{Path, Step};
use crate::tofu::schema::Block;
use crate::tofu::value::Value;

/// Computed attributes that an update leaves as they are until it is applied.
const LIVE: [&str; 2] = ["ready", "objects"];
/// Every computed-only attribute.
const COMPUTED: [&str; 11] = [
    "controller_role_name",
    "controller_role_arn",
    "node_role_name",
    "node_role_arn",
    "queue_name",
    "queue_arn",
    "queue_url",
    "ready",
    "objects",
    "cluster_arn",
    "account_id",
];

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
    COMPUTED.iter().for_each(|name| planned.set(name, Value::unknown()));
}

/// What an update plans for the computed attributes: unknown where something but drift changes; where only drift is to be
/// repaired, the lines of what drifted say "in sync" again.
pub fn update(prior: &Value, planned: &mut Value) {
    let computed = |name: &String| COMPUTED.contains(&name.as_str());
    let changes = planned.entries().any(|(name, value)| !computed(name) && value != prior.attr(name));
    if changes {
        LIVE.iter().for_each(|name| planned.set(name, Value::unknown()));
        if planned.attr("interruption_queue") != prior.attr("interruption_queue") || has_lost_url(prior) {
            planned.set("queue_url", Value::unknown());
        }
        return;
    }
    let repaired = prior.attr("objects").entries().map(|(key, line)| {
        let line = if line.as_str() == Some(NOT_MANAGED) { line.clone() } else { Value::from(IN_SYNC) };
        (key.clone(), line)
    });
    let repaired = Value::Map(repaired.collect());
    if !prior.attr("objects").is_null() && repaired != *prior.attr("objects") {
        planned.set("objects", repaired);
        planned.set("ready", Value::unknown());
        if has_lost_url(prior) {
            planned.set("queue_url", Value::unknown());
        }
    }
}

/// The queue is gone, and with it its URL.
fn has_lost_url(prior: &Value) -> bool {
    prior.attr("queue_url").is_null() && !prior.attr("queue_name").is_null()
}

/// Sets names and ARNs as far as they follow from what is known. `place` may lack account, region and partition (empty): then
/// only the names follow.
pub fn set_names(block: &Block, planned: &mut Value, place: &Place, found: &Found) {
    let version = Version::new(1, 14, 1);
    let Ok(desired) = found.desired(&arguments(block, planned), &version, place, &BTreeMap::new()) else { return };
    for (name, value) in outputs(&desired) {
        let from = match name.split_once('_') {
            Some(("controller", _)) => "controller_role",
            Some(("node", _)) => "node_role",
            Some(("queue", _)) => "interruption_queue",
            _ => "cluster_name",
        };
        let follows = planned.attr(from).is_wholly_known() && (!place.account.is_empty() || name.ends_with("_name"));
        if follows {
            planned.set(name, value);
        }
    }
    if desired.queue.is_none() && planned.attr("interruption_queue").is_wholly_known() {
        planned.set("queue_url", Value::Null);
    }
}

/// The computed attributes that follow from what a bundle should be.
pub fn outputs(desired: &Desired) -> Vec<(&'static str, Value)> {
    let Desired { place, controller_role, node_role, queue, .. } = desired;
    let of_queue =
        |text: fn(&super::desired::Queue) -> &String| queue.as_ref().map_or(Value::Null, |queue| Value::from(text(queue).clone()));
    vec![
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
