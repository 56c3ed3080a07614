//! Server-side apply, get, list and delete of any kind, as JSON.

use std::time::Duration;

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions};
use tokio::time::Instant;

use super::error::{from_kube, is_kind_missing};
use super::layer::jitter;
use crate::{Error, Kind};

/// How often a write is tried whose object changed between our look and the write: controllers write annotations and status at any
/// time.
pub const ATTEMPTS: usize = 5;

/// Which object: its kind, its namespace where it has one, its name.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// Its kind.
    pub kind: &'a ApiResource,
    /// Its namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
}

impl Object<'_> {
    fn action(&self, verb: &str) -> String {
        match self.namespace {
            Some(namespace) => format!("{verb} {} \"{namespace}/{}\"", self.kind.kind, self.name),
            None => format!("{verb} {} {:?}", self.kind.kind, self.name),
        }
    }

    fn api(&self, client: &kube::Client) -> Api<DynamicObject> {
        api(client, self.kind, self.namespace)
    }
}

/// How to apply.
#[derive(Clone, Copy, Debug, Default)]
pub struct Apply<'a> {
    /// Field manager.
    pub manager: &'a str,
    /// Takes fields from other managers.
    pub force: bool,
    /// Changes nothing.
    pub dry_run: bool,
}

/// The client of a kind.
pub fn api(client: &kube::Client, kind: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, kind),
        None => Api::all_with(client.clone(), kind),
    }
}

/// Applies an object: one PATCH. `body` is the whole apply configuration, with apiVersion and kind.
///
/// # Errors
/// [`Kind::Conflict`] where another manager owns a field, [`Kind::Invalid`] with a cause for each field refused, [`Kind::NotFound`]
/// where the CRD ([`is_kind_missing`]) or the namespace is missing.
pub async fn apply(
    client: &kube::Client,
    object: &Object<'_>,
    body: &serde_json::Value,
    how: Apply<'_>,
    deadline: Instant,
) -> Result<DynamicObject, Error> {
    let Apply { manager, force, dry_run } = how;
    let parameters = PatchParams { dry_run, force, field_manager: Some(manager.to_owned()), field_validation: None };
    let (api, patch) = (object.api(client), Patch::Apply(body));
    retry(deadline, || async { api.patch(object.name, &parameters, &patch).await.map_err(|e| from_kube(object.action("apply"), e)) }).await
}

/// Changes an object by a merge patch: one PATCH. With `metadata.resourceVersion` in it, only that very version.
///
/// # Errors
/// [`Kind::Conflict`] where it is of another version, else as [`apply`].
pub async fn merge(
    client: &kube::Client,
    object: &Object<'_>,
    patch: &serde_json::Value,
    how: Apply<'_>,
    deadline: Instant,
) -> Result<DynamicObject, Error> {
    let Apply { manager, force: _, dry_run } = how;
    let parameters = PatchParams { dry_run, force: false, field_manager: Some(manager.to_owned()), field_validation: None };
    let (api, patch) = (object.api(client), Patch::Merge(patch));
    retry(deadline, || async { api.patch(object.name, &parameters, &patch).await.map_err(|e| from_kube(object.action("apply"), e)) }).await
}

/// The object; `None` where it is absent for sure.
///
/// # Errors
/// [`Kind::NotFound`] where the CRD is missing ([`is_kind_missing`]); what else the API server says.
pub async fn get(client: &kube::Client, object: &Object<'_>, deadline: Instant) -> Result<Option<DynamicObject>, Error> {
    let api = object.api(client);
    match retry(deadline, || async { api.get(object.name).await.map_err(|e| from_kube(object.action("read"), e)) }).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind == Kind::NotFound && !is_kind_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All objects of a kind, 500 a page, consistent with the last write.
///
/// # Errors
/// As [`get`].
pub async fn list(
    client: &kube::Client,
    kind: &ApiResource,
    namespace: Option<&str>,
    deadline: Instant,
) -> Result<Vec<DynamicObject>, Error> {
    let api = api(client, kind, namespace);
    let mut parameters = ListParams::default().limit(500);
    let mut objects = vec![];
    loop {
        let page =
            retry(deadline, || async { api.list(&parameters).await.map_err(|e| from_kube(format!("list {}", kind.plural), e)) }).await?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(objects),
        }
    }
}

/// Deletes an object in the foreground: one DELETE. `false` where it was gone already. With a uid, only that very object.
///
/// # Errors
/// [`Kind::Conflict`] where the uid is another one; [`Kind::NotFound`] where the CRD is missing ([`is_kind_missing`]); what else the
/// API server says.
pub async fn delete(client: &kube::Client, object: &Object<'_>, uid: Option<&str>, deadline: Instant) -> Result<bool, Error> {
    delete_with(client, object, uid, DeleteParams::foreground(), deadline).await
}

/// As [`delete`], but the object is gone when the call returns, unless it has a finalizer; what it owns goes afterwards.
///
/// # Errors
/// As [`delete`].
pub async fn delete_at_once(client: &kube::Client, object: &Object<'_>, uid: Option<&str>, deadline: Instant) -> Result<bool, Error> {
    delete_with(client, object, uid, DeleteParams::background(), deadline).await
}

async fn delete_with(
    client: &kube::Client,
    object: &Object<'_>,
    uid: Option<&str>,
    mut parameters: DeleteParams,
    deadline: Instant,
) -> Result<bool, Error> {
    parameters.preconditions = uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
    let api = object.api(client);
    match retry(deadline, || async { api.delete(object.name, &parameters).await.map_err(|e| from_kube(object.action("delete"), e)) }).await
    {
        Ok(_) => Ok(true),
        Err(error) if error.kind == Kind::NotFound && !is_kind_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Goes on while a call is [`Kind::Unavailable`], until the deadline; then the last error comes back. The client itself has
/// retried for some seconds by then.
///
/// # Errors
/// The call's.
pub async fn retry<T, F: Future<Output = Result<T, Error>>>(deadline: Instant, call: impl Fn() -> F) -> Result<T, Error> {
    let mut wait = Duration::from_millis(500);
    loop {
        match call().await {
            Err(error) if error.kind == Kind::Unavailable && Instant::now() + wait < deadline => {
                tokio::time::sleep(jitter(wait)).await;
                wait = (wait * 2).min(Duration::from_secs(10));
            }
            result => return result,
        }
    }
}
