//! What every step with a client is given: clients, place, tags, a deadline; and how a step waits for AWS to agree with itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::Instant;

use super::desired::{CREATING_TAG, Desired, OWNER_TAG, Place};
use super::record::Record;
use crate::aws::Clients;
use crate::provider::Connections;
use crate::provider::ignore_tags::IgnoreTags;
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
    /// What the last apply left: tags of single objects, and what AWS refused to make.
    pub record: Record,
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
    /// Are left as they are.
    pub ignored: IgnoreTags,
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

/// Calls about what AWS has named a moment ago; `None` where that is gone. AWS may for a while not know what exists, so it has to say
/// so twice.
///
/// # Errors
/// Any error but absence.
pub async fn unless_gone<T, F: Future<Output = Result<T, Error>>>(call: impl Fn() -> F) -> Result<Option<T>, Error> {
    let mut done = call().await;
    if done.as_ref().is_err_and(|error| error.kind == Kind::NotFound) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        done = call().await;
    }
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
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

    /// A context to look at a bundle, now.
    pub fn to_look(aws: Clients, desired: &Desired, connections: Arc<Connections>) -> Context {
        let tags = Tags { wanted: desired.tags.clone(), ..Tags::default() };
        Context { aws, place: desired.place.clone(), tags, record: Record::default(), deadline: Instant::now() + PATIENCE, connections }
    }

    /// The same for an object with tags of its own, over the common ones.
    #[must_use]
    pub fn with_own_tags(&self, key: &str, own: &BTreeMap<String, String>) -> Context {
        let mut cx = self.clone();
        let owner = cx.tags.wanted.get(OWNER_TAG).cloned();
        cx.tags.wanted.extend(own.clone());
        cx.tags.wanted.extend(owner.map(|owner| (OWNER_TAG.to_owned(), owner)));
        cx.tags.stale.extend(self.record.own_tags.get(key).into_iter().flatten().cloned());
        cx
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
        let wanted = self.wanted.iter().filter(|(key, _)| !self.ignored.ignores(key));
        wanted.filter(|(key, value)| live.get(*key) != Some(value)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// Keys that an object has and must lose.
    pub fn to_remove(&self, live: &BTreeMap<String, String>) -> Vec<String> {
        let stale = self.stale.iter().filter(|key| live.contains_key(*key) && !self.wanted.contains_key(*key));
        stale.filter(|key| !self.ignored.ignores(key)).cloned().collect()
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
        let stale = BTreeSet::from(["c".to_owned(), "a".to_owned()]);
        let mut tags = Tags { wanted: map(&[("a", "1"), ("b", "2")]), stale, ignored: IgnoreTags::default() };
        assert!(tags.differences(&map(&[("a", "1"), ("b", "2"), ("theirs", "x")])).is_empty());
        assert_eq!(tags.differences(&map(&[("a", "0"), ("c", "3")])), ["tag a is 0, want 1", "tag b missing", "tag c to remove"]);
        tags.ignored = IgnoreTags { keys: Some(vec!["a".into()]), key_prefixes: Some(vec!["c".into()]) };
        assert_eq!(tags.differences(&map(&[("a", "0"), ("c", "3")])), ["tag b missing"]);
    }
}
