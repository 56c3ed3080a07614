//! Makes a bundle what it should be: create, update and repair are this one path.
//!
//! ```text
//! look -> refuse -> marked object -> everything else at once -> chart -> what is no longer wanted -> marker off
//! ```
//! Each step compares before it writes, so a second run after a kill does only what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};

use super::chart::{self, CHART, CRDS, Session};
use super::context::{Context, Ownership};
use super::desired::{AccessEntry, CREATING_TAG, Desired, Policy, Role};
use super::observe::{ACCESS_ENTRY, ASSOCIATION, IN_SYNC, INSTANCE_PROFILE, NOT_MANAGED, Observed, QUEUE, SPOT_ROLE};
use super::{access_entry, association, instance_profile, policy, queue, role, rules, spot_role, transition};
use crate::tofu::path::Path;
use crate::{Error, Kind, helm};

/// Steps under way at once: more than a bundle has, and few enough for IAM, which throttles beyond about fifteen calls a second.
const CONCURRENCY: usize = 12;

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Each object's line.
    pub lines: BTreeMap<String, String>,
    /// Keys of objects that are the bundle's now.
    pub owned: BTreeSet<String>,
    /// Keys of objects that AWS refused to make and that the bundle can do without.
    pub refused: BTreeSet<String>,
    /// The association's id.
    pub association_id: Option<String>,
    /// When the association was made, in seconds since the epoch.
    pub association_created: Option<i64>,
    /// Unique ids and ARNs that AWS chose, by the names of the computed attributes.
    pub ids: BTreeMap<&'static str, String>,
    /// Names of the CRDs that are as the bundle wants them.
    pub crds: Vec<String>,
    /// The queue's URL.
    pub queue_url: Option<String>,
    /// Whether the controller is ready; `true` without a chart.
    pub ready: bool,
    /// Why it is not.
    pub why: String,
    /// What the user should know, each with its detail.
    pub warnings: Vec<(String, String)>,
    /// What failed; empty: everything is in sync.
    pub errors: Vec<Error>,
}

/// Which object carries the creating marker: the first that a create makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marked {
    ControllerRole,
    Queue,
    Nothing,
}

/// Where steps write down how far they came.
struct Progress<'a>(&'a Mutex<Outcome>);

/// Everything that forbids to go on, before anything is written. A create takes over objects with this cluster's owner tag only
/// while the creating marker is there: without it another state owns a finished bundle.
pub fn refusals(cx: &Context, desired: &Desired, live: &Observed, creating: bool, owned: &BTreeSet<String>) -> Vec<Error> {
    let resuming = is_resuming(cx, desired, live);
    let tags = live.tags(desired);
    let named = |key: &str| names(desired).remove(key).unwrap_or_else(|| key.to_owned());
    let foreign_is_fine = |key: &str| key.starts_with(ACCESS_ENTRY) || key == desired.node_role.key;
    let mut errors = vec![];
    if let (Some(queue), None) = (desired.queue.as_ref().filter(|queue| queue.made.is_none()), &live.queue) {
        let action = format!("use the queue {:?}", queue.name);
        let path = Path::attribute("interruption_queue").index(0).child("name");
        errors.push(Error::new(Kind::NotFound, action, format!("there is no such queue in {}", cx.place.region)).at(path));
    }
    for (key, tags) in &tags {
        let action = format!("make {} {:?}", key.replace('_', " "), named(key));
        let refusal = match cx.ownership(tags) {
            Ownership::Foreign(owner) => Error::new(Kind::AlreadyExists, action, format!("it exists and belongs to the bundle of {owner}"))
                .remedy("Set another name for it in this bundle."),
            Ownership::Ours if creating && !resuming => Error::new(
                Kind::AlreadyExists,
                action,
                format!("it exists as part of a finished bundle of {}", cx.place.arn()),
            )
            .remedy(format!(
                "If no other configuration holds that bundle, import it:\n\nimport {{\n  to = karpenter_bundle.this\n  id = {:?}\n}}",
                cx.place.cluster
            )),
            Ownership::Untagged if foreign_is_fine(key) || owned.contains(key) => continue,
            Ownership::Untagged => Error::new(Kind::AlreadyExists, action, "it exists and this bundle did not make it")
                .remedy("Delete it, or set another name for it in this bundle."),
            Ownership::Ours => continue,
        };
        errors.push(refusal);
    }
    errors
}

/// Whether an earlier create died on its way.
pub fn is_resuming(cx: &Context, desired: &Desired, live: &Observed) -> bool {
    let tags = match marked(desired) {
        Marked::ControllerRole => live.controller_role.as_ref().map(|role| &role.tags),
        Marked::Queue => live.queue.as_ref().map(|queue| &queue.tags),
        Marked::Nothing => None,
    };
    tags.is_some_and(|tags| cx.ownership(tags) == Ownership::Ours && tags.contains_key(CREATING_TAG))
}

fn marked(desired: &Desired) -> Marked {
    match (&desired.controller_role.made, desired.queue.as_ref().and_then(|queue| queue.made.as_ref())) {
        (Some(_), _) => Marked::ControllerRole,
        (None, Some(_)) => Marked::Queue,
        (None, None) => Marked::Nothing,
    }
}

/// Keys whose objects a change names otherwise, or names at all where there was none: what is there under the new name was never the
/// bundle's.
pub fn renamed(old: &Desired, new: &Desired) -> BTreeSet<String> {
    let before = names(old);
    names(new).into_iter().filter(|(key, name)| before.get(key) != Some(name)).map(|(key, _)| key).collect()
}

fn names(desired: &Desired) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for role in [&desired.controller_role, &desired.node_role] {
        names.insert(role.key.to_owned(), role.name.clone());
    }
    names.extend(desired.policies.iter().map(|policy| (policy.key.clone(), policy.name.clone())));
    names.extend(desired.rules.iter().map(|rule| (rule.key.clone(), rule.name.clone())));
    names.extend(desired.queue.iter().map(|queue| (QUEUE.to_owned(), queue.name.clone())));
    names.extend(desired.association.iter().map(|a| (ASSOCIATION.to_owned(), format!("{}/{}", a.namespace, a.service_account))));
    names.extend(desired.access_entries.iter().map(|entry| (entry.key.clone(), entry.role_arn.clone())));
    names.extend(desired.instance_profile.iter().map(|profile| (INSTANCE_PROFILE.to_owned(), profile.name.clone())));
    names
}

/// Makes AWS what it should be. The chart is [`install`]'s, the marker [`finish`]'s.
pub async fn converge(cx: &Context, desired: &Desired, live: &Observed, creating: bool, owned: &BTreeSet<String>) -> Outcome {
    let lines = live.lines(cx, desired, owned).unwrap_or_default();
    let shared = Mutex::new(Outcome { lines, owned: owned.clone(), ready: true, ids: live.ids(), ..Outcome::default() });
    let progress = Progress(&shared);
    let mut step = Step { cx, desired, live, progress: &progress };
    let marked = if creating { marked(desired) } else { Marked::Nothing };
    match marked {
        Marked::ControllerRole => step.controller_role(true).await,
        Marked::Queue => step.queue(true).await,
        Marked::Nothing => step.controller_role(false).await,
    }
    if cx.is_stopped() {
        progress.with(|outcome| outcome.errors.push(Error::new(Kind::Other, "go on with the bundle", "stopped; apply again to finish it")));
    }
    if !progress.failed() {
        step.rest(marked).await;
    }
    let mut outcome = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    // What a step could not finish is not as it should be, whatever it looked like before.
    outcome.errors.sort_by(|a, b| a.action.cmp(&b.action));
    outcome
}

#[derive(Clone, Copy)]
struct Step<'a> {
    cx: &'a Context,
    desired: &'a Desired,
    live: &'a Observed,
    progress: &'a Progress<'a>,
}

impl<'a> Step<'a> {
    async fn rest(&mut self, marked: Marked) {
        let step = *self;
        let mut steps: Vec<BoxFuture<'a, ()>> =
            vec![step.association().boxed(), step.node_role().boxed(), step.spot_role().boxed(), step.additional_policies().boxed()];
        if marked != Marked::Queue {
            steps.push(step.queue(false).boxed());
        }
        for (want, live) in step.desired.policies.iter().zip(&step.live.policies) {
            steps.push(step.policy(want, live.as_ref()).boxed());
        }
        steps.extend(step.desired.access_entries.iter().skip(1).map(|want| step.access_entry(want).boxed()));
        for want in &step.desired.rules {
            let done = async move { step.progress.note(&want.key, rules::converge(step.cx, want, step.live.rules.get(&want.name)).await) };
            steps.push(done.boxed());
        }
        // To the end, whatever fails: what was begun is then known.
        futures::stream::iter(steps).buffer_unordered(CONCURRENCY).collect::<Vec<()>>().await;
    }

    async fn controller_role(self, creating: bool) {
        let Role { key, made, .. } = &self.desired.controller_role;
        let Some(made) = made else { return };
        let done = role::converge(self.cx, &self.desired.controller_role, made, self.live.controller_role.as_ref(), creating).await;
        self.progress.note(key, self.progress.id("controller_role_unique_id", done));
    }

    async fn policy(self, want: &Policy, live: Option<&policy::Observed>) {
        let role = &self.desired.controller_role;
        let made = policy::converge(self.cx, want, live).await;
        let failed = made.is_err();
        self.progress.note(&want.key, made);
        if failed {
            return;
        }
        if let Err(error) = role::attach(self.cx, &role.name, std::slice::from_ref(&want.arn), self.live.controller_role.as_ref()).await {
            self.progress.note(role.key, Err(error));
        }
    }

    /// Those that the user names besides ours.
    async fn additional_policies(self) {
        let Role { key, name, made: Some(made), .. } = &self.desired.controller_role else { return };
        let ours = |arn: &&String| !self.desired.policies.iter().any(|policy| policy.arn == **arn);
        let arns: Vec<String> = made.attached.iter().filter(ours).cloned().collect();
        if let Err(error) = role::attach(self.cx, name, &arns, self.live.controller_role.as_ref()).await {
            self.progress.note(key, Err(error));
        }
    }

    async fn association(self) {
        let Some(want) = &self.desired.association else { return };
        let made = association::converge(self.cx, want, self.live.association.as_ref()).await.map(|(id, created)| {
            self.progress.with(|outcome| (outcome.association_id, outcome.association_created) = (Some(id), Some(created)));
        });
        self.progress.note(ASSOCIATION, made);
    }

    async fn queue(self, creating: bool) {
        let Some(want) = &self.desired.queue else { return };
        let Some(made) = &want.made else {
            let url = self.live.queue.as_ref().map(|live| live.url.clone());
            self.progress.with(|outcome| outcome.queue_url = url);
            return self.progress.line(QUEUE, NOT_MANAGED);
        };
        let mut cx = self.cx.clone();
        cx.tags.wanted = cx.tags.with_marker(creating);
        let made = queue::converge(&cx, want, made, self.live.queue.as_ref()).await;
        let url = made.as_ref().ok().cloned();
        self.progress.with(|outcome| outcome.queue_url = url);
        self.progress.note(QUEUE, made.map(|_| ()));
    }

    async fn node_role(self) {
        let Role { key, name, arn: _, made } = &self.desired.node_role;
        let live = self.live.node_role.as_ref();
        let mine = live.is_none_or(|live| self.progress.owns(key) || self.cx.ownership(&live.tags) == Ownership::Ours);
        let made = made.as_ref().filter(|_| mine);
        if let Some(made) = made {
            let done = role::converge(self.cx, &self.desired.node_role, made, live, false).await;
            if let Err(error) = self.progress.id("node_role_unique_id", done) {
                return self.progress.note(key, Err(error));
            }
        }
        let attach = async {
            match made {
                Some(made) => self.progress.note(key, role::attach(self.cx, name, &made.attached, live).await),
                None => self.progress.line(key, NOT_MANAGED),
            }
        };
        let entry = async {
            if let Some(want) = self.desired.access_entries.first() {
                self.access_entry(want).await;
            }
        };
        let profile = async {
            let Some(want) = &self.desired.instance_profile else { return };
            let done = instance_profile::converge(self.cx, want, self.live.instance_profile.as_ref()).await;
            self.progress.note(INSTANCE_PROFILE, self.progress.id("instance_profile_unique_id", done));
        };
        futures::join!(attach, entry, profile);
    }

    async fn access_entry(self, want: &AccessEntry) {
        let AccessEntry { key, role_arn } = want;
        let owned = self.progress.owns(key);
        let is_role_new = key == ACCESS_ENTRY && self.desired.node_role.made.is_some() && self.live.node_role.is_none();
        let live = self.live.access_entries.get(key);
        let done = access_entry::converge(self.cx, role_arn, live, owned, is_role_new).await.map(|(ours, arn)| {
            if key == ACCESS_ENTRY {
                self.progress.with(|outcome| outcome.ids.insert("access_entry_arn", arn));
            }
            ours
        });
        match done {
            Ok(true) => self.progress.note(key, Ok(())),
            Ok(false) => self.progress.line(key, NOT_MANAGED),
            Err(error) => self.progress.note(key, Err(error)),
        }
    }

    async fn spot_role(self) {
        if !self.desired.spot_role {
            return self.progress.line(SPOT_ROLE, NOT_MANAGED);
        }
        let made = if self.live.spot_role { Ok(()) } else { spot_role::create(&self.cx.aws).await };
        match made {
            Ok(()) => self.progress.line(SPOT_ROLE, IN_SYNC),
            // on-demand instances need no such role, and somebody with more permissions may make it later
            Err(error) if error.kind == Kind::Forbidden => self.progress.with(|outcome| {
                let detail = format!(
                    "{error}\n\nKarpenter cannot launch spot instances without it. Have it made once for the account with `aws iam \
                     create-service-linked-role --aws-service-name spot.amazonaws.com`, or set `spot_role {{ create = false }}`."
                );
                outcome.warnings.push(("the service-linked role for spot instances was not made".into(), detail));
                outcome.refused.insert(SPOT_ROLE.into());
                outcome.lines.insert(SPOT_ROLE.into(), NOT_MANAGED.into());
            }),
            Err(error) => self.progress.note(SPOT_ROLE, Err(error)),
        }
    }
}

impl Progress<'_> {
    fn with<T>(&self, change: impl FnOnce(&mut Outcome) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn failed(&self) -> bool {
        self.with(|outcome| !outcome.errors.is_empty())
    }

    fn owns(&self, key: &str) -> bool {
        self.with(|outcome| outcome.owned.contains(key))
    }

    /// Writes down an id that AWS chose.
    fn id(&self, attribute: &'static str, done: Result<String, Error>) -> Result<(), Error> {
        done.map(|id| self.with(|outcome| outcome.ids.insert(attribute, id))).map(|_| ())
    }

    fn line(&self, key: &str, line: &str) {
        self.with(|outcome| outcome.lines.insert(key.to_owned(), line.to_owned()));
    }

    /// A step's end: an object of ours that is in sync, or an error.
    fn note(&self, key: &str, done: Result<(), Error>) {
        self.with(|outcome| outcome.note(key, done));
    }
}

impl Outcome {
    fn note(&mut self, key: &str, done: Result<(), Error>) {
        match done {
            // an earlier step of the same object may have failed already
            Ok(()) if !self.lines.get(key).is_some_and(|line| line.starts_with("failed")) => {
                self.lines.insert(key.to_owned(), IN_SYNC.to_owned());
                self.owned.insert(key.to_owned());
            }
            Ok(()) => {}
            Err(error) => {
                let line = format!("failed: {error}");
                self.lines.insert(key.to_owned(), line);
                self.errors.push(error);
            }
        }
    }
}

/// Makes CRDs and chart what they should be, after the roles that its pods need.
pub async fn install(
    cx: &Context,
    desired: &Desired,
    live: &Observed,
    session: Option<&Session>,
    source: Option<helm::Chart>,
    outcome: &mut Outcome,
) {
    let (Some(want), Some(session), Some(source)) = (&desired.chart, session, source) else { return };
    let nothing = chart::Observed::default();
    let live = live.chart.as_ref().unwrap_or(&nothing);
    outcome.ready = false;
    // even if it fails: a destroy must then remove what it has made
    outcome.owned.insert(CHART.to_owned());
    let release = match chart::converge(session, want, live, source, cx.deadline).await {
        Ok(release) => release,
        Err(error) => return outcome.note(CHART, Err(error)),
    };
    for key in [Some(CHART), want.manage_crds.then_some(CRDS)].into_iter().flatten() {
        outcome.lines.insert(key.to_owned(), IN_SYNC.to_owned());
    }
    let made = outcome.association_created;
    tokio::select! {
        waited = transition::wait(cx, session, desired, &release, made) => match waited {
            Ok(readiness) => (outcome.ready, outcome.why) = (readiness.ready, readiness.why),
            Err(error) => outcome.why = error.to_string(),
        },
        () = cx.connections.stopped() => outcome.why = "stopped before it was ready".to_owned(),
    }
}

/// The last call of a create: nothing of it is left to do.
pub async fn finish(cx: &Context, desired: &Desired, live: &Observed, creating: bool, outcome: &mut Outcome) {
    if !creating && !is_resuming(cx, desired, live) {
        return;
    }
    let done = match marked(desired) {
        Marked::ControllerRole => role::remove_marker(cx, &desired.controller_role.name).await,
        Marked::Queue => queue::remove_marker(cx, outcome.queue_url.as_deref().unwrap_or_default()).await,
        Marked::Nothing => Ok(()),
    };
    if let Err(error) = done {
        outcome.errors.push(error);
    }
}
