//! The steps of `karpenter_bundle` with clients: change (create, update and repair) and refresh. Destroy is in
//! [`super::bundle_ends`], import in [`super::bundle_import`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use semver::Version;
use tokio::time::Instant;

use super::bundle::Bundle;
use super::bundle_leftovers;
use super::bundle_review::refuse_mismatch;
use super::formats;
use crate::bundle::arguments::Arguments;
use crate::bundle::chart::{self, Session, parse_version};
use crate::bundle::context::{Context, Tags};
use crate::bundle::converge::{self, Outcome};
use crate::bundle::desired::{Chart, Desired, Place};
use crate::bundle::import_aws;
use crate::bundle::interim::Interim;
use crate::bundle::observe::{self, CRDS_STAY, Known, MISSING, NOT_MANAGED, Observed};
use crate::bundle::record::Record;
use crate::bundle::remove;
use crate::bundle::supported::mismatch;
use crate::bundle::{plan, pods, transition};
use crate::helm::RegistryAuth;
use crate::provider::Connection;
use crate::tofu::convert;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::resource::{ApplyRequest, ApplyResponse, ImportResponse, ReadRequest, ReadResponse};
use crate::tofu::value::Value;
use crate::{Error, Kind};

/// How long a create or an update may take where nothing else is said.
const CHANGE: Duration = Duration::from_secs(10 * 60);
/// How long a refresh may take.
const REFRESH: Duration = Duration::from_secs(2 * 60);

/// A bundle on its cluster.
pub(super) struct Target {
    pub(super) connection: Arc<Connection>,
    pub(super) desired: Desired,
    pub(super) cx: Context,
    pub(super) session: Option<Session>,
}

impl Bundle {
    /// Create, update and repair.
    pub(super) async fn change(&self, request: ApplyRequest) -> ApplyResponse {
        let mut record = Record::read(&request.planned_private);
        let planned_set = record.planned.take();
        match self.try_change(&request, &mut record).await {
            Ok((new_state, diagnostics)) => {
                if !diagnostics.has_errors() {
                    record.set = planned_set.unwrap_or_default();
                }
                ApplyResponse { new_state, private: record.write(), diagnostics }
            }
            // nothing was written
            Err(diagnostics) => ApplyResponse { new_state: request.prior_state, private: record.write(), diagnostics },
        }
    }

    async fn try_change(&self, request: &ApplyRequest, record: &mut Record) -> Result<(Value, Diagnostics), Diagnostics> {
        let (prior, planned) = (&request.prior_state, &request.planned_state);
        let creating = prior.is_null();
        let deadline = deadline(planned, if creating { "create" } else { "update" }, CHANGE);
        let connection = self.reach(planned).await?;
        let target = self.target(connection.clone(), planned, record, deadline).await?;
        let Target { desired, cx, .. } = &target;
        let old = if creating { None } else { Some(self.desired_of(prior, &desired.place, record)?) };
        let old_chart = old.as_ref().and_then(|old| old.chart.as_ref());
        let (former, place) = (old_chart.map(Chart::place), desired.chart.as_ref().map(Chart::place));
        let moved = old_chart.filter(|_| former != place);
        let leftovers = bundle_leftovers::leftovers(record, &desired.place);
        let session = match &target.session {
            None if moved.is_some() || leftovers.iter().any(|left| left.chart.is_some()) => Some(self.session(&connection).await?),
            session => session.clone(),
        };
        let live = match creating {
            true => observe::first_look(cx, desired, session.as_ref()).await?,
            false => observe::observe(cx, desired, &known(record, prior), session.as_ref()).await?,
        };
        let resuming = creating && converge::is_resuming(cx, desired, &live);
        if resuming {
            record.owned.extend(live.tags(desired).into_keys().filter(|key| observe::is_ours(cx, &live, desired, key)));
        }
        let renamed = old.as_ref().map(|old| converge::renamed(old, desired)).unwrap_or_default();
        let owned: BTreeSet<String> = record.owned.difference(&renamed).cloned().collect();
        refuse(cx, desired, &live, creating, &owned)?;
        let is_new_version = old.as_ref().is_none_or(|old| old.version != desired.version);
        if let Some(error) = refuse_mismatch(&desired.version, &connection.cluster.kubernetes_version).filter(|_| is_new_version) {
            return Err(error.into());
        }
        if old.as_ref().is_none_or(|old| old.credentials != desired.credentials) {
            transition::require_oidc_provider(cx, desired).await?;
        }
        let trust = live.controller_role.as_ref().map(|role| &role.trust);
        let interim = old.as_ref().map(|old| Interim::between(old, desired, trust)).unwrap_or_default();
        let source = match (&desired.chart, &session, &live.chart) {
            (Some(want), Some(session), Some(live)) => {
                let source = chart::source(session, want, live).await?;
                let is_new = old.as_ref().is_none_or(|old| old.chart.is_none()) || moved.is_some();
                let goes_on = (resuming || !creating) && chart::is_left_behind(want, live);
                chart::refuse(session, want, live, &source, is_new && !goes_on).await?;
                Some(source)
            }
            _ => None,
        };

        if let (Some(session), Some(source)) = (&session, &source) {
            transition::upgrade_crds(session, desired, &live, source).await?;
        }
        transition::keep(cx, desired, &interim).await?;
        let mut outcome = converge::converge(cx, &interim.stage(desired), &live, creating, &owned).await;
        if let (Some(moved), Some(session), true) = (moved, &session, outcome.errors.is_empty()) {
            outcome.errors.extend(chart::remove(session, moved).await.err());
        }
        if let (Some(session), true) = (&session, outcome.errors.is_empty()) {
            outcome.errors.extend(bundle_leftovers::uninstall(session, &leftovers, &[&former, &place]).await);
        }
        if outcome.errors.is_empty() {
            let crds = source.as_ref().zip(desired.chart.as_ref()).filter(|(_, want)| want.manage_crds).map(|(source, _)| source.crds());
            let crds = crds.transpose()?.unwrap_or_default();
            outcome.crds = crds.iter().filter_map(|crd| Some(crd["metadata"]["name"].as_str()?.to_owned())).collect();
            converge::install(cx, desired, &live, session.as_ref(), source, &mut outcome).await;
        }
        if outcome.errors.is_empty() {
            outcome.errors.extend(transition::verify(&interim, desired, &outcome).err());
        }
        if outcome.errors.is_empty() {
            outcome.errors.extend(transition::release(cx, desired, &live, &interim).await.err());
        }
        if outcome.errors.is_empty() && desired.controller_role.made.is_some() {
            outcome.errors.extend(import_aws::retire_inline(cx, &record.found).await.err());
        }
        let mut in_use: Vec<Error> = vec![];
        if let (Some(old), true) = (&old, outcome.errors.is_empty()) {
            let mut errors = clean_up(cx, old, desired, record).await;
            errors.extend(bundle_leftovers::remove(cx, &leftovers, Some(desired), true).await);
            (in_use, outcome.errors) = errors.into_iter().partition(|error| error.kind == Kind::InUse);
        }
        if outcome.errors.is_empty() {
            converge::finish(cx, desired, &live, creating, &mut outcome).await;
        }
        let is_changed = |change: &dyn Fn(&Desired) -> bool| old.as_ref().is_none_or(change);
        if is_changed(&|old| old.node_role.arn != desired.node_role.arn || old.access_entries.len() != desired.access_entries.len()) {
            outcome.warnings.extend(transition::let_nodes_in(desired));
        }
        if let (Some(session), true) = (&session, is_changed(&|old| old.association != desired.association)) {
            outcome.warnings.extend(pods::missing_agent(session, desired).await);
        }
        outcome
            .warnings
            .extend(in_use.iter().map(|error| (format!("could not {}", error.action), format!("{}\n\n{}", error.message, error.remedy))));
        record.complete = record.complete || outcome.errors.is_empty();
        record.refused.clone_from(&outcome.refused);
        record.own_tags = own_tags(desired, if outcome.errors.is_empty() { None } else { Some(&record.own_tags) });
        // after a failure the state goes on with the former names
        match outcome.errors.is_empty() {
            true => record.owned = owned.union(&outcome.owned).cloned().collect(),
            false => record.owned.extend(outcome.owned.difference(&renamed).cloned()),
        }
        if outcome.association_id.is_some() {
            record.association_id.clone_from(&outcome.association_id);
        }
        if outcome.errors.is_empty() {
            record.found.settle(desired);
            record.tags = cx.tags.wanted.clone();
            match in_use.is_empty() {
                true => record.leftovers.clear(),
                false => self.remember(record, prior),
            }
        } else {
            record.tags.extend(cx.tags.wanted.clone());
            if !creating && (!renamed.is_empty() || former != place) {
                self.remember(record, planned);
            }
        }
        Ok(answer(&target, request, outcome))
    }

    /// Reads everything again.
    pub(super) async fn refresh(&self, request: ReadRequest) -> ReadResponse {
        let ReadRequest { current_state, private } = request;
        let mut record = Record::read(&private);
        let mut diagnostics = Diagnostics::default();
        if let Some((namespace, release)) = &record.moved {
            return match self.complete_move(&current_state, namespace, release).await {
                Ok(ImportResponse { state, private, diagnostics }) => ReadResponse { new_state: state, private, diagnostics },
                Err(error) => ReadResponse { new_state: current_state, private, diagnostics: error.into() },
            };
        }
        let new_state = match self.try_refresh(&current_state, &mut record, &mut diagnostics).await {
            Ok(state) => return ReadResponse { new_state: state, private: record.write(), diagnostics },
            Err(error) if error.kind == Kind::ConfigUnknown => {
                let detail =
                    "The provider's configuration depends on values that are known only after apply, so the state is kept as it is.";
                diagnostics.warning(None, "the bundle was not refreshed", detail);
                current_state
            }
            Err(error) if is_cluster_gone(&error) => {
                if let Err(error) = self.connections.confirm_gone(current_state.attr("cluster_arn").as_str().unwrap_or_default()).await {
                    diagnostics.extend(error.into());
                    return ReadResponse { new_state: current_state, private, diagnostics };
                }
                let detail = format!(
                    "{}\n\nIts IAM roles, queue and rules may still exist, so the state is kept as it is. A destroy removes them.",
                    error.message
                );
                diagnostics.warning(None, "the bundle's cluster is gone", detail);
                current_state
            }
            Err(error) => {
                diagnostics.extend(error.into());
                current_state
            }
        };
        ReadResponse { new_state, private, diagnostics }
    }

    async fn try_refresh(&self, state: &Value, record: &mut Record, diagnostics: &mut Diagnostics) -> Result<Value, Error> {
        let connection = self.reach(state).await?;
        let kubernetes = connection.cluster.kubernetes_version.clone();
        let Target { desired, cx, session, .. } = self.target(connection, state, record, Instant::now() + REFRESH).await?;
        if let Some(why) = mismatch(&desired.version, &kubernetes) {
            diagnostics.warning(Path::attribute("version"), "this version of Karpenter does not fit the cluster", format!("{why}."));
        }
        let live = observe::observe(&cx, &desired, &known(record, state), session.as_ref()).await?;
        let lines = live.lines(&cx, &desired, &record.owned)?;
        let stays = |key: &str| CRDS_STAY.contains(&key);
        if lines.iter().all(|(key, line)| line == MISSING || line == NOT_MANAGED || stays(key)) {
            return Ok(Value::Null);
        }
        record.association_id = live.association.as_ref().map(|live| live.id.clone());
        let mut state = state.clone();
        set_live(&mut state, &desired, &live.ids(), live.chart.as_ref().map(chart::crds_in_sync).unwrap_or_default());
        state.set("objects", map(lines));
        state.set("ready", Value::from(live.chart.as_ref().is_none_or(|chart| chart.ready)));
        state.set(
            "ready_reason",
            live.chart.as_ref().filter(|chart| !chart.ready).map_or(Value::Null, |chart| Value::from(chart.why.clone())),
        );
        if desired.queue.is_some() {
            state.set("queue_url", live.queue.as_ref().map_or(Value::Null, |queue| Value::from(queue.url.clone())));
        }
        Ok(state)
    }

    /// The connection to the cluster of a state or a plan: the recorded one where there is one.
    pub(super) async fn reach(&self, state: &Value) -> Result<Arc<Connection>, Error> {
        match state.attr("cluster_arn").as_str().filter(|arn| !arn.is_empty()) {
            Some(arn) => self.connections.connect(arn).await,
            None => self.connections.choose(&self.connections.cluster(state.attr("cluster_name"))).await,
        }
    }

    /// What a state or a plan wants, with everything to bring it about.
    pub(super) async fn target(
        &self,
        connection: Arc<Connection>,
        state: &Value,
        record: &Record,
        deadline: Instant,
    ) -> Result<Target, Error> {
        let place = Place::of_cluster(&connection.cluster).ok_or_else(|| {
            Error::new(Kind::Invalid, "find the bundle's cluster", "no EKS cluster is named")
                .remedy("Set `cluster_name` in the provider block or here.")
        })?;
        let arguments = plan::arguments(&self.schema.block, state);
        let chart = arguments.chart.clone().unwrap_or_default();
        let installs = chart.create != Some(false);
        let repository = chart.repository.unwrap_or_else(|| crate::bundle::desired::REPOSITORY.to_owned());
        let auth = self.registry_auth(&repository)?;
        let version = match &arguments.version {
            Some(text) => parse_version(text)?,
            None => chart::newest(&repository, installs, auth.as_ref()).await?,
        };
        let desired = record.found.desired(&arguments, &version, &place, &self.connections.default_tags()?)?;
        let session = if installs { Some(Session { auth, ..self.session(&connection).await? }) } else { None };
        let stale = record.tags.keys().filter(|key| !desired.tags.contains_key(*key)).cloned().collect();
        let tags = Tags { wanted: desired.tags.clone(), stale, ignored: self.connections.ignore_tags()? };
        let record = record.clone();
        let cx = Context { aws: connection.aws.clone(), place, tags, record, deadline, connections: self.connections.clone() };
        Ok(Target { connection, desired, cx, session })
    }

    /// A session that pulls no chart.
    pub(super) async fn session(&self, connection: &Connection) -> Result<Session, Error> {
        let kubernetes_version = connection.cluster.kubernetes_version.clone();
        let auto_mode = connection.cluster.auto_mode;
        Ok(Session { client: connection.kube().await?, kubernetes_version, auth: None, auto_mode })
    }

    fn registry_auth(&self, repository: &str) -> Result<Option<RegistryAuth>, Error> {
        let auth = self.connections.registry_auth(repository)?;
        Ok(auth.map(|auth| RegistryAuth { username: auth.username, password: auth.password }))
    }

    /// What a state wanted.
    pub(super) fn desired_of(&self, state: &Value, place: &Place, record: &Record) -> Result<Desired, Error> {
        parsed(&plan::arguments(&self.schema.block, state), place, record)
    }
}

/// What arguments want.
pub(super) fn parsed(arguments: &Arguments, place: &Place, record: &Record) -> Result<Desired, Error> {
    let version = arguments.version.as_deref().map_or(Ok(Version::new(1, 14, 1)), parse_version)?;
    record.found.desired(arguments, &version, place, &BTreeMap::new())
}

/// The refusals as diagnostics, before anything is written.
fn refuse(cx: &Context, desired: &Desired, live: &Observed, creating: bool, owned: &BTreeSet<String>) -> Result<(), Diagnostics> {
    let refusals = converge::refusals(cx, desired, live, creating, owned);
    if refusals.is_empty() {
        return Ok(());
    }
    let mut diagnostics = Diagnostics::default();
    refusals.into_iter().for_each(|error| diagnostics.extend(error.into()));
    Err(diagnostics)
}

/// Removes what an update does not want any more.
async fn clean_up(cx: &Context, old: &Desired, new: &Desired, record: &mut Record) -> Vec<Error> {
    let names = |desired: &Desired| -> BTreeSet<String> {
        let Desired { version: _, place: _, tags: _, credentials: _, spot_role: _, chart: _, controller_role, policies, .. } = desired;
        let Desired { association, queue, rules, node_role, access_entries, instance_profile, .. } = desired;
        let mut names = BTreeSet::from([controller_role.arn.clone(), node_role.arn.clone()]);
        names.extend(association.iter().map(|association| format!("{}/{}", association.namespace, association.service_account)));
        names.extend(access_entries.iter().map(|entry| format!("access entry {}", entry.role_arn)));
        names.extend(instance_profile.iter().map(|profile| profile.arn.clone()));
        names.extend(policies.iter().map(|policy| policy.arn.clone()).chain(rules.iter().map(|rule| rule.arn.clone())));
        names.extend(queue.iter().map(|queue| queue.arn.clone()));
        names
    };
    if names(old).is_subset(&names(new)) {
        return vec![];
    }
    let removed = remove::look_and_remove(cx, old, &Known::default(), Some(new), &record.owned, true).await;
    removed.unwrap_or_else(|error| vec![error])
}

/// The state after a change. Where an update failed, the prior arguments stay, so that the next plan shows what is left to do.
fn answer(target: &Target, request: &ApplyRequest, outcome: Outcome) -> (Value, Diagnostics) {
    let Outcome {
        lines,
        owned: _,
        refused: _,
        association_id: _,
        association_created: _,
        ids,
        crds,
        queue_url,
        ready,
        why,
        warnings,
        errors,
    } = outcome;
    let mut diagnostics = Diagnostics::default();
    warnings.into_iter().for_each(|(summary, detail)| diagnostics.warning(None, summary, detail));
    let failed = !errors.is_empty();
    errors.into_iter().for_each(|error| diagnostics.extend(error.into()));
    if !failed && !ready {
        let detail = format!("{why}\n\n`ready` is false; nothing needs to be applied again once the cause is gone.");
        diagnostics.warning(None, "Karpenter's controller is not ready", detail);
    }
    if failed && !request.prior_state.is_null() {
        let mut state = request.prior_state.clone();
        state.set("objects", map(lines));
        return (state, diagnostics);
    }
    let mut observed = Value::object(plan::outputs(&target.desired));
    observed.set("cluster_name", Value::from(target.connection.cluster.name.clone()));
    observed.set("version", Value::from(target.desired.version.to_string()));
    observed.set("queue_url", queue_url.map_or(Value::Null, Value::from));
    observed.set("ready", Value::from(ready));
    observed.set("ready_reason", if ready { Value::Null } else { Value::from(why) });
    set_live(&mut observed, &target.desired, &ids, crds);
    observed.set("objects", map(lines));
    (convert::settle(&request.planned_state, &observed), diagnostics)
}

/// The computed attributes that AWS and the cluster choose.
pub(super) fn set_live(state: &mut Value, desired: &Desired, ids: &BTreeMap<&'static str, String>, crds: Vec<String>) {
    for name in ["controller_role_unique_id", "node_role_unique_id", "instance_profile_unique_id", "access_entry_arn"] {
        state.set(name, ids.get(name).map_or(Value::Null, |id| Value::from(id.clone())));
    }
    let version = Value::from(desired.version.to_string());
    state.set("crd_versions", Value::object(crds.into_iter().map(|name| (name, version.clone()))));
}

/// Keys of tags that single objects have of their own; after a failure, those of before, too.
fn own_tags(desired: &Desired, before: Option<&BTreeMap<String, BTreeSet<String>>>) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys = before.cloned().unwrap_or_default();
    for role in [&desired.controller_role, &desired.node_role] {
        let own = role.made.iter().flat_map(|made| made.tags.keys().cloned());
        keys.entry(role.key.to_owned()).or_default().extend(own);
    }
    keys
}

/// What saves calls.
pub(super) fn known(record: &Record, state: &Value) -> Known {
    Known { association_id: record.association_id.clone(), queue_url: state.attr("queue_url").as_str().map(str::to_owned) }
}

pub(super) fn map(lines: BTreeMap<String, String>) -> Value {
    Value::object(lines.into_iter().map(|(key, line)| (key, Value::from(line))))
}

pub(super) fn deadline(state: &Value, operation: &str, otherwise: Duration) -> Instant {
    let written = state.attr("timeouts").first().attr(operation).as_str().and_then(formats::seconds);
    Instant::now() + written.map_or(otherwise, Duration::from_secs)
}

/// Whether EKS says that there is no such cluster.
pub(super) fn is_cluster_gone(error: &Error) -> bool {
    error.kind == Kind::NotFound && error.action.starts_with("eks:DescribeCluster")
}
