//! What every step with a client is given: clients, place, tags, a deadline; and how a step waits for AWS to agree with itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::Instant;

use super::desired::{CREATING_TAG, OWNER_TAG, Place};
use crate::aws::Clients;
use crate::provider::Connections;
use crate::{Error, Kind};

/// IAM is consistent within seconds, SQS takes 60 to forget a deleted queue.
const PATIENCE: Duration = Duration::from_secs(90);

/// Given to every step.
#[derive(Clone)]
pub struct Context {
    /// AWS clients of the cluster's region.
    pub aws: Clients,
    /// Where the cluster is.
    pub place: Place,
    /// Tags of owned objects.
    pub tags: Tags,
    /// When to give up.
    pub deadline: Instant,
    /// Tell when the user wants to stop.
    pub connections: Arc<Connections>,
}

/// Tags that owned objects must have, and those that the last apply wrote and this one must remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Must be there, with these values.
    pub wanted: BTreeMap<String, String>,
    /// Must go.
    pub stale: BTreeSet<String>,
}

/// Whose an object is, as its tags tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This cluster's bundle's.
    Ours,
    /// Another bundle's, with its cluster's ARN.
    Foreign(String),
    /// Nobody's that we know.
    Untagged,
}

impl Context {
    /// Calls again on errors of these kinds, within the deadline and for at most a minute and a half.
    ///
    /// # Errors
    /// The last error.
    pub async fn patiently<T, F: Future<Output = Result<T, Error>>>(&self, kinds: &[Kind], call: impl Fn() -> F) -> Result<T, Error> {
        let end = self.deadline.min(Instant::now() + PATIENCE);
        let mut pause = Duration::from_millis(500);
        loop {
            match call().await {
                Err(error) if kinds.contains(&error.kind) && Instant::now() + pause < end && !self.is_stopped() => {
                    tokio::time::sleep(pause).await
                }
                done => return done,
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Whether the user wants to stop.
    pub fn is_stopped(&self) -> bool {
        self.connections.stopped().now_or_never().is_some()
    }

    /// Whose an object with these tags is.
    pub fn ownership(&self, live: &BTreeMap<String, String>) -> Ownership {
        match live.get(OWNER_TAG) {
            None => Ownership::Untagged,
            Some(owner) if *owner == self.place.arn() => Ownership::Ours,
            Some(owner) => Ownership::Foreign(owner.clone()),
        }
    }
}

impl Tags {
    /// The wanted tags, with the creating marker where asked for.
    pub fn with_marker(&self, creating: bool) -> BTreeMap<String, String> {
        let mut tags = self.wanted.clone();
        if creating {
            tags.insert(CREATING_TAG.into(), "true".into());
        }
        tags
    }

    /// Wanted tags that an object lacks or has with another value.
    pub fn to_set(&self, live: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        self.wanted.iter().filter(|(key, value)| live.get(*key) != Some(value)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// Keys that an object has and must lose.
    pub fn to_remove(&self, live: &BTreeMap<String, String>) -> Vec<String> {
        self.stale.iter().filter(|key| live.contains_key(*key) && !self.wanted.contains_key(*key)).cloned().collect()
    }

    /// How an object's tags differ.
    pub fn differences(&self, live: &BTreeMap<String, String>) -> Vec<String> {
        let set = self.to_set(live).into_iter().map(|(key, want)| match live.get(&key) {
            Some(have) => format!("tag {key} is {have}, want {want}"),
            None => format!("tag {key} missing"),
        });
        set.chain(self.to_remove(live).into_iter().map(|key| format!("tag {key} to remove"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_others_are_no_difference() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>();
        let tags = Tags { wanted: map(&[("a", "1"), ("b", "2")]), stale: BTreeSet::from(["c".to_owned(), "a".to_owned()]) };
        assert!(tags.differences(&map(&[("a", "1"), ("b", "2"), ("theirs", "x")])).is_empty());
        assert_eq!(tags.differences(&map(&[("a", "0"), ("c", "3")])), ["tag a is 0, want 1", "tag b missing", "tag c to remove"]);
    }
}
