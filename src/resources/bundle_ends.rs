//! The steps of `karpenter_bundle` with clients at its ends: import and destroy.

use std::time::Duration;

use tokio::time::Instant;

use super::bundle::Bundle;
use super::bundle_steps::{deadline, is_cluster_gone, known, map};
use crate::bundle::chart;
use crate::bundle::context::{Context, Tags};
use crate::bundle::desired::Place;
use crate::bundle::nodes;
use crate::bundle::observe::{self, CRDS_STAY, MISSING, NOT_MANAGED, Observed};
use crate::bundle::plan;
use crate::bundle::record::Record;
use crate::bundle::remove::{self, Removal};
use crate::helm;
use crate::provider::Connection;
use crate::tofu::convert;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::resource::{ApplyRequest, ApplyResponse, ImportResponse};
use crate::tofu::value::Value;
use crate::{Error, Kind};

/// How long a destroy may take where nothing else is said.
const DESTROY: Duration = Duration::from_secs(15 * 60);
/// How long an import may take.
const IMPORT: Duration = Duration::from_secs(2 * 60);

impl Bundle {
    /// Destroys the bundle; what fails leaves the prior state, and another destroy goes on from there.
    pub(super) async fn destroy(&self, request: ApplyRequest) -> ApplyResponse {
        let ApplyRequest { prior_state, planned_private, .. } = request;
        let mut diagnostics = Diagnostics::default();
        let errors = match self.try_destroy(&prior_state, &Record::read(&planned_private)).await {
            Ok(errors) => errors,
            Err(error) => vec![error],
        };
        if errors.is_empty() {
            return ApplyResponse::default();
        }
        errors.into_iter().for_each(|error| diagnostics.extend(error.into()));
        ApplyResponse { new_state: prior_state, private: planned_private, diagnostics }
    }

    async fn try_destroy(&self, state: &Value, record: &Record) -> Result<Vec<Error>, Error> {
        let deadline = deadline(state, "delete", DESTROY);
        let place = state.attr("cluster_arn").as_str().and_then(Place::of_arn);
        let place = place.ok_or_else(|| Error::new(Kind::Invalid, "destroy the bundle", "the state names no cluster"))?;
        let (connection, cluster_exists) = match self.reach(state).await {
            Ok(connection) => (connection, true),
            Err(error) if is_cluster_gone(&error) => (self.account(&place, error).await?, false),
            Err(error) => return Err(error),
        };
        let desired = self.desired_of(state, &place)?;
        let tags = Tags { wanted: desired.tags.clone(), ..Tags::default() };
        let cx = Context { aws: connection.aws.clone(), place, tags, deadline, connections: self.connections.clone() };
        if let (Some(want), true) = (&desired.chart, cluster_exists) {
            let session = self.session(&connection).await?;
            release_nodes(&session.client, state, record, deadline).await?;
            chart::remove(&session, want).await?;
        }
        let live = match cluster_exists {
            true => observe::observe(&cx, &desired, &known(record, state), None).await?,
            false => observe::observe_without_cluster(&cx, &desired, &known(record, state)).await?,
        };
        Ok(remove::remove(&cx, Removal { old: &desired, live: &live, keep: None, owned: &record.owned, cluster_exists }).await)
    }

    /// AWS clients of the place of a cluster that is gone.
    async fn account(&self, place: &Place, gone: Error) -> Result<std::sync::Arc<Connection>, Error> {
        let connection = self.connections.connect("").await?;
        let here = (&connection.cluster.region, &connection.cluster.account_id) == (&place.region, &place.account);
        if here { Ok(connection) } else { Err(gone.remedy(format!("Set the provider's region to {} and use credentials of {}.", place.region, place.account))) }
    }

    /// A finished bundle with the default names, by its cluster's name or ARN.
    pub(super) async fn take_in(&self, id: &str) -> Result<ImportResponse, Error> {
        let connection = self.connections.connect(id).await?;
        let mut state = convert::from_json(&self.schema.block.ty(), &serde_json::json!({}));
        for block in &self.schema.block.blocks {
            state.set(&block.name, Value::List(vec![]));
        }
        for (name, value) in [("namespace", "kube-system"), ("service_account", "karpenter"), ("credentials", "pod_identity")] {
            state.set(name, Value::from(value));
        }
        state.set("force_destroy", Value::from(false));
        state.set("cluster_name", Value::from(connection.cluster.name.clone()));
        state.set("cluster_arn", Value::from(connection.cluster.arn.clone()));
        let session = self.session(&connection).await?;
        let release = helm::read(&session.client, "kube-system", "karpenter").await?;
        if let Some(record) = release.as_ref().and_then(helm::Release::live) {
            state.set("version", Value::from(record.chart_version()));
        }
        let mut record = Record { complete: true, ..Record::default() };
        let target = self.target(connection, &state, &record, Instant::now() + IMPORT).await?;
        let (cx, desired) = (&target.cx, &target.desired);
        let live = observe::observe(cx, desired, &known(&record, &state), target.session.as_ref()).await?;
        let lines = live.lines(cx, desired, &record.owned)?;
        if lines.iter().all(|(key, line)| line == MISSING || line == NOT_MANAGED || CRDS_STAY.contains(&key.as_str())) {
            let message = format!("nothing of it exists on cluster {}", desired.place.arn());
            return Err(Error::new(Kind::NotFound, format!("import the bundle {id:?}"), message).remedy("Leave out the import block to create it."));
        }
        record.owned = owned(cx, &live, &target.desired);
        record.association_id = live.association.as_ref().map(|live| live.id.clone());
        state.set("version", Value::from(desired.version.to_string()));
        state.set("objects", map(live.lines(cx, desired, &record.owned)?));
        state.set("ready", Value::from(live.chart.as_ref().is_none_or(|chart| chart.ready)));
        state.set("queue_url", live.queue.as_ref().map_or(Value::Null, |queue| Value::from(queue.url.clone())));
        plan::outputs(desired).into_iter().for_each(|(name, value)| state.set(name, value));
        Ok(ImportResponse { state, private: record.write(), ..ImportResponse::default() })
    }
}

/// What an import makes the bundle's: everything that is there, but not a node role and its access entry that nobody tagged.
fn owned(cx: &Context, live: &Observed, desired: &crate::bundle::desired::Desired) -> std::collections::BTreeSet<String> {
    let optional = [desired.node_role.key, observe::ACCESS_ENTRY];
    live.tags(desired).into_keys().filter(|key| !optional.contains(&key.as_str()) || observe::is_ours(cx, live, desired, key)).collect()
}

/// Nodes go before the controller does, or nothing would ever remove them.
async fn release_nodes(client: &kube::Client, state: &Value, record: &Record, deadline: Instant) -> Result<(), Error> {
    if !record.complete {
        let remedy = "The bundle's create did not finish, so it is to be replaced. To keep it, run `tofu untaint` with its address \
                      (such as karpenter_bundle.this) and apply again.";
        return nodes::refuse_while_in_use(client, true, remedy, deadline).await;
    }
    if state.attr("force_destroy").as_bool() == Some(true) {
        return nodes::delete_all(client, deadline).await;
    }
    let remedy = "Delete the node pools and node classes first and let Karpenter remove their nodes, or apply force_destroy = true before.";
    nodes::refuse_while_in_use(client, false, remedy, deadline).await
}
