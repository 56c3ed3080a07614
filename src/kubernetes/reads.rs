//! Reading many objects of a kind: the first read is a GET, the second lists the kind once for the rest of the walk.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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

/// What was listed in this process, by kind and namespace.
#[derive(Default)]
pub struct Reads {
    kinds: Mutex<HashMap<Key, Arc<Reading>>>,
    written: Mutex<HashSet<String>>,
}

#[derive(Default)]
struct Reading {
    /// We wrote such an object, or may not list them: only GETs from then on.
    only_get: AtomicBool,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Nothing,
    OneGet,
    /// As the API server sent them, since parsed objects take ten times the memory.
    Listed(HashMap<String, Box<RawValue>>),
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
        if self.written.lock().unwrap_or_else(PoisonError::into_inner).contains(&name(object.kind)) {
            return apply::get(client, object, deadline).await;
        }
        let reading = self.of(object.kind, object.namespace);
        if !reading.only_get.load(Ordering::Acquire)
            && let Some(raw) = reading.look(client, object, deadline).await?
            && !reading.only_get.load(Ordering::Acquire)
        {
            let unread = |e| Error::new(Kind::Other, format!("read {} {:?}", object.kind.kind, object.name), format!("{e}"));
            return serde_json::from_str(raw.get()).map(Some).map_err(unread);
        }
        apply::get(client, object, deadline).await
    }

    /// Forgets what was listed, and lists no more: an object of the kind is about to change.
    pub fn written(&self, kind: &ApiResource) {
        let kind = name(kind);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(kind.clone());
        for (_, reading) in self.kinds.lock().unwrap_or_else(PoisonError::into_inner).extract_if(|(k, _), _| *k == kind) {
            reading.only_get.store(true, Ordering::Release);
        }
    }

    fn of(&self, kind: &ApiResource, namespace: Option<&str>) -> Arc<Reading> {
        let key = (name(kind), namespace.map(str::to_owned));
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }
}

impl Reading {
    /// The object among those listed; `None` where a GET is to tell.
    async fn look(&self, client: &kube::Client, object: &Object<'_>, deadline: Instant) -> Result<Option<Box<RawValue>>, Error> {
        // Held during the LIST, so that everyone waits for the one.
        let mut state = self.state.lock().await;
        if matches!(*state, State::Nothing) {
            *state = State::OneGet;
            return Ok(None);
        }
        if matches!(*state, State::OneGet) {
            match list(client, object.kind, object.namespace, deadline).await {
                Ok(objects) => *state = State::Listed(objects),
                Err(error) if matches!(error.kind, Kind::Forbidden | Kind::NotFound) => self.only_get.store(true, Ordering::Release),
                Err(error) => return Err(error),
            }
        }
        match &*state {
            State::Listed(objects) => Ok(objects.get(object.name).cloned()),
            State::Nothing | State::OneGet => Ok(None),
        }
    }
}

fn name(kind: &ApiResource) -> String {
    format!("{}/{}", kind.api_version, kind.plural)
}

async fn list(
    client: &kube::Client,
    kind: &ApiResource,
    namespace: Option<&str>,
    deadline: Instant,
) -> Result<HashMap<String, Box<RawValue>>, Error> {
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

/// Gives every object of a kind to `take`, as the API server sends it, 500 a page.
pub(super) async fn pages(
    client: &kube::Client,
    kind: &ApiResource,
    namespace: Option<&str>,
    deadline: Instant,
    mut take: impl FnMut(Box<RawValue>) -> Result<(), Error>,
) -> Result<(), Error> {
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
            None => return Ok(()),
        }
    }
}
