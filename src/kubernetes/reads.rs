//! Reading many objects of a kind in one walk: the first read is a GET, the second starts one LIST that serves all others.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use kube::api::{ApiResource, DynamicObject};
use tokio::time::Instant;

use super::apply::{self, Object};
use crate::Error;

/// A LIST that all readers of a kind wait for together. Why it failed does not matter: they then ask one by one.
type Listing = Shared<BoxFuture<'static, Option<Arc<BTreeMap<String, DynamicObject>>>>>;

/// The reads of a connection, by kind. Nothing outlives the process, and a write of the kind forgets what was listed.
#[derive(Default)]
pub struct Reads {
    kinds: Mutex<HashMap<String, Kind>>,
}

#[derive(Default)]
struct Kind {
    reads: usize,
    listing: Option<Listing>,
}

impl Reads {
    /// The object; `None` where it is absent for sure: an absence in the list is confirmed by a GET.
    ///
    /// # Errors
    /// As [`apply::get`].
    pub async fn get(&self, client: &kube::Client, object: &Object<'_>, deadline: Instant) -> Result<Option<DynamicObject>, Error> {
        if let Some(listing) = self.join(client, object.kind, deadline)
            && let Some(listed) = listing.await
            && let Some(found) = listed.get(object.name)
        {
            return Ok(Some(found.clone()));
        }
        apply::get(client, object, deadline).await
    }

    /// Forgets what was listed: an object of the kind is about to change.
    pub fn written(&self, kind: &ApiResource) {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(kind));
    }

    /// The kind's list, for every reader but the first.
    fn join(&self, client: &kube::Client, kind: &ApiResource, deadline: Instant) -> Option<Listing> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let reads = kinds.entry(key(kind)).or_default();
        reads.reads += 1;
        if reads.reads == 1 {
            return None;
        }
        let listing = reads.listing.get_or_insert_with(|| {
            let (client, kind) = (client.clone(), kind.clone());
            let list = async move {
                let objects = apply::list(&client, &kind, None, deadline).await.ok()?;
                Some(Arc::new(objects.into_iter().map(|o| (o.metadata.name.clone().unwrap_or_default(), o)).collect()))
            };
            list.boxed().shared()
        });
        Some(listing.clone())
    }
}

fn key(kind: &ApiResource) -> String {
    format!("{}/{}", kind.api_version, kind.plural)
}
