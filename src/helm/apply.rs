//! A release against a cluster: apply and uninstall. Both converge: whatever a killed process left, the next run completes.

use futures::future::{join_all, try_join_all};
use kube::Client;
use serde_json::Value;

use super::chart::Chart;
use super::live::{Created, Target};
use super::manifest::{self, Object};
use super::release::{Record, Release, Status};
use super::template::{ReleaseInfo, Rendered, render};
use super::{Capabilities, Map, Result, invalid, store};
use crate::{Error, Kind};

pub use super::store::read;

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
    /// Revisions kept, this one included; Helm's default is 10.
    pub max_history: usize,
}

/// Installs or upgrades, converging; returns the release as it is recorded afterwards. Objects whose manifest did not change are left
/// alone but for those in `repair`; when nothing else changes, no new revision is recorded.
///
/// # Errors
/// [`Kind::AlreadyExists`] naming every object that is not ours, after undoing what this call made; what rendering or the API server says.
pub async fn apply(client: &Client, desired: &Desired, prior: Option<Release>) -> Result<Release> {
    let (info, resumed) = next_revision(desired, prior.as_ref());
    let manifest = render_for(client, desired, &info).await?.manifest;
    let objects = manifest::objects(&manifest, &desired.namespace)?;
    refuse_duplicate_env(&objects)?;
    let steps = Steps::plan(desired, prior.as_ref(), objects)?;
    if let Some(prior) = &prior
        && unchanged(desired, prior, &manifest)
    {
        steps.run(client, desired).await?;
        return Ok(prior.clone());
    }
    let first_deployed = prior.as_ref().and_then(|p| p.current().first_deployed().map(str::to_owned));
    let mut record = Record::new(
        &desired.name,
        &desired.namespace,
        info.revision,
        &desired.chart,
        &desired.values,
        &manifest,
        first_deployed.as_deref(),
    );
    if let Some(left) = resumed {
        record.resource_version = left.resource_version.clone();
        record.labels = left.labels.clone();
    }
    store::write(client, &desired.namespace, &mut record).await?;
    if let Err(error) = steps.run(client, desired).await {
        return Err(give_up(client, desired, record, error).await);
    }
    record.set_status(Status::Deployed, if info.upgrade { "Upgrade complete" } else { "Install complete" });
    store::write(client, &desired.namespace, &mut record).await?;
    settle_history(client, desired, prior, record).await
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

/// What has to happen to which object.
struct Steps {
    /// Not known to be ours: made, or taken over when it carries our marks.
    create: Vec<Object>,
    /// Ours: applied by force.
    change: Vec<Object>,
    /// Ours, perhaps written by Helm 3: its fields pass to us first.
    migrate: Vec<Object>,
    /// Gone from the manifest.
    delete: Vec<Object>,
}

impl Steps {
    fn plan(desired: &Desired, prior: Option<&Release>, objects: Vec<Object>) -> Result<Steps> {
        let live = prior.and_then(Release::live);
        let ours = live.map(Record::objects).transpose()?.unwrap_or_default();
        // what another revision left is in question, but only the live one's objects are ours without a look
        let tried = prior.map(|p| p.newest.objects()).transpose()?.unwrap_or_default();
        let whole = prior.is_some_and(|p| p.newest.status() == Status::Deployed && p.newest.server_side());
        let mut steps = Steps { create: vec![], change: vec![], migrate: vec![], delete: vec![] };
        for old in ours.iter().chain(&tried) {
            let kept =
                objects.iter().chain(&steps.delete).any(|o| o.same(old)) || old.annotation("helm.sh/resource-policy") == Some("keep");
            if !kept && old.info.kind != "CustomResourceDefinition" {
                steps.delete.push(old.clone());
            }
        }
        for object in objects {
            match ours.iter().find(|old| old.same(&object)) {
                None => steps.create.push(object),
                Some(_) if live.is_some_and(|l| !l.server_side()) => steps.migrate.push(object),
                Some(old) if whole && old.json == object.json && !desired.repair.contains(&object.id(&desired.namespace)) => {}
                Some(_) => steps.change.push(object),
            }
        }
        steps.delete.sort_by_key(|o| std::cmp::Reverse(manifest::order(&o.info)));
        Ok(steps)
    }

    async fn run(&self, client: &Client, desired: &Desired) -> Result<()> {
        let former = create(client, desired, &self.create).await?;
        for group in self.change.chunk_by(same_kind) {
            let targets = targets(desired, group);
            let changes: Vec<_> = targets.iter().map(|target| target.apply(client)).collect();
            try_join_all(changes).await?;
        }
        for group in self.migrate.chunk_by(same_kind) {
            let targets = targets(desired, group);
            let moves: Vec<_> = targets.iter().map(|target| migrate(client, target)).collect();
            try_join_all(moves).await?;
        }
        for group in self.delete.chunk_by(same_kind) {
            let targets = targets(desired, group);
            let deletes: Vec<_> = targets.iter().map(|target| target.delete_own(client, &desired.name, &desired.namespace)).collect();
            try_join_all(deletes).await?;
        }
        // what a former release of Karpenter has left is a second controller
        for release in former {
            uninstall(client, &release).await?;
        }
        Ok(())
    }
}

fn same_kind(a: &Object, b: &Object) -> bool {
    a.info == b.info
}

fn targets(desired: &Desired, objects: &[Object]) -> Vec<Target> {
    objects.iter().map(|object| Target::new(object, &desired.name, &desired.namespace)).collect()
}

async fn migrate(client: &Client, target: &Target) -> Result<Value> {
    let live = target.get(client).await?.unwrap_or_default();
    target.take_over(client, &live).await
}

/// Makes objects, kind by kind. What exists is taken over when it is ours or may be adopted; otherwise what was made is deleted again,
/// and the error names every object that stands in the way. Answers with the other releases from which objects were taken.
async fn create(client: &Client, desired: &Desired, objects: &[Object]) -> Result<Vec<Release>> {
    let mut made: Vec<(Target, String)> = vec![];
    let mut former: Vec<Release> = vec![];
    let mut groups = objects.chunk_by(same_kind);
    for group in groups.by_ref() {
        let (targets, mut found) = (targets(desired, group), vec![]);
        let creates: Vec<_> = targets.iter().map(|target| target.create(client)).collect();
        // all of a kind are awaited even when one fails: what was made must be known
        let mut failed = None;
        for (outcome, (target, object)) in join_all(creates).await.into_iter().zip(targets.into_iter().zip(group)) {
            match outcome {
                Ok(Created::New(uid)) => made.push((target, uid)),
                Ok(Created::Exists(live)) => found.push((object, target, live)),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let mut refused: Vec<String> = found.iter().filter_map(|(object, _, live)| foreign(desired, object, live)).collect();
        if !refused.is_empty() {
            for object in groups.flatten() {
                let live = Target::new(object, &desired.name, &desired.namespace).get(client).await?;
                refused.extend(live.and_then(|live| foreign(desired, object, &live)));
            }
            for (target, uid) in made.iter().rev() {
                target.delete(client, uid).await?;
            }
            return Err(refusal(desired, &refused));
        }
        for (_, target, live) in found {
            former.extend(former_release(client, desired, &live, &former).await?);
            target.take_over(client, &live).await?;
        }
    }
    Ok(former)
}

/// The live release from which an object is adopted, where it is not known yet. Only one of Karpenter itself may lose its objects: another
/// chart's next upgrade would fail, or take them back.
async fn former_release(client: &Client, desired: &Desired, live: &Value, known: &[Release]) -> Result<Option<Release>> {
    let Some((name, namespace)) = manifest::owner(live) else { return Ok(None) };
    let is = |release: &Release| (&release.name, &release.namespace) == (&name, &namespace);
    if (&name, &namespace) == (&desired.name, &desired.namespace) || known.iter().any(is) {
        return Ok(None);
    }
    let Some(release) = store::read(client, &namespace, &name).await?.filter(|r| r.live().is_some()) else { return Ok(None) };
    let chart = release.current().json.pointer("/chart/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if chart == desired.chart.name() {
        return Ok(Some(release));
    }
    let message = format!("objects belong to the release {namespace}/{name} of the chart {chart:?}, which is not Karpenter's");
    Err(invalid(format!("install release {}/{}", desired.namespace, desired.name), message)
        .remedy("Upgrade that release without them first."))
}

/// Whose a live object is, when we may not take it.
fn foreign(desired: &Desired, object: &Object, live: &Value) -> Option<String> {
    if desired.adopt {
        return None;
    }
    let id = object.id(&desired.namespace);
    match manifest::owner(live) {
        Some((name, namespace)) if (&name, &namespace) == (&desired.name, &desired.namespace) => None,
        Some((name, namespace)) => Some(format!("{id} (of the Helm release {namespace}/{name})")),
        None => Some(format!("{id} (of no Helm release)")),
    }
}

fn refusal(desired: &Desired, refused: &[String]) -> Error {
    let message = format!("these objects exist already and are not of this release: {}", refused.join(", "));
    Error::new(Kind::AlreadyExists, format!("install release {}/{}", desired.namespace, desired.name), message)
        .remedy("Set `adopt = true` in the chart block to take them over, or delete them.")
}

/// After a failure: a refused first install leaves no record, any other attempt a failed one. The error goes on either way.
async fn give_up(client: &Client, desired: &Desired, mut record: Record, error: Error) -> Error {
    let recorded = if error.kind == Kind::AlreadyExists && record.revision() == 1 {
        store::remove(client, &desired.namespace, &desired.name, 1).await
    } else {
        let what = if record.revision() == 1 { "Release" } else { "Upgrade" };
        record.set_status(Status::Failed, &format!("{what} {:?} failed: {error}", desired.name));
        store::write(client, &desired.namespace, &mut record).await
    };
    if let Err(second) = recorded {
        tracing::warn!(error = %second, "the release record still says that an operation is pending; the next apply completes it");
    }
    error
}

/// Marks the former revision as superseded, and forgets the oldest ones.
async fn settle_history(client: &Client, desired: &Desired, prior: Option<Release>, record: Record) -> Result<Release> {
    let mut revisions = vec![record.revision()];
    if let Some(prior) = prior {
        revisions.extend(prior.revisions.iter().copied().filter(|r| *r != record.revision()));
        if let Some(mut former) = prior.live().cloned() {
            former.set_status(Status::Superseded, "");
            store::write(client, &desired.namespace, &mut former).await?;
        }
    }
    revisions.sort_unstable();
    let surplus = revisions.len().saturating_sub(desired.max_history.max(1));
    for revision in revisions.drain(..surplus) {
        store::remove(client, &desired.namespace, &desired.name, revision).await?;
    }
    Ok(Release { name: desired.name.clone(), namespace: desired.namespace.clone(), newest: record, deployed: None, revisions })
}

/// Deletes the release's objects in reverse order, then its records. CRDs stay, and so does what belongs to another release or says
/// `helm.sh/resource-policy: keep`.
///
/// # Errors
/// What the API server says; the records are still there then, and the next call completes it.
pub async fn uninstall(client: &Client, release: &Release) -> Result<()> {
    let mut objects = release.current().objects()?;
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
    store::remove_all(client, &release.namespace, &release.name).await
}
