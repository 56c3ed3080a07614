//! A release against a cluster: apply and uninstall. Both converge: whatever a killed process left, the next run completes.

use std::time::Duration;

use futures::future::try_join_all;
use kube::Client;
use serde_json::Value;

use super::chart::Chart;
use super::live::Target;
use super::manifest::{self, Object};
use super::release::{Record, Release, Status};
use super::steps::Steps;
use super::template::{ReleaseInfo, Rendered, render};
use super::{Capabilities, Map, Result, hooks, invalid, rollback, store, wait};
use crate::{Error, Kind};

pub use super::store::read;

/// How long the hooks of an uninstall or a rollback may take together; Helm waits as long.
pub(super) const HOOKS: Duration = Duration::from_secs(300);

/// What a release should be.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The release's name: `karpenter`.
    pub name: String,
    /// The namespace of the release and of its objects; it must exist.
    pub namespace: String,
    /// The chart, pulled or taken from the release record.
    pub chart: Chart,
    /// The user's values merged with ours: what the record keeps as `config`.
    pub values: Map,
    /// What templates may ask about the cluster.
    pub capabilities: Capabilities,
    /// Take over objects that exist and belong to nobody or to another release.
    pub adopt: bool,
    /// Ids (`Deployment karpenter`) of objects that are applied although the manifest did not change: what [`super::drift`] named.
    pub repair: Vec<String>,
    /// Revisions kept, this one included; 0 keeps all. Helm's default is 10.
    pub max_history: usize,
    /// An upgrade that fails, or is not ready by the deadline, is rolled back to the revision before it.
    pub atomic: bool,
    /// When waiting for hooks, and for the readiness of an atomic upgrade, ends.
    pub deadline: tokio::time::Instant,
}

/// Installs or upgrades, converging; returns the release as it is recorded afterwards. Objects whose manifest did not change are left
/// alone but for those in `repair`; when nothing else changes, no new revision is recorded.
///
/// # Errors
/// [`Kind::AlreadyExists`] naming every object that is not ours, after undoing what this call made; what rendering or the API server says.
pub async fn apply(client: &Client, desired: &Desired, prior: Option<Release>) -> Result<Release> {
    let (info, resumed) = next_revision(desired, prior.as_ref());
    let rendered = render_for(client, desired, &info).await?;
    let objects = manifest::objects(&rendered.manifest, &desired.namespace)?;
    refuse_duplicate_env(&objects)?;
    let steps = Steps::plan(desired, prior.as_ref(), objects)?;
    if let Some(prior) = &prior
        && unchanged(desired, prior, &rendered.manifest)
    {
        let mut record = prior.newest.clone();
        steps.run(client, desired, &mut record).await?;
        return settle_history(client, desired, Some(prior), record).await;
    }
    let first_deployed = prior.as_ref().and_then(|p| p.current().first_deployed().map(str::to_owned));
    let mut record = Record::new(desired, info.revision, &rendered, first_deployed.as_deref());
    if let Some(left) = resumed {
        record.resource_version = left.resource_version.clone();
        record.labels = left.labels.clone();
    }
    // from whom a failed or killed revision took objects is not to be seen any more
    record.set_retiring(&prior.as_ref().map(|prior| prior.newest.retiring()).unwrap_or_default());
    store::write(client, &desired.namespace, &mut record).await?;
    if let Err(error) = carry_out(client, desired, &steps, &mut record, info.upgrade).await {
        let error = give_up(client, desired, &mut record, error).await;
        return Err(match prior.as_ref().filter(|prior| desired.atomic && prior.live().is_some()) {
            Some(prior) => rollback::after(client, desired, prior, record, error).await,
            None => error,
        });
    }
    record.set_retiring(&[]);
    record.set_status(Status::Deployed, if info.upgrade { "Upgrade complete" } else { "Install complete" });
    store::write(client, &desired.namespace, &mut record).await?;
    settle_history(client, desired, prior.as_ref(), record).await
}

/// Hooks, objects, hooks again; in between, an atomic upgrade must get ready.
async fn carry_out(client: &Client, desired: &Desired, steps: &Steps, record: &mut Record, upgrade: bool) -> Result<()> {
    let (before, after) = if upgrade { ("pre-upgrade", "post-upgrade") } else { ("pre-install", "post-install") };
    hooks::run(client, record, before, desired.deadline).await?;
    steps.run(client, desired, record).await?;
    if desired.atomic && upgrade {
        let action = || format!("upgrade release {}/{}", desired.namespace, desired.name);
        let ready = wait::ready(client, record, desired.deadline.into_std()).await?;
        if !ready.ready {
            return Err(Error::new(Kind::Timeout, action(), format!("not ready in time: {}", ready.why)));
        }
    }
    hooks::run(client, record, after, desired.deadline).await
}

/// Which revision this is, and the pending record that a killed process left under that number.
fn next_revision<'r>(desired: &Desired, prior: Option<&'r Release>) -> (ReleaseInfo, Option<&'r Record>) {
    let (revision, resumed) = match prior.map(|p| &p.newest) {
        None => (1, None),
        Some(newest) if newest.status().pending() => (newest.revision(), Some(newest)),
        Some(newest) => (newest.revision() + 1, None),
    };
    let upgrade = prior.is_some_and(|p| p.live().is_some());
    (ReleaseInfo { name: desired.name.clone(), namespace: desired.namespace.clone(), revision, upgrade }, resumed)
}

async fn render_for(client: &Client, desired: &Desired, info: &ReleaseInfo) -> Result<Rendered> {
    let rendered = render(&desired.chart, &desired.values, info, &desired.capabilities)?;
    if rendered.asked.is_empty() {
        return Ok(rendered);
    }
    let served = desired.capabilities.clone().with_served(client).await?;
    render(&desired.chart, &desired.values, info, &served)
}

/// The live record says all of this already.
fn unchanged(desired: &Desired, prior: &Release, manifest: &str) -> bool {
    let newest = &prior.newest;
    let same_chart = || newest.chart().is_ok_and(|chart| chart == desired.chart);
    newest.status() == Status::Deployed
        && newest.server_side()
        && newest.manifest() == manifest
        && newest.config() == desired.values
        && same_chart()
}

/// Server-side apply refuses a list with two entries of one name, in the middle of everything; say so before the first write.
fn refuse_duplicate_env(objects: &[Object]) -> Result<()> {
    for object in objects.iter().filter(|o| o.info.kind == "Deployment") {
        let containers = object.json.pointer("/spec/template/spec/containers").and_then(Value::as_array);
        for container in containers.into_iter().flatten() {
            let env = container.get("env").and_then(Value::as_array);
            let names: Vec<&str> = env.into_iter().flatten().filter_map(|e| e.get("name")?.as_str()).collect();
            if let Some((_, twice)) = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
                let message = format!("the environment variable {twice} is set twice in {}", object.name);
                return Err(invalid("render the chart", message)
                    .remedy("The chart sets it from its own values: set those, and not controller.env."));
            }
        }
    }
    Ok(())
}

/// After a failure: a refused first install leaves no record, any other attempt a failed one. The error goes on either way.
async fn give_up(client: &Client, desired: &Desired, record: &mut Record, error: Error) -> Error {
    let recorded = if error.kind == Kind::AlreadyExists && record.revision() == 1 {
        store::remove(client, &desired.namespace, &desired.name, 1).await
    } else {
        let what = if record.revision() == 1 { "Release" } else { "Upgrade" };
        record.set_status(Status::Failed, &format!("{what} {:?} failed: {error}", desired.name));
        store::write(client, &desired.namespace, record).await
    };
    if let Err(second) = recorded {
        tracing::warn!(error = %second, "the release record still says that an operation is pending; the next apply completes it");
    }
    error
}

/// Marks former revisions as superseded, and forgets the oldest ones. A process that died here has left it to the next apply.
pub(super) async fn settle_history(client: &Client, desired: &Desired, prior: Option<&Release>, record: Record) -> Result<Release> {
    let mut revisions = vec![record.revision()];
    if let Some(prior) = prior {
        revisions.extend(prior.revisions.iter().copied().filter(|r| *r != record.revision()));
        let others = [Some(&prior.newest), prior.deployed.as_ref()].into_iter().flatten().filter(|r| r.revision() != record.revision());
        for mut former in others.filter(|r| r.status() == Status::Deployed).cloned() {
            former.set_status(Status::Superseded, "");
            store::write(client, &desired.namespace, &mut former).await?;
        }
    }
    revisions.sort_unstable();
    let kept = if desired.max_history == 0 { usize::MAX } else { desired.max_history };
    let surplus = revisions.len().saturating_sub(kept);
    for revision in revisions.drain(..surplus) {
        store::remove(client, &desired.namespace, &desired.name, revision).await?;
    }
    Ok(Release { name: desired.name.clone(), namespace: desired.namespace.clone(), newest: record, deployed: None, revisions })
}

/// Uninstalls what a record retires.
///
/// # Errors
/// What the API server says; the record still names them then.
pub(super) async fn retire(client: &Client, record: &Record) -> Result<()> {
    for (namespace, name) in record.retiring() {
        if let Some(former) = store::read(client, &namespace, &name).await? {
            Box::pin(uninstall(client, &former)).await?;
        }
    }
    Ok(())
}

/// Deletes the release's objects in reverse order, then its records; those first from which it took objects and did not retire them yet,
/// since they are halves. CRDs stay, and so does what belongs to another release or says `helm.sh/resource-policy: keep`.
///
/// # Errors
/// What the API server says; the records are still there then, and the next call completes it.
pub async fn uninstall(client: &Client, release: &Release) -> Result<()> {
    retire(client, &release.newest).await?;
    let mut record = release.current().clone();
    let deadline = tokio::time::Instant::now() + HOOKS;
    hooks::run(client, &mut record, "pre-delete", deadline).await?;
    let mut objects = record.objects()?;
    for object in release.newest.objects()? {
        if !objects.iter().any(|o| o.same(&object)) {
            objects.push(object);
        }
    }
    objects.retain(|o| o.info.kind != "CustomResourceDefinition" && o.annotation("helm.sh/resource-policy") != Some("keep"));
    objects.sort_by_key(|o| std::cmp::Reverse(manifest::order(&o.info)));
    for group in objects.chunk_by(|a, b| a.info == b.info) {
        let targets: Vec<Target> = group.iter().map(|o| Target::new(o, &release.name, &release.namespace)).collect();
        let calls: Vec<_> = targets.iter().map(|t| t.delete_own(client, &release.name, &release.namespace)).collect();
        try_join_all(calls).await?;
    }
    hooks::run(client, &mut record, "post-delete", deadline).await?;
    store::remove_all(client, &release.namespace, &release.name).await
}
