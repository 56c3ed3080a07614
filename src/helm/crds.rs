//! Karpenter's CRDs: applied before the chart, upgraded with it, deleted only on request.

use std::time::Duration;

use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::live::{Created, Target};
use super::manifest::{self, CRD, Object};
use super::{Release, Result, compare, conversion, drift, invalid, live, store};
use crate::kubernetes::{apply, from_kube};
use crate::{Error, Kind};

/// The release whose marks the CRDs carry: the chart `karpenter-crd` is published under that name.
pub const OWN_RELEASE: &str = "karpenter-crd";
/// How long a CRD may take to be established; Helm waits as long.
const ESTABLISHED: Duration = Duration::from_secs(60);
/// EKS Auto Mode's node classes: where this CRD is, EKS keeps its own NodePool and NodeClaim.
const AUTO_MODE: &str = "nodeclasses.eks.amazonaws.com";
/// The group of Karpenter's own node classes, which EKS never has.
const AWS_GROUP: &str = ".karpenter.k8s.aws";

/// All CRDs of Karpenter's charts, of whatever version.
const KNOWN: &[&str] = &[
    "nodepools.karpenter.sh",
    "nodeclaims.karpenter.sh",
    "nodeoverlays.karpenter.sh",
    "ec2nodeclasses.karpenter.k8s.aws",
    "capacitybuffers.autoscaling.x-k8s.io",
];

/// One CRD as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrdState {
    /// `nodepools.karpenter.sh`.
    pub name: String,
    /// `"in sync"`, `"missing"`, or `"drifted: PATH ..."`.
    pub drift: String,
    /// The Helm release (name, namespace) whose marks it carries.
    pub owner: Option<(String, String)>,
    /// The versions that objects are, or were, stored in.
    pub stored: Vec<String>,
    /// EKS Auto Mode's: it is used as it is.
    pub eks: bool,
}

/// Compares the cluster's CRDs with these ([`conversion::crds`]). One GET a CRD. `auto_mode`: EKS says that the cluster is in Auto Mode.
///
/// # Errors
/// What the API server says.
pub async fn read_crds(client: &Client, crds: &[Value], auto_mode: bool) -> Result<Vec<CrdState>> {
    let reads = crds.iter().map(|crd| async {
        let object = object(crd)?;
        let live = Target::with_body(&object, Value::Null).get(client).await?;
        Ok::<_, Error>((object, live))
    });
    let found: Vec<(Object, Option<Value>)> = stream::iter(reads.collect::<Vec<_>>()).buffered(drift::CONCURRENCY).try_collect().await?;
    let eks = of_eks(client, found.iter().map(|(object, live)| (object.name.as_str(), live.as_ref())), auto_mode).await?;
    let state = |(object, live): (Object, Option<Value>)| {
        let is_eks = eks.contains(&object.name);
        let line = match &live {
            None => "missing".to_owned(),
            Some(_) if is_eks => drift::IN_SYNC.to_owned(),
            Some(live) => drift::line(difference(&object.json, live)),
        };
        CrdState {
            drift: line,
            owner: live.as_ref().and_then(manifest::owner),
            stored: stored(live.as_ref()),
            eks: is_eks,
            name: object.name,
        }
    };
    Ok(found.into_iter().map(state).collect())
}

/// [`read_crds`] of those that exist, where most likely none does: one LIST of metadata, and a GET a CRD that is there.
///
/// # Errors
/// What the API server says.
pub async fn find_crds(client: &Client, crds: &[Value], auto_mode: bool) -> Result<Vec<CrdState>> {
    let api = apply::api(client, &live::resource(&CRD, "v1"), None);
    let list = || async { api.list_metadata(&ListParams::default()).await.map_err(|e| from_kube("list customresourcedefinitions", e)) };
    let found = apply::retry(store::deadline(), list).await?;
    let names: Vec<String> = found.items.into_iter().filter_map(|item| item.metadata.name).collect();
    let exists = |crd: &&Value| crd.pointer("/metadata/name").and_then(Value::as_str).is_some_and(|name| names.iter().any(|n| n == name));
    let existing: Vec<Value> = crds.iter().filter(exists).cloned().collect();
    match existing.is_empty() {
        true => Ok(vec![]),
        // absent ones count, too: the first CRDs of an Auto Mode cluster lack Karpenter's node classes
        false => Ok(read_crds(client, crds, auto_mode).await?.into_iter().filter(|crd| crd.drift != "missing").collect()),
    }
}

/// What forbids to apply these CRDs: objects are stored in a version that they do not serve, and nothing could read them afterwards.
///
/// # Errors
/// The refusal, naming CRD and versions.
pub fn refuse_stranding(crds: &[Value], live: &[CrdState]) -> Result<()> {
    for crd in crds {
        let new = object(crd)?;
        let served = |version: &str| {
            let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
            versions.into_iter().flatten().any(|v| v["name"] == version && v["served"] == true)
        };
        let Some(state) = live.iter().find(|state| state.name == new.name && !state.eks) else { continue };
        let stranded: Vec<&str> = state.stored.iter().map(String::as_str).filter(|version| !served(version)).collect();
        if stranded.is_empty() {
            continue;
        }
        let kept: Vec<&str> = state.stored.iter().map(String::as_str).filter(|version| served(version)).collect();
        let message =
            format!("objects may be stored as {}, which the new CRD does not serve: nothing could read them", stranded.join(", "));
        let plural = new.name.split('.').next().unwrap_or_default();
        let remedy = match kept.is_empty() {
            true => "Choose a version of the chart that serves it.".to_owned(),
            false => format!(
                "With the version that runs now, store them anew (`kubectl get {plural} -A -o json | kubectl replace -f -`), then say so: \
                 `kubectl patch crd {} --subresource=status --type=merge -p '{{\"status\":{{\"storedVersions\":{}}}}}'`. Karpenter 1.0 does both by itself.",
                new.name,
                json!(kept)
            ),
        };
        return Err(Error::new(Kind::Invalid, format!("change the CRD {}", new.name), message).remedy(remedy));
    }
    Ok(())
}

/// The live releases whose marks CRDs carry. One LIST a release.
///
/// # Errors
/// What the API server says.
pub async fn live_owners(client: &Client, live: &[CrdState]) -> Result<Vec<Release>> {
    let mut found = vec![];
    for (name, namespace) in owners(live.iter().filter_map(|crd| crd.owner.clone())) {
        found.extend(store::read(client, &namespace, &name).await?.filter(|release| release.live().is_some()));
    }
    Ok(found)
}

/// Refuses CRDs of a live release, where they may not be taken from it.
///
/// # Errors
/// [`Kind::AlreadyExists`] with the release's name; what the API server says.
pub async fn refuse_owned(client: &Client, live: &[CrdState], adopt: bool) -> Result<()> {
    live_owners(client, live).await?.iter().try_for_each(|release| may_retire(release, adopt))
}

/// Applies CRDs and waits until they are established. They carry the marks of a release `karpenter-crd` in `namespace`, so that a later
/// `helm upgrade --install karpenter-crd` takes them as its own. With `adopt`, the record of the live release that owned one goes:
/// uninstalling that release would delete every node pool. EKS Auto Mode's own are left alone. One PATCH a CRD that does not exist yet.
///
/// # Errors
/// [`Kind::AlreadyExists`] when a live release owns one and `adopt` is not set; what the API server says.
pub async fn apply_crds(client: &Client, crds: &[Value], namespace: &str, adopt: bool, auto_mode: bool) -> Result<()> {
    let objects: Vec<Object> = crds.iter().map(object).collect::<Result<_>>()?;
    let targets: Vec<Target> = objects.iter().map(|o| Target::new(o, OWN_RELEASE, namespace)).collect();
    let calls: Vec<_> = targets.iter().map(|target| target.create(client)).collect();
    let created = try_join_all(calls).await?;
    let existing = |created: &Created| if let Created::Exists(live) = created { Some((**live).clone()) } else { None };
    let found: Vec<(&Target, Option<Value>)> = targets.iter().zip(created.iter().map(existing)).collect();
    let eks = of_eks(client, found.iter().map(|(target, live)| (target.name(), live.as_ref())), auto_mode).await?;
    let ours = || found.iter().filter(|(target, _)| !eks.iter().any(|name| name == target.name()));
    let taken = || ours().filter_map(|(target, live)| Some((*target, live.as_ref()?)));
    for (name, namespace) in owners(taken().filter_map(|(_, live)| manifest::owner(live))) {
        if let Some(release) = store::read(client, &namespace, &name).await?.filter(|release| release.live().is_some()) {
            may_retire(&release, adopt)?;
            store::remove_all(client, &namespace, &name).await?;
        }
    }
    let differing = taken().filter(|(target, live)| difference(&target.body, live).is_some());
    let calls: Vec<_> = differing.map(|(target, live)| change(client, target, live)).collect();
    try_join_all(calls).await?;
    let deadline = Instant::now() + ESTABLISHED;
    let calls: Vec<_> = ours().map(|(target, _)| established(client, target, deadline)).collect();
    try_join_all(calls).await.map(drop)
}

/// The objects that are left of the CRDs that are ours: they would go with them.
///
/// # Errors
/// [`Kind::Conflict`] naming them; what the API server says.
pub async fn refuse_used(client: &Client, namespace: &str) -> Result<()> {
    for (target, live) in marked(client, namespace).await? {
        let left = objects_of(client, &live).await?;
        if !left.is_empty() {
            let message = format!("objects of it are left, and would be deleted with it: {}", left.join(", "));
            return Err(Error::new(Kind::Conflict, format!("delete the CRD {}", target.name()), message)
                .remedy("Delete them first, or set `delete_crds = false` in the chart block and apply that."));
        }
    }
    Ok(())
}

/// Deletes the CRDs that are ours, when no object of theirs is left.
///
/// # Errors
/// As [`refuse_used`].
pub async fn delete_crds(client: &Client, namespace: &str) -> Result<()> {
    refuse_used(client, namespace).await?;
    let ours = marked(client, namespace).await?;
    let calls: Vec<_> = ours.iter().map(|(target, live)| target.delete(client, live::uid(live))).collect();
    try_join_all(calls).await.map(drop)
}

/// The CRDs that carry our marks.
async fn marked(client: &Client, namespace: &str) -> Result<Vec<(Target, Value)>> {
    let marks = Some((OWN_RELEASE.to_owned(), namespace.to_owned()));
    let mut ours = vec![];
    for name in KNOWN {
        let target = Target::with_body(&crd(name), Value::Null);
        if let Some(live) = target.get(client).await?.filter(|live| manifest::owner(live) == marks) {
            ours.push((target, live));
        }
    }
    Ok(ours)
}

fn crd(name: &str) -> Object {
    Object { info: CRD, version: "v1".to_owned(), namespace: None, name: name.to_owned(), json: Value::Null }
}

/// The names of a CRD's objects, twenty at most.
async fn objects_of(client: &Client, crd: &Value) -> Result<Vec<String>> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
    let version = versions.into_iter().flatten().find(|v| v["served"] == true).and_then(|v| v["name"].as_str()).unwrap_or_default();
    let group = text("/spec/group");
    let kind = kube::api::ApiResource {
        api_version: format!("{group}/{version}"),
        version: version.to_owned(),
        kind: text("/spec/names/kind"),
        plural: text("/spec/names/plural"),
        group,
    };
    let api = apply::api(client, &kind, None);
    let action = || format!("list {}", kind.plural);
    let page = || async { api.list_metadata(&ListParams::default().limit(20)).await.map_err(|e| from_kube(action(), e)) };
    let page = apply::retry(store::deadline(), page).await?;
    Ok(page.items.into_iter().filter_map(|item| item.metadata.name).collect())
}

/// The first leaf that differs. A webhook that converts is one, where there should be none.
fn difference(want: &Value, live: &Value) -> Option<String> {
    compare::difference(want, live)
        .or_else(|| left_webhook(want, live).then(|| "spec.conversion.strategy is \"Webhook\", want \"None\"".to_owned()))
}

fn left_webhook(want: &Value, live: &Value) -> bool {
    live.pointer("/spec/conversion").is_some_and(conversion::is_webhook)
        && !want.pointer("/spec/conversion").is_some_and(conversion::is_webhook)
}

async fn change(client: &Client, target: &Target, live: &Value) -> Result<Value> {
    if left_webhook(&target.body, live) {
        // part of it is its controller's, who put in a certificate: an apply would leave that, and a half is refused
        target.merge(client, &json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}})).await?;
        let live = target.get(client).await?.unwrap_or_default();
        return target.take_over(client, live).await;
    }
    target.take_over(client, live.clone()).await
}

/// The names of those CRDs that EKS Auto Mode keeps. It is told by EKS, by the CRD of its own node classes, or by CRDs of Karpenter's core
/// that no Helm or kubectl wrote, while those of its AWS part are absent or ours.
async fn of_eks<'c>(
    client: &Client,
    crds: impl Iterator<Item = (&'c str, Option<&Value>)> + Clone,
    auto_mode: bool,
) -> Result<Vec<String>> {
    let core = crds.clone().filter(|(name, _)| !name.ends_with(AWS_GROUP));
    let unmarked: Vec<(&str, &Value)> = core
        .filter_map(|(name, live)| Some((name, live.filter(|live| manifest::owner(live).is_none() && !live::is_ours(live))?)))
        .collect();
    if unmarked.is_empty() {
        return Ok(vec![]);
    }
    let classes_are_ours =
        crds.filter(|(name, _)| name.ends_with(AWS_GROUP)).all(|(_, live)| live.is_none_or(|live| manifest::owner(live).is_some()));
    let auto_mode = auto_mode || { Target::with_body(&crd(AUTO_MODE), Value::Null).get(client).await?.is_some() };
    let left = unmarked.into_iter().filter(|(_, live)| auto_mode || classes_are_ours && !live::is_of_a_client(live));
    Ok(left.map(|(name, _)| name.to_owned()).collect())
}

fn stored(live: Option<&Value>) -> Vec<String> {
    let versions = live.and_then(|live| live.pointer("/status/storedVersions")).and_then(Value::as_array);
    versions.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn owners(all: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut owners: Vec<_> = all.collect();
    owners.sort();
    owners.dedup();
    owners
}

/// Whether the records of a live release that owns CRDs may be dropped.
fn may_retire(release: &Release, adopt: bool) -> Result<()> {
    let action = format!("apply the CRDs, which the Helm release {}/{} owns", release.namespace, release.name);
    if !adopt {
        let remedy = format!(
            "Set `adopt = true` in the chart block to take the CRDs over. Where another configuration holds that release, let it forget it \
             first:\n\nremoved {{\n  from = helm_release.{}\n  lifecycle {{\n    destroy = false\n  }}\n}}",
            release.name.replace('-', "_")
        );
        return Err(Error::new(Kind::AlreadyExists, action, "uninstalling that release later would delete every node pool").remedy(remedy));
    }
    if release.current().objects()?.iter().any(|o| o.info != CRD) {
        return Err(invalid(action, "that release holds more than CRDs, so its record cannot be dropped")
            .remedy("Upgrade that release without its CRDs first, or set `manage_crds = false`."));
    }
    Ok(())
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
