//! The steps of `karpenter_bundle` with clients at its ends: import and destroy.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::bundle::Bundle;
use super::bundle_steps::{deadline, is_cluster_gone, known, map};
use crate::bundle::association;
use crate::bundle::chart;
use crate::bundle::context::Context;
use crate::bundle::desired::{Association, Place};
use crate::bundle::names::{QUEUE_LIMIT, ROLE_LIMIT, within};
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
        let (aws, connection) = match self.reach(state).await {
            Ok(connection) => (connection.aws.clone(), Some(connection)),
            Err(error) if is_cluster_gone(&error) => (self.connections.confirm_gone(&place.arn()).await?, None),
            Err(error) => return Err(error),
        };
        let desired = self.desired_of(state, &place)?;
        let cx = Context { deadline, ..Context::to_look(aws, &desired, self.connections.clone()) };
        let cluster_exists = connection.is_some();
        if let (Some(want), Some(connection)) = (&desired.chart, &connection) {
            let session = self.session(connection).await?;
            self.release_nodes(&session.client, state, record, deadline).await?;
            // A create that failed before its chart has not taken over the release that was there.
            if record.complete || record.owned.contains(chart::CHART) {
                chart::remove(&session, want).await?;
            }
        }
        // A second look, since the first may have been too early for what was made seconds before; what is still seen goes again.
        let mut errors = vec![];
        for _ in 0..2 {
            let live = match cluster_exists {
                true => observe::observe(&cx, &desired, &known(record, state), None).await?,
                false => observe::observe_without_cluster(&cx, &desired, &known(record, state)).await?,
            };
            errors = remove::remove(&cx, Removal { old: &desired, live: &live, keep: None, owned: &record.owned, cluster_exists }).await;
            if !errors.is_empty() {
                break;
            }
        }
        Ok(errors)
    }

    /// Nodes go before the controller does, or nothing would ever remove them.
    async fn release_nodes(&self, client: &kube::Client, state: &Value, record: &Record, deadline: Instant) -> Result<(), Error> {
        if !record.complete {
            let remedy = "The bundle's create did not finish, so it is to be replaced. To keep it, run `tofu untaint` with its address \
                          (such as karpenter_bundle.this) and apply again.";
            return nodes::refuse_while_in_use(client, true, remedy, deadline).await;
        }
        if state.attr("force_destroy").as_bool() == Some(true) {
            return nodes::delete_all(client, self.connections.stopped(), deadline).await;
        }
        let remedy =
            "Delete the node pools and node classes first and let Karpenter remove their nodes, or apply force_destroy = true before.";
        nodes::refuse_while_in_use(client, false, remedy, deadline).await
    }

    /// A finished bundle, by its cluster's name or ARN: the release in kube-system leads to the names that it was made with.
    pub(super) async fn take_in(&self, id: &str) -> Result<ImportResponse, Error> {
        let connection = self.connections.connect(id).await?;
        let session = self.session(&connection).await?;
        let found = found(&connection, &session.client, Instant::now() + IMPORT).await?;
        let mut state = convert::from_json(&self.schema.block.ty(), &found);
        for block in self.schema.block.blocks.iter().filter(|block| found.get(&block.name).is_none()) {
            state.set(&block.name, Value::List(vec![]));
        }
        let mut record = Record { complete: true, ..Record::default() };
        let target = self.target(connection, &state, &record, Instant::now() + IMPORT).await?;
        let (cx, desired) = (&target.cx, &target.desired);
        let live = observe::observe(cx, desired, &known(&record, &state), target.session.as_ref()).await?;
        let lines = live.lines(cx, desired, &record.owned)?;
        if lines.iter().all(|(key, line)| line == MISSING || line == NOT_MANAGED || CRDS_STAY.contains(&key.as_str())) {
            let message = format!("nothing of it exists on cluster {}", desired.place.arn());
            return Err(
                Error::new(Kind::NotFound, format!("import the bundle {id:?}"), message).remedy("Leave out the import block to create it.")
            );
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

/// What the cluster tells of a bundle's arguments, as the state's JSON; names that are the default ones are left out.
async fn found(connection: &Connection, client: &kube::Client, deadline: Instant) -> Result<Json, Error> {
    let cluster = &connection.cluster;
    let mut state = json!({
        "cluster_name": cluster.name,
        "cluster_arn": cluster.arn,
        "namespace": "kube-system",
        "service_account": "karpenter",
        "credentials": "pod_identity",
        "force_destroy": false,
    });
    let Some(place) = Place::of_arn(&cluster.arn) else { return Ok(state) };
    let release = helm::read(client, "kube-system", "karpenter").await?;
    if let Some(record) = release.as_ref().and_then(helm::Release::live) {
        let config = Json::Object(record.config());
        state["version"] = json!(record.chart_version());
        if let Some(name) = config.pointer("/serviceAccount/name").and_then(Json::as_str) {
            state["service_account"] = json!(name);
        }
        match config.pointer("/settings/interruptionQueue").and_then(Json::as_str) {
            None | Some("") => state["interruption_queue"] = json!([{"enabled": false}]),
            Some(name) if *name == within(QUEUE_LIMIT, &place.cluster, "-karpenter") => {}
            Some(name) => state["interruption_queue"] = json!([{"name": name}]),
        }
    }
    let account = Association {
        namespace: "kube-system".into(),
        service_account: state["service_account"].as_str().unwrap_or_default().to_owned(),
        role_arn: String::new(),
    };
    if let Some(live) = association::observe(&connection.aws, &cluster.name, &account, None).await? {
        let path_and_name = live.role_arn.split_once(":role").map_or("", |(_, rest)| rest);
        let (path, name) = path_and_name.rsplit_once('/').unwrap_or_default();
        let default = within(ROLE_LIMIT, &place.cluster, "-karpenter-controller");
        let path = (!path.is_empty()).then(|| format!("{path}/"));
        if name != default || path.is_some() {
            state["controller_role"] = json!([{"name": name, "path": path}]);
        }
    }
    let roles = nodes::roles(client, deadline).await?;
    if let [role] = roles.iter().collect::<Vec<_>>()[..]
        && *role != within(ROLE_LIMIT, &place.cluster, "-karpenter-node-role")
    {
        state["node_role"] = json!([{"name": role}]);
    }
    Ok(state)
}

/// What an import makes the bundle's: everything that is there, but not a node role and its access entry that nobody tagged.
fn owned(cx: &Context, live: &Observed, desired: &crate::bundle::desired::Desired) -> std::collections::BTreeSet<String> {
    let optional = [desired.node_role.key, observe::ACCESS_ENTRY];
    live.tags(desired).into_keys().filter(|key| !optional.contains(&key.as_str()) || observe::is_ours(cx, live, desired, key)).collect()
}
