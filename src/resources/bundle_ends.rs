//! The step of `karpenter_bundle` with clients at its end: destroy. Import is in [`super::bundle_import`].

use std::time::Duration;

use tokio::time::Instant;

use super::bundle::Bundle;
use super::bundle_leftovers;
use super::bundle_steps::{deadline, is_cluster_gone, known};
use crate::bundle::chart;
use crate::bundle::context::Context;
use crate::bundle::desired::Place;
use crate::bundle::import_aws;
use crate::bundle::nodes;
use crate::bundle::record::Record;
use crate::bundle::remove;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::resource::{ApplyRequest, ApplyResponse};
use crate::tofu::value::Value;
use crate::{Error, Kind};

/// How long a destroy may take where nothing else is said.
const DESTROY: Duration = Duration::from_secs(15 * 60);

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
        // of the cluster as it is now: it may know no access entries
        let place = connection.as_ref().and_then(|connection| Place::of_cluster(&connection.cluster)).unwrap_or(place);
        let desired = self.desired_of(state, &place, record)?;
        let cx = Context { deadline, ..Context::to_look(aws, &desired, self.connections.clone()) };
        let cluster_exists = connection.is_some();
        let leftovers = bundle_leftovers::leftovers(record, &place);
        if let (Some(want), Some(connection)) = (&desired.chart, &connection) {
            let session = self.session(connection).await?;
            self.release_nodes(&session.client, state, record, deadline).await?;
            // A create that failed before its chart has not taken over the release that was there.
            if record.complete || record.owned.contains(chart::CHART) {
                chart::remove(&session, want).await?;
                let remedy = "Karpenter launched them while it was being removed. Apply the bundle again, so that it can take them away, and \
                              then destroy it.";
                nodes::refuse_while_in_use(&session.client, true, remedy, deadline).await?;
            }
        }
        if let Some(connection) = connection.as_ref().filter(|_| leftovers.iter().any(|left| left.chart.is_some())) {
            let errors = bundle_leftovers::uninstall(&self.session(connection).await?, &leftovers, &[]).await;
            if !errors.is_empty() {
                return Ok(errors);
            }
        }
        if desired.controller_role.made.is_some() && record.owned.contains(desired.controller_role.key) {
            import_aws::retire_inline(&cx, &record.found).await?;
        }
        // A second look, since the first may have been too early for what was made seconds before, or have missed what is in the way of
        // the rest; what is still seen goes again.
        let mut errors = vec![];
        for _ in 0..2 {
            errors = remove::look_and_remove(&cx, &desired, &known(record, state), None, &record.owned, cluster_exists).await?;
            if errors.iter().any(|error| error.kind != Kind::Conflict) {
                break;
            }
        }
        if errors.is_empty() {
            errors = bundle_leftovers::remove(&cx, &leftovers, None, cluster_exists).await;
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
}
