//! The EventBridge rules that put interruptions into the queue.

use semver::Version;
use serde_json::{Value as Json, json};

use super::desired::Place;
use super::names::{ROLE_LIMIT, within};

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

/// What all names of a cluster's rules start with.
pub fn name_prefix(place: &Place) -> String {
    let longest = EVENTS.iter().map(|(_, _, key, _)| key.len()).max().unwrap_or_default();
    within(ROLE_LIMIT - longest, &place.cluster, "-karpenter-")
}

/// The rules that a version of Karpenter makes use of.
pub fn rules(version: &Version, place: &Place, queue_arn: &str) -> Vec<Rule> {
    let prefix = name_prefix(place);
    EVENTS
        .iter()
        .filter(|(_, _, _, since)| version.major > 1 || version.minor >= *since)
        .map(|(source, detail_type, key, _)| {
            let name = format!("{prefix}{key}");
            Rule {
                key: format!("rule_{}", key.replace('-', "_")),
                arn: format!("arn:{}:events:{}:{}:rule/{name}", place.partition, place.region, place.account),
                pattern: json!({"source": [source], "detail-type": [detail_type]}),
                target_arn: queue_arn.to_owned(),
                name,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_reservations_came_with_1_10_and_names_fit() {
        let place = Place::of_arn(&format!("arn:aws:eks:us-east-1:123456789012:cluster/{}", "c".repeat(100))).unwrap();
        assert_eq!(rules(&Version::new(1, 9, 0), &place, "q").len(), 4);
        let rules = rules(&Version::new(1, 10, 0), &place, "q");
        assert_eq!(rules.len(), 5);
        assert!(rules.iter().all(|rule| rule.name.len() <= ROLE_LIMIT && rule.name.starts_with(&name_prefix(&place))));
    }
}
