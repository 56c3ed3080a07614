//! Karpenter's CRDs: applied before the chart, upgraded with it, never deleted.

use std::time::Duration;

use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::api::ListParams;
use serde_json::Value;
use tokio::time::Instant;

use super::live::{Created, Target};
use super::manifest::{self, CRD, Object};
use super::{Result, compare, drift, invalid, live, store};
use crate::kubernetes::{apply, from_kube};
use crate::{Error, Kind};

/// The release whose marks the CRDs carry: the chart `karpenter-crd` is published under that name.
pub const RELEASE: &str = "karpenter-crd";
/// How long a CRD may take to be established; Helm waits as long.
const ESTABLISHED: Duration = Duration::from_secs(60);

/// One CRD as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrdState {
    /// `nodepools.karpenter.sh`.
    pub name: String,
    /// `"in sync"`, `"missing"`, or `"drifted: PATH ..."`.
    pub drift: String,
    /// The Helm release (name, namespace) whose marks it carries.
    pub owner: Option<(String, String)>,
}

/// Compares the cluster's CRDs with these (`Chart::crds`). One GET a CRD.
///
/// # Errors
/// What the API server says.
pub async fn read_crds(client: &Client, crds: &[Value]) -> Result<Vec<CrdState>> {
    let reads = crds.iter().map(|crd| async {
        let object = object(crd)?;
        let live = Target::with_body(&object, Value::Null).get(client).await?;
        let line = live.as_ref().map_or_else(|| "missing".to_owned(), |live| drift::line(compare::difference(&object.json, live)));
        Ok(CrdState { name: object.name, drift: line, owner: live.as_ref().and_then(manifest::owner) })
    });
    stream::iter(reads.collect::<Vec<_>>()).buffered(drift::CONCURRENCY).try_collect().await
}

/// Which of these CRDs exist, and the release whose marks each carries. One LIST of metadata.
///
/// # Errors
/// What the API server says.
pub async fn crd_owners(client: &Client, crds: &[Value]) -> Result<Vec<(String, Option<(String, String)>)>> {
    let api = apply::api(client, &live::resource(&CRD, "v1"), None);
    let list = || async { api.list_metadata(&ListParams::default()).await.map_err(|e| from_kube("list customresourcedefinitions", e)) };
    let found = apply::retry(store::deadline(), list).await?;
    let ours: Vec<String> = crds.iter().map(|crd| object(crd).map(|o| o.name)).collect::<Result<_>>()?;
    let mut owners = vec![];
    for item in found.items {
        let json = serde_json::to_value(&item).map_err(|e| invalid("list customresourcedefinitions", e.to_string()))?;
        let name = item.metadata.name.unwrap_or_default();
        if ours.contains(&name) {
            owners.push((name, manifest::owner(&json)));
        }
    }
    Ok(owners)
}

/// Applies CRDs and waits until they are established. They carry the marks of a release `karpenter-crd` in `namespace`, so that a later
/// `helm upgrade --install karpenter-crd` takes them as its own. With `adopt`, the record of the live release that owned one goes:
/// uninstalling that release would delete every node pool. One PATCH a CRD that does not exist yet.
///
/// # Errors
/// [`Kind::AlreadyExists`] when a live release owns one and `adopt` is not set; what the API server says.
pub async fn apply_crds(client: &Client, crds: &[Value], namespace: &str, adopt: bool) -> Result<()> {
    let objects: Vec<Object> = crds.iter().map(object).collect::<Result<_>>()?;
    let targets: Vec<Target> = objects.iter().map(|o| Target::new(o, RELEASE, namespace)).collect();
    let calls: Vec<_> = targets.iter().map(|target| target.create(client)).collect();
    let created = try_join_all(calls).await?;
    let existing =
        || created.iter().zip(&targets).filter_map(|(c, target)| if let Created::Exists(live) = c { Some((live, target)) } else { None });
    let mut owners: Vec<(String, String)> = existing().filter_map(|(live, _)| manifest::owner(live)).collect();
    owners.sort();
    owners.dedup();
    for (name, namespace) in &owners {
        retire(client, name, namespace, adopt).await?;
    }
    let differing = existing().filter(|(live, target)| compare::difference(&target.body, live).is_some());
    let calls: Vec<_> = differing.map(|(live, target)| target.take_over(client, live)).collect();
    try_join_all(calls).await?;
    let deadline = Instant::now() + ESTABLISHED;
    let calls: Vec<_> = targets.iter().map(|target| established(client, target, deadline)).collect();
    try_join_all(calls).await.map(drop)
}

/// Refuses a live release that owns CRDs, or deletes its records.
async fn retire(client: &Client, name: &str, namespace: &str, adopt: bool) -> Result<()> {
    let Some(release) = store::read(client, namespace, name).await?.filter(|r| r.live().is_some()) else { return Ok(()) };
    let action = format!("apply the CRDs, which the Helm release {namespace}/{name} owns");
    if !adopt {
        return Err(Error::new(Kind::AlreadyExists, action, "uninstalling that release later would delete every node pool")
            .remedy("Set `adopt = true` in the chart block to take the CRDs over."));
    }
    let objects = release.current().manifest();
    if manifest::objects(objects, namespace)?.iter().any(|o| o.info != CRD) {
        return Err(invalid(action, "that release holds more than CRDs, so its record cannot be dropped")
            .remedy("Upgrade that release without its CRDs first, or set `manage_crds = false`."));
    }
    store::remove_all(client, namespace, name).await
}

/// Waits for the condition `Established`.
async fn established(client: &Client, target: &Target, deadline: Instant) -> Result<()> {
    let action = || format!("wait for the CRD {}", target.name());
    match target.until(client, deadline, |live| live.is_none_or(is_established)).await? {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Error::new(Kind::NotFound, action(), "it is gone")),
        Err(_) => Err(Error::new(Kind::Timeout, action(), format!("not established after {} s", ESTABLISHED.as_secs()))),
    }
}

fn is_established(live: &Value) -> bool {
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
    let is = |c: &Value, key: &str, value: &str| c.get(key).and_then(Value::as_str) == Some(value);
    conditions.into_iter().flatten().any(|c| is(c, "type", "Established") && is(c, "status", "True"))
}

/// A CRD as an object, without the status that its generator may have left in.
fn object(crd: &Value) -> Result<Object> {
    let name = crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let version =
        crd.get("apiVersion").and_then(Value::as_str).and_then(|v| v.strip_prefix("apiextensions.k8s.io/")).unwrap_or_default().to_owned();
    if name.is_empty() || version != "v1" {
        return Err(invalid("read the chart's CRDs", format!("{name:?} is no apiextensions.k8s.io/v1 CustomResourceDefinition")));
    }
    let mut json = crd.clone();
    manifest::strip_nulls(&mut json);
    if let Some(map) = json.as_object_mut() {
        map.remove("status");
    }
    Ok(Object { info: CRD, version, namespace: None, name, json })
}
