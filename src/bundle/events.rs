//! The EventBridge rules that put interruptions into the queue.

use semver::Version;
use serde_json::{Value as Json, json};

use super::names::{ROLE_LIMIT, within};
use super::place::Place;

/// Id of the one target of each rule.
pub const TARGET_ID: &str = "KarpenterInterruptionQueue";

/// An EventBridge rule with the queue as its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its logical name, a key of `objects`.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// What it matches.
    pub pattern: Json,
    /// The queue.
    pub target_arn: String,
}

/// Event source, detail type, logical name, and the first minor version of Karpenter 1 that reads such events.
const EVENTS: [(&str, &str, &str, u64); 5] = [
    ("aws.health", "AWS Health Event", "health-event", 0),
    ("aws.ec2", "EC2 Spot Instance Interruption Warning", "spot-interruption", 0),
    ("aws.ec2", "EC2 Instance Rebalance Recommendation", "rebalance", 0),
    ("aws.ec2", "EC2 Instance State-change Notification", "instance-state-change", 0),
    ("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning", "capacity-reservation-interruption", 10),
];

/// What all names of a cluster's rules start with where the arguments do not say.
pub fn name_prefix(place: &Place) -> String {
    let longest = EVENTS.iter().map(|(_, _, key, _)| key.len()).max().unwrap_or_default();
    within(ROLE_LIMIT - longest, &place.cluster, "-karpenter-")
}

/// The rules that a version of Karpenter makes use of, under that prefix or the default one.
pub fn rules(version: &Version, place: &Place, queue_arn: &str, prefix: Option<&str>) -> Vec<Rule> {
    let prefix = prefix.map_or_else(|| name_prefix(place), str::to_owned);
    EVENTS
        .iter()
        .filter(|(_, _, _, since)| version.major > 1 || version.minor >= *since)
        .map(|(source, detail_type, key, _)| {
            let name = format!("{prefix}{key}");
            Rule {
                key: format!("rule_{}", key.replace('-', "_")),
                arn: place.regional_arn("events", &format!("rule/{name}")),
                pattern: json!({"source": [source], "detail-type": [detail_type]}),
                target_arn: queue_arn.to_owned(),
                name,
            }
        })
        .collect()
}

/// What the names of all these rules start with, apart from those that an import found and that are named otherwise; `None` where all are.
pub fn common_prefix(rules: &[Rule]) -> Option<&str> {
    rules.iter().find_map(|rule| prefix_of(&rule.key, &rule.name))
}

/// The prefix with which [`rules`] would give the rule of that key that name; `None` where no prefix does.
pub fn prefix_of<'a>(key: &str, name: &'a str) -> Option<&'a str> {
    name.strip_suffix(&key.strip_prefix("rule_")?.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_reservations_came_with_1_10_and_names_fit() {
        let place = Place::of_arn(&format!("arn:aws:eks:us-east-1:123456789012:cluster/{}", "c".repeat(100))).unwrap();
        assert_eq!(rules(&Version::new(1, 9, 0), &place, "q", None).len(), 4);
        let rules = rules(&Version::new(1, 10, 0), &place, "q", None);
        assert_eq!(rules.len(), 5);
        assert!(rules.iter().all(|rule| rule.name.len() <= ROLE_LIMIT && rule.name.starts_with(&name_prefix(&place))));
        assert_eq!(common_prefix(&rules), Some(name_prefix(&place).as_str()));
    }

    #[test]
    fn a_prefix_of_the_users_is_taken_as_it_is() {
        let place = Place::of_arn("arn:aws:eks:us-east-1:123456789012:cluster/demo").unwrap();
        let rules = rules(&Version::new(1, 14, 1), &place, "q", Some("Karpenter"));
        assert_eq!(rules[0].name, "Karpenterhealth-event");
        assert_eq!(common_prefix(&rules), Some("Karpenter"));
    }

    #[test]
    fn a_rule_of_another_name_has_no_part_in_the_prefix() {
        let place = Place::of_arn("arn:aws:eks:us-east-1:123456789012:cluster/demo").unwrap();
        let mut rules = rules(&Version::new(1, 14, 1), &place, "q", None);
        rules[0].name = "KarpenterHealthEvent-1".into();
        assert_eq!(common_prefix(&rules), Some("demo-karpenter-"));
        assert_eq!(common_prefix(&rules[..1]), None);
    }
}
