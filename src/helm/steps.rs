//! What an apply does to which object, and doing it.

use futures::future::{join_all, try_join_all};
use kube::Client;
use serde_json::Value;

use super::apply::{Desired, retire};
use super::live::{Created, Target};
use super::manifest::{self, Object};
use super::release::{Record, Release, Status};
use super::{Result, invalid, store};
use crate::{Error, Kind};

/// What has to happen to which object.
pub(super) struct Steps {
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
    pub(super) fn plan(desired: &Desired, prior: Option<&Release>, objects: Vec<Object>) -> Result<Steps> {
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

    /// Carries it out; every object ends up as wanted or the first error comes back. The record, which is pending where there is something
    /// to create, keeps from which other releases objects are taken over.
    pub(super) async fn run(&self, client: &Client, desired: &Desired, record: &mut Record) -> Result<()> {
        create(client, desired, &self.create, record).await?;
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
        retire(client, record).await
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
    target.take_over(client, live).await
}

/// Makes objects, kind by kind. What exists is taken over when it is ours or may be adopted; otherwise what was made is deleted again,
/// and the error names every object that stands in the way. From which other releases objects are taken goes into the record first: the
/// objects themselves do not tell any more.
async fn create(client: &Client, desired: &Desired, objects: &[Object], record: &mut Record) -> Result<()> {
    let mut made: Vec<(Target, String)> = vec![];
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
        let mut former = record.retiring();
        for (_, _, live) in &found {
            former.extend(former_release(client, desired, live, &former).await?);
        }
        if former != record.retiring() {
            record.set_retiring(&former);
            store::write(client, &desired.namespace, record).await?;
        }
        for (_, target, live) in found {
            target.take_over(client, *live).await?;
        }
    }
    Ok(())
}

/// The release from which an object is adopted, by namespace and name, where it is not known yet. Only one of Karpenter itself may lose its
/// objects: another chart's next upgrade would fail, or take them back.
async fn former_release(client: &Client, desired: &Desired, live: &Value, known: &[(String, String)]) -> Result<Option<(String, String)>> {
    let Some((name, namespace)) = manifest::owner(live) else { return Ok(None) };
    let place = (namespace.clone(), name.clone());
    if (&name, &namespace) == (&desired.name, &desired.namespace) || known.contains(&place) {
        return Ok(None);
    }
    let release = store::read(client, &namespace, &name).await?;
    // a failed or pending one has objects, too
    let Some(release) = release.filter(|release| release.current().status() != Status::Uninstalled) else { return Ok(None) };
    let chart = release.current().json.pointer("/chart/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if chart == desired.chart.name() {
        return Ok(Some(place));
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
