//! Waiting for objects: all waits for one kind share one LIST and one watch.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ApiResource, DynamicObject, WatchEvent, WatchParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::apply::{self, Object};
use super::error::from_kube;
use super::layer::jitter;
use super::reads;
use crate::{Error, Kind};

/// How long a watch outlives its last waiter: the next resource of a walk joins it instead of listing again.
const LINGER: Duration = Duration::from_secs(5);

/// `karpenter.sh/v1/nodepools`, and the namespace.
type Key = (String, Option<String>);

/// The watches of a connection, by kind and namespace.
#[derive(Default)]
pub struct Watches {
    open: Mutex<HashMap<Key, Weak<Watch>>>,
}

struct Watch {
    seen: watch::Receiver<Seen>,
    task: tokio::task::AbortHandle,
}

#[derive(Default)]
struct Seen {
    /// When the LIST that this rests on began; `None` before the first.
    listed: Option<Instant>,
    /// By name, as text: parsed ones take ten times the memory.
    objects: BTreeMap<String, Arc<str>>,
    /// The last failure, while there is one.
    failure: Option<String>,
    /// A failure that will not pass.
    refused: Option<Kind>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watches {
    /// Waits until `done` says so of the object (`None`: it is gone), or until the deadline. Objects come without managed fields.
    /// An absence is told to `done` only where it is certain. To end early, drop the future.
    ///
    /// # Errors
    /// [`Kind::Timeout`] at the deadline; what the API server refuses (a missing kind is [`Kind::NotFound`]).
    pub async fn until(
        &self,
        client: &kube::Client,
        object: &Object<'_>,
        deadline: Instant,
        done: impl FnMut(Option<&DynamicObject>) -> bool,
    ) -> Result<Option<DynamicObject>, Error> {
        let watch = self.join(client, object.kind, object.namespace);
        let result = watch.until(client, object, deadline, done).await;
        tokio::spawn(async move {
            sleep(LINGER).await;
            drop(watch);
        });
        result
    }

    fn join(&self, client: &kube::Client, kind: &ApiResource, namespace: Option<&str>) -> Arc<Watch> {
        let key = (format!("{}/{}", kind.api_version, kind.plural), namespace.map(str::to_owned));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = open.get(&key).and_then(Weak::upgrade).filter(|w| !w.task.is_finished()) {
            return watch;
        }
        let (sender, seen) = watch::channel(Seen::default());
        let following = follow(client.clone(), kind.clone(), namespace.map(str::to_owned), sender);
        let task = tokio::spawn(following).abort_handle();
        let watch = Arc::new(Watch { seen, task });
        open.insert(key, Arc::downgrade(&watch));
        watch
    }
}

impl Watch {
    async fn until(
        &self,
        client: &kube::Client,
        object: &Object<'_>,
        deadline: Instant,
        mut done: impl FnMut(Option<&DynamicObject>) -> bool,
    ) -> Result<Option<DynamicObject>, Error> {
        let began = Instant::now();
        let mut seen = self.seen.clone();
        let (mut certain, mut last) = (false, None);
        let action = format!("wait for {} {:?}", object.kind.kind, object.name);
        loop {
            // The lock on what was seen must not be held across an await.
            let (found, listed, failure, refused) = {
                let seen = seen.borrow_and_update();
                (seen.objects.get(object.name).cloned(), seen.listed, seen.failure.clone(), seen.refused)
            };
            if let Some(kind) = refused {
                return Err(Error::new(kind, action, failure.unwrap_or_default()));
            }
            match (found, listed) {
                // another object has changed
                (Some(text), _) if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &text)) => {}
                (Some(text), _) => {
                    certain = true;
                    let found = parse(&text).map_err(|e| Error::new(Kind::Other, action.clone(), e.to_string()))?;
                    if done(Some(&found)) {
                        return Ok(Some(found));
                    }
                    last = Some(text);
                }
                // Certain after a DELETE event, or by a LIST that began after us: what we found may lag behind our own write.
                (None, Some(listed)) if certain || listed >= began => {
                    if done(None) {
                        return Ok(None);
                    }
                }
                (None, Some(_)) => match apply::get(client, object, deadline).await? {
                    None if done(None) => return Ok(None),
                    None => certain = true,
                    Some(found) if done(Some(&found)) => return Ok(Some(found)),
                    Some(_) => {}
                },
                (None, None) => {}
            }
            match timeout_at(deadline, seen.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Error::new(Kind::Other, action, "the watch ended")),
                Err(_) => {
                    let reason = failure.map(|f| format!("; the watch fails: {f}")).unwrap_or_default();
                    return Err(Error::new(Kind::Timeout, action, format!("the time is up{reason}")));
                }
            }
        }
    }
}

/// Lists, watches from there on, and lists again whenever the watch is lost.
async fn follow(client: kube::Client, kind: ApiResource, namespace: Option<String>, seen: watch::Sender<Seen>) {
    let mut wait = Duration::from_millis(250);
    loop {
        match round(&client, &kind, namespace.as_deref(), &seen).await {
            Ok(()) => {
                wait = Duration::from_millis(250);
                sleep(jitter(wait)).await;
            }
            Err(error) => {
                let passes = matches!(error.kind, Kind::Unavailable | Kind::Timeout | Kind::Other);
                seen.send_modify(|seen| {
                    seen.failure = Some(error.message);
                    seen.refused = (!passes).then_some(error.kind);
                });
                if !passes {
                    return;
                }
                sleep(jitter(wait)).await;
                wait = (wait * 2).min(Duration::from_secs(10));
            }
        }
    }
}

async fn round(client: &kube::Client, kind: &ApiResource, namespace: Option<&str>, seen: &watch::Sender<Seen>) -> Result<(), Error> {
    let unread = |e: serde_json::Error| Error::new(Kind::Other, format!("read {}", kind.plural), e.to_string());
    let began = Instant::now();
    let mut objects = BTreeMap::new();
    let mut version = reads::pages(client, kind, namespace, began, |raw| {
        objects.extend([parse(raw.get()).and_then(keep).map_err(unread)?]);
        Ok(())
    })
    .await?;
    let api = apply::api(client, kind, namespace);
    seen.send_modify(|seen| *seen = Seen { listed: Some(began), objects, failure: None, refused: None });
    loop {
        let mut events = api.watch(&WatchParams::default(), &version).await.map_err(|e| from_kube("watch", e))?.boxed();
        while let Some(event) = events.try_next().await.map_err(|e| from_kube("watch", e))? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version = object.metadata.resource_version.clone().unwrap_or(version);
                    let (name, text) = keep(object).map_err(unread)?;
                    seen.send_modify(|seen| {
                        seen.objects.insert(name, text);
                    });
                }
                WatchEvent::Deleted(object) => {
                    version = object.metadata.resource_version.clone().unwrap_or(version);
                    let name = object.metadata.name.unwrap_or_default();
                    seen.send_modify(|seen| {
                        seen.objects.remove(&name);
                    });
                }
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                // Usually 410: the version is too old to watch from. List again.
                WatchEvent::Error(_) => return Ok(()),
            }
        }
        // The server ends a watch after some minutes; the next one goes on where it ended.
    }
}

/// An object's name and text. Managed fields are most of its size, and no wait looks at them.
fn keep(mut object: DynamicObject) -> serde_json::Result<(String, Arc<str>)> {
    object.metadata.managed_fields = None;
    let text = serde_json::to_string(&object)?;
    Ok((object.metadata.name.unwrap_or_default(), text.into()))
}

fn parse(text: &str) -> serde_json::Result<DynamicObject> {
    serde_json::from_str(text)
}
