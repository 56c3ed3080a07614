//! Release records in the cluster: one Secret a revision.

use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use serde_json::Value;
use tokio::time::Instant;

use super::release::{Record, Release, SECRET_TYPE, Status, WRITER};
use super::{Result, invalid};
use crate::kubernetes::{apply, from_kube};
use crate::{Error, Kind};

/// How long a call is repeated while the API server is away or throttles.
const PATIENCE: Duration = Duration::from_secs(60);

/// The deadline of calls that begin now.
pub(super) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

fn secrets(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: "Secret".into(),
        plural: "secrets".into(),
    };
    apply::api(client, &kind, Some(namespace))
}

/// Reads a release: its newest record and the one before it that is deployed. One LIST; `None` when there is no record.
///
/// # Errors
/// What the API server says, and a record that is malformed.
pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Option<Release>> {
    let api = secrets(client, namespace);
    let parameters = ListParams::default().labels(&format!("owner=helm,name={name}")).fields(&format!("type={SECRET_TYPE}"));
    let action = || format!("list the release records of {namespace}/{name}");
    let found = apply::retry(deadline(), || async { api.list(&parameters).await.map_err(|e| from_kube(action(), e)) }).await?;
    let mut secrets: Vec<(u64, Value)> = vec![];
    for secret in found.items {
        let json = serde_json::to_value(secret).map_err(|e| invalid(action(), e.to_string()))?;
        let label =
            |key: &str| json.pointer("/metadata/labels").and_then(|l| l.get(key)).and_then(Value::as_str).unwrap_or_default().to_owned();
        secrets.push((label("version").parse().unwrap_or_default(), json));
    }
    secrets.sort_by_key(|(revision, _)| *revision);
    let revisions = secrets.iter().map(|(revision, _)| *revision).collect();
    let Some((_, newest)) = secrets.last() else { return Ok(None) };
    let newest = Record::from_secret(newest)?;
    let is_deployed = |json: &Value| json.pointer("/metadata/labels/status").and_then(Value::as_str) == Some(Status::Deployed.word());
    let deployed =
        secrets.iter().rev().skip(1).find(|(_, json)| is_deployed(json)).map(|(_, json)| Record::from_secret(json)).transpose()?;
    Ok(Some(Release { name: name.to_owned(), namespace: namespace.to_owned(), newest, deployed, revisions }))
}

/// Writes a record: creates its Secret, or replaces the version that was read. Someone else's write in between is a conflict.
pub(super) async fn write(client: &Client, namespace: &str, record: &mut Record) -> Result<()> {
    let api = secrets(client, namespace);
    let name = record.secret_name();
    let action = format!("write release record {namespace}/{name}");
    let secret: DynamicObject = serde_json::from_value(record.secret()?).map_err(|e| invalid(action.clone(), e.to_string()))?;
    let parameters = PostParams { field_manager: Some(WRITER.to_owned()), ..PostParams::default() };
    let new = record.resource_version.is_empty();
    let written = apply::retry(deadline(), || async {
        let call = if new { api.create(&parameters, &secret).await } else { api.replace(&name, &parameters, &secret).await };
        call.map_err(|e| from_kube(action.clone(), e))
    });
    let written = match written.await {
        // perhaps ours: an attempt whose answer was lost
        Err(error) if matches!(error.kind, Kind::AlreadyExists | Kind::Conflict) => match api.get(&name).await {
            Ok(found) if found.data.get("data") == secret.data.get("data") => found,
            _ => return Err(busy(error)),
        },
        Err(error) if error.kind == Kind::NotFound && new => {
            return Err(error.remedy(format!("The namespace {namespace:?} must exist before the chart is installed into it.")));
        }
        other => other?,
    };
    record.resource_version = written.metadata.resource_version.unwrap_or_default();
    record.labels = written.metadata.labels.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into())).collect();
    Ok(())
}

fn busy(error: Error) -> Error {
    Error { kind: Kind::Conflict, ..error }
        .remedy("Another process, perhaps the helm CLI, changes this release at the same time: apply again when it is done.")
}

/// Deletes one revision's record; absent is fine.
pub(super) async fn remove(client: &Client, namespace: &str, name: &str, revision: u64) -> Result<()> {
    let api = secrets(client, namespace);
    let secret = format!("sh.helm.release.v1.{name}.v{revision}");
    let action = format!("delete release record {namespace}/{secret}");
    let deleted = apply::retry(deadline(), || async {
        api.delete(&secret, &DeleteParams::default()).await.map_err(|e| from_kube(action.clone(), e))
    });
    match deleted.await {
        Err(error) if error.kind == Kind::NotFound => Ok(()),
        other => other.map(drop),
    }
}

/// Deletes all records of a release with one call.
pub(super) async fn remove_all(client: &Client, namespace: &str, name: &str) -> Result<()> {
    let api = secrets(client, namespace);
    let parameters = ListParams::default().labels(&format!("owner=helm,name={name}")).fields(&format!("type={SECRET_TYPE}"));
    let action = format!("delete the release records of {namespace}/{name}");
    let call = || async { api.delete_collection(&DeleteParams::default(), &parameters).await.map_err(|e| from_kube(action.clone(), e)) };
    apply::retry(deadline(), call).await.map(drop)
}
