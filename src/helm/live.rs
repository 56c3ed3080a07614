//! The objects of a release in the cluster: read, applied, taken over, deleted, waited for.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::Client;
use kube::api::{ApiResource, DynamicObject, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::manifest::{self, KindInfo, Object};
use super::{Result, invalid, store};
use crate::kubernetes::{self, Apply, from_kube};
use crate::{Error, Kind};

/// The field manager of Helm 4, and so of whatever a release owns.
pub const MANAGER: &str = "helm";
/// How long an object may take to go with what it owns; Helm waits as long.
const GONE: Duration = Duration::from_secs(300);
/// Between two looks at an object that is waited for.
const PAUSE: Duration = Duration::from_millis(100);

/// An object's address, and what it should be.
#[derive(Clone, Debug)]
pub struct Target {
    kind: ApiResource,
    namespace: Option<String>,
    name: String,
    /// The whole object as it is applied.
    pub body: Value,
}

/// What came of creating an object.
#[derive(Debug)]
pub enum Created {
    /// It was made, with this uid.
    New(String),
    /// It exists already: this is it.
    Exists(Box<Value>),
}

/// A namespace, as `helm install --create-namespace` makes it.
pub fn namespace(name: &str) -> Target {
    let info = KindInfo { kind: "Namespace", group: "", plural: "namespaces", namespaced: false };
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"name": name}}});
    Target { kind: resource(&info, "v1"), namespace: None, name: name.to_owned(), body }
}

/// The resource of a kind.
pub fn resource(info: &KindInfo, version: &str) -> ApiResource {
    let api_version = if info.group.is_empty() { version.to_owned() } else { format!("{}/{version}", info.group) };
    ApiResource {
        group: info.group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: info.kind.to_owned(),
        plural: info.plural.to_owned(),
    }
}

impl Target {
    /// An object as a release owns it.
    pub fn new(object: &Object, release: &str, release_namespace: &str) -> Target {
        Target::with_body(object, object.owned_by(release, release_namespace))
    }

    /// An object with a body of its own.
    pub fn with_body(object: &Object, body: Value) -> Target {
        Target { kind: resource(&object.info, &object.version), namespace: object.namespace.clone(), name: object.name.clone(), body }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn object(&self) -> kubernetes::Object<'_> {
        kubernetes::Object { kind: &self.kind, namespace: self.namespace.as_deref(), name: &self.name }
    }

    /// Reads it; `None` when it, or its whole kind, is absent.
    pub async fn get(&self, client: &Client) -> Result<Option<Value>> {
        match kubernetes::get(client, &self.object(), store::deadline()).await {
            Ok(found) => found.map(|live| self.json(live)).transpose(),
            Err(error) if kubernetes::is_kind_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn json(&self, live: DynamicObject) -> Result<Value> {
        serde_json::to_value(live).map_err(|e| invalid(format!("read {} {:?}", self.kind.kind, self.name), e.to_string()))
    }

    /// Applies it, taking fields from other managers; makes it when it is absent. One that is being deleted is made anew when it is gone.
    pub async fn apply(&self, client: &Client) -> Result<Value> {
        let how = Apply { manager: MANAGER, force: true, dry_run: false };
        loop {
            let live = kubernetes::apply(client, &self.object(), &self.body, how, store::deadline()).await?;
            let live = self.json(live)?;
            match going(&live) {
                false => return Ok(live),
                true => self.gone(client, uid(&live)).await?,
            }
        }
    }

    /// Makes it with one call, unless it exists: no object has the resourceVersion 1, so the API server refuses to change one.
    pub async fn create(&self, client: &Client) -> Result<Created> {
        let mut body = self.body.clone();
        body["metadata"]["resourceVersion"] = "1".into();
        let how = Apply { manager: MANAGER, force: false, dry_run: false };
        let mut attempts = 1..kubernetes::ATTEMPTS;
        loop {
            match kubernetes::apply(client, &self.object(), &body, how, store::deadline()).await {
                Ok(live) => return Ok(Created::New(live.metadata.uid.unwrap_or_default())),
                Err(error) if error.kind == Kind::Conflict || error.kind == Kind::AlreadyExists => match self.get(client).await? {
                    Some(live) if going(&live) => self.gone(client, uid(&live)).await?,
                    Some(live) => return Ok(Created::Exists(Box::new(live))),
                    // it went in between
                    None if attempts.next().is_some() => {}
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// Applies it over what exists. What Helm 3 (or 4 without server-side apply) wrote passes to our entry first, or a field that the new
    /// manifest lacks would stay.
    ///
    /// # Errors
    /// [`Kind::Conflict`] where the object changes each time between our look and the write; what else the API server says.
    pub async fn take_over(&self, client: &Client, mut live: Value) -> Result<Value> {
        let mut attempts = 1..kubernetes::ATTEMPTS;
        while let Some(fields) = migrated(live.pointer("/metadata/managedFields")) {
            let version = live.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
            match self.merge(client, &json!({"metadata": {"managedFields": fields, "resourceVersion": version}})).await {
                // a controller wrote its status meanwhile
                Err(error) if error.kind == Kind::Conflict && attempts.next().is_some() => {
                    live = self.get(client).await?.unwrap_or_default();
                }
                passed => {
                    passed?;
                    break;
                }
            }
        }
        self.apply(client).await
    }

    /// Changes what exists by a merge patch: a null takes a field away whoever wrote it.
    pub async fn merge(&self, client: &Client, patch: &Value) -> Result<()> {
        let how = Apply { manager: MANAGER, force: false, dry_run: false };
        kubernetes::merge(client, &self.object(), patch, how, store::deadline()).await.map(drop)
    }

    /// Deletes it when it is ours (or, with a uid, that very object); what is absent or another's stays.
    pub async fn delete_own(&self, client: &Client, release: &str, release_namespace: &str) -> Result<()> {
        let Some(live) = self.get(client).await? else { return Ok(()) };
        if manifest::owner(&live).is_none_or(|owner| owner != (release.to_owned(), release_namespace.to_owned())) {
            return Ok(());
        }
        self.delete(client, uid(&live)).await
    }

    /// Deletes the very object with that uid, and waits until it is gone. Helm deletes in the background; what owns pods goes in the
    /// foreground here, so that no old controller runs beside a new one or without its role. A CRD goes after its objects.
    pub async fn delete(&self, client: &Client, uid: &str) -> Result<()> {
        let owns_pods = matches!(self.kind.kind.as_str(), "Deployment" | "Job");
        let takes_time = owns_pods || self.kind.kind == manifest::CRD.kind;
        let deleted = if owns_pods {
            kubernetes::delete(client, &self.object(), Some(uid), store::deadline()).await
        } else {
            kubernetes::delete_at_once(client, &self.object(), Some(uid), store::deadline()).await
        };
        match deleted {
            Ok(true) if takes_time => self.gone(client, uid).await,
            Err(Error { kind: Kind::Conflict, .. }) => Ok(()),
            // its CRD went meanwhile, and took it along
            Err(error) if kubernetes::is_kind_missing(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Waits until the object with that uid is gone; another one of its name is not waited for.
    async fn gone(&self, client: &Client, uid_: &str) -> Result<()> {
        let is_gone = |live: Option<&Value>| live.is_none_or(|live| uid(live) != uid_);
        let Some(left) = self.until(client, Instant::now() + GONE, is_gone).await?.err() else { return Ok(()) };
        let finalizers = left.as_ref().and_then(|live| live.pointer("/metadata/finalizers")).map(Value::to_string).unwrap_or_default();
        let action = format!("wait until {} {:?} is deleted", self.kind.kind, self.name);
        let message = format!("it is still there after {} s; its finalizers are {finalizers}", GONE.as_secs());
        Err(Error::new(Kind::Timeout, action, message)
            .remedy("See what keeps it, such as pods on a node that does not answer, and apply again."))
    }

    /// Waits until `done` says so of the live object (`None`: it is absent), or until the deadline; `Err` holds how it was then. A
    /// deadline that has passed looks once.
    pub async fn until(
        &self,
        client: &Client,
        deadline: Instant,
        done: impl Fn(Option<&Value>) -> bool,
    ) -> Result<std::result::Result<Option<Value>, Option<Value>>> {
        loop {
            let live = self.get(client).await?;
            if done(live.as_ref()) {
                return Ok(Ok(live));
            }
            if Instant::now() >= deadline {
                return Ok(Err(live));
            }
            // whatever ends the watch, the next look tells what is; the pause keeps a broken watch from spinning
            let version = live.as_ref().and_then(|live| live.pointer("/metadata/resourceVersion")).and_then(Value::as_str);
            if let Some(version) = version {
                let _ = timeout_at(deadline, self.watch(client, version, &done)).await;
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + PAUSE)).await;
        }
    }

    /// Returns when an event says that it is done, or when the watch ends.
    async fn watch(&self, client: &Client, version: &str, done: &impl Fn(Option<&Value>) -> bool) -> Result<()> {
        let api = kubernetes::apply::api(client, &self.kind, self.namespace.as_deref());
        let parameters = WatchParams::default().fields(&format!("metadata.name={}", self.name));
        let failed = |e| from_kube(format!("watch {} {:?}", self.kind.kind, self.name), e);
        let mut events = api.watch(&parameters, version).await.map_err(failed)?.boxed();
        while let Some(event) = events.try_next().await.map_err(failed)? {
            match event {
                WatchEvent::Added(live) | WatchEvent::Modified(live) => {
                    if done(Some(&self.json(live)?)) {
                        return Ok(());
                    }
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Deleted(_) | WatchEvent::Error(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Whether a live object is being deleted.
pub(super) fn going(live: &Value) -> bool {
    live.pointer("/metadata/deletionTimestamp").is_some()
}

/// A live object's uid.
pub(super) fn uid(live: &Value) -> &str {
    live.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}

/// Whether a field manager wrote objects for a Helm release, or for nobody, before they became ours: Helm and what embeds it, and
/// kubectl's client-side apply.
fn is_former(manager: &str) -> bool {
    ["helm", "helm-controller", "kubectl-client-side-apply", "before-first-apply"].contains(&manager)
        || manager.starts_with("terraform-provider-helm")
}

/// Whether we, or Helm by server-side apply, wrote an object.
pub(super) fn is_ours(live: &Value) -> bool {
    managers(live).any(|(manager, operation)| manager == MANAGER && operation == "Apply")
}

/// Whether Helm, what embeds it, or kubectl wrote an object.
pub(super) fn is_of_a_client(live: &Value) -> bool {
    managers(live).any(|(manager, _)| is_former(manager) || manager.starts_with("kubectl"))
}

fn managers(live: &Value) -> impl Iterator<Item = (&str, &str)> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(|entry| Some((entry.get("manager")?.as_str()?, entry.get("operation")?.as_str()?)))
}

/// The managed fields with the entries of [`is_former`] managers turned into ours; `None` when there is nothing to turn.
fn migrated(fields: Option<&Value>) -> Option<Value> {
    let entries = fields?.as_array()?;
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let whole = |entry: &Value| text(entry, "subresource").is_empty();
    let ours = |entry: &Value| text(entry, "manager") == MANAGER && text(entry, "operation") == "Apply" && whole(entry);
    let former = |entry: &Value| is_former(&text(entry, "manager")) && whole(entry) && !ours(entry);
    let (formers, mut rest): (Vec<Value>, Vec<Value>) = entries.iter().cloned().partition(former);
    let first = formers.first()?.clone();
    let index = rest.iter().position(|entry| ours(entry) && text(entry, "apiVersion") == text(&first, "apiVersion"));
    let mut applied = index.map_or_else(|| json!({"fieldsV1": {}}), |index| rest.remove(index));
    let mut union = applied.get("fieldsV1").cloned().unwrap_or_default();
    formers.iter().filter_map(|former| former.get("fieldsV1")).for_each(|fields| unite(&mut union, fields));
    applied = first;
    applied["manager"] = MANAGER.into();
    applied["operation"] = "Apply".into();
    applied["fieldsV1"] = union;
    rest.push(applied);
    Some(Value::Array(rest))
}

fn unite(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                unite(into.entry(key.clone()).or_insert_with(|| json!({})), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helm_3_fields_become_applied_ones() {
        let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields});
        let before = json!([
            entry("helm", "Update", json!({"f:data": {"f:a": {}}})),
            entry("kubectl", "Update", json!({"f:data": {"f:b": {}}})),
            entry("terraform-provider-helm_v2.17.0_x5", "Update", json!({"f:data": {"f:d": {}}})),
            entry("helm", "Apply", json!({"f:data": {"f:c": {}}, "f:metadata": {}})),
        ]);
        let after = json!([
            entry("kubectl", "Update", json!({"f:data": {"f:b": {}}})),
            entry("helm", "Apply", json!({"f:data": {"f:a": {}, "f:c": {}, "f:d": {}}, "f:metadata": {}})),
        ]);
        assert_eq!(migrated(Some(&before)), Some(after.clone()));
        assert_eq!(migrated(Some(&after)), None);
    }
}
