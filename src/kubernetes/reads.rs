//! Reading many objects of a kind: the first read is a GET, the second lists the kind once for the rest of the walk.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Resource as _;
use kube::api::{ApiResource, DynamicObject, ListParams, Request};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::apply::{self, Object, retry};
use super::error::from_kube;
use crate::{Error, Kind};

/// `karpenter.sh/v1/nodepools`, and the namespace.
type Key = (String, Option<String>);

/// Objects by name, as the API server sent them, since parsed ones take ten times the memory.
type Listed = HashMap<String, Box<RawValue>>;

/// A LIST that all who wait for it carry on together: no lock is held meanwhile, and it goes on when one of them gives up.
type Listing = Shared<BoxFuture<'static, Result<Arc<Listed>, Arc<Error>>>>;

/// What was read in this process. Its lock is never held across a call.
#[derive(Default)]
pub struct Reads {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    kinds: HashMap<Key, Reading>,
    /// Kinds of which we wrote an object: only GETs from then on.
    written: HashSet<String>,
}

enum Reading {
    OneGet,
    Listing(Listing),
    /// We may not list them.
    OnlyGet,
}

#[derive(Deserialize)]
struct Page {
    metadata: ListMeta,
    items: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Named {
    metadata: Name,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

impl Reads {
    /// As [`apply::get`], with fewer calls where many objects of a kind are read. An absence is confirmed by a GET.
    ///
    /// # Errors
    /// As [`apply::get`].
    pub async fn get(&self, client: &kube::Client, object: &Object<'_>, deadline: Instant) -> Result<Option<DynamicObject>, Error> {
        let Some(listing) = self.join(client, object, deadline) else { return apply::get(client, object, deadline).await };
        match listing.await {
            Ok(listed) => {
                if let Some(raw) = listed.get(object.name).filter(|_| !self.is_written(object.kind)) {
                    let unread = |e| Error::new(Kind::Other, format!("read {} {:?}", object.kind.kind, object.name), format!("{e}"));
                    return serde_json::from_str(raw.get()).map(Some).map_err(unread);
                }
            }
            Err(error) if is_refusal(&error) => {}
            Err(error) => return Err(error.again()),
        }
        apply::get(client, object, deadline).await
    }

    /// Forgets what was listed, and lists no more: an object of the kind is about to change.
    pub fn written(&self, kind: &ApiResource) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = name(kind);
        seen.kinds.retain(|(listed, _), _| *listed != kind);
        seen.written.insert(kind);
    }

    fn is_written(&self, kind: &ApiResource) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).written.contains(&name(kind))
    }

    /// The LIST that tells of an object, begun where there is none; `None` where a GET is to tell.
    fn join(&self, client: &kube::Client, object: &Object<'_>, deadline: Instant) -> Option<Listing> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = name(object.kind);
        if seen.written.contains(&kind) {
            return None;
        }
        let key = (kind, object.namespace.map(str::to_owned));
        let reading = match seen.kinds.get(&key) {
            None => Reading::OneGet,
            Some(Reading::OnlyGet) => return None,
            Some(Reading::OneGet) => Reading::Listing(start(client, object, deadline)),
            Some(Reading::Listing(listing)) => match listing.peek() {
                Some(Err(error)) if is_refusal(error) => Reading::OnlyGet,
                // those who waited were told; who comes later tries again
                Some(Err(_)) => Reading::Listing(start(client, object, deadline)),
                Some(Ok(_)) | None => return Some(listing.clone()),
            },
        };
        let joined = if let Reading::Listing(listing) = &reading { Some(listing.clone()) } else { None };
        seen.kinds.insert(key, reading);
        joined
    }
}

/// Whether a LIST will be refused again, where a GET may still be answered.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind, Kind::Forbidden | Kind::NotFound)
}

/// A LIST of the object's kind.
fn start(client: &kube::Client, object: &Object<'_>, deadline: Instant) -> Listing {
    let (client, kind, namespace) = (client.clone(), object.kind.clone(), object.namespace.map(str::to_owned));
    let listed = async move { list(&client, &kind, namespace.as_deref(), deadline).await.map(Arc::new).map_err(Arc::new) };
    listed.boxed().shared()
}

fn name(kind: &ApiResource) -> String {
    format!("{}/{}", kind.api_version, kind.plural)
}

async fn list(client: &kube::Client, kind: &ApiResource, namespace: Option<&str>, deadline: Instant) -> Result<Listed, Error> {
    let mut objects = HashMap::new();
    pages(client, kind, namespace, deadline, |raw| {
        let unread = |e: serde_json::Error| Error::new(Kind::Other, format!("list {}", kind.plural), e.to_string());
        let named: Named = serde_json::from_str(raw.get()).map_err(unread)?;
        objects.insert(named.metadata.name, raw);
        Ok(())
    })
    .await?;
    Ok(objects)
}

/// Gives every object of a kind to `take`, as the API server sends it, 500 a page; the resource version to watch from.
pub(super) async fn pages(
    client: &kube::Client,
    kind: &ApiResource,
    namespace: Option<&str>,
    deadline: Instant,
    mut take: impl FnMut(Box<RawValue>) -> Result<(), Error>,
) -> Result<String, Error> {
    let action = || format!("list {}", kind.plural);
    let path = Request::new(DynamicObject::url_path(kind, namespace));
    let mut parameters = ListParams::default().limit(500);
    loop {
        let page: Page = retry(deadline, || async {
            let request = path.list(&parameters).map_err(|e| Error::new(Kind::Invalid, action(), e.to_string()))?;
            client.request(request).await.map_err(|e| from_kube(action(), e))
        })
        .await?;
        page.items.into_iter().try_for_each(&mut take)?;
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(page.metadata.resource_version.unwrap_or_default()),
        }
    }
}
