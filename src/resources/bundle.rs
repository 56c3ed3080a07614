//! `karpenter_bundle`: schema, validation and plan. What it does to a cluster is in [`super::bundle_steps`], what it consists of
//! in [`crate::bundle`].

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::bundle_import::RELEASE;
use super::formats::FORMATS;
use super::lifecycle::moves_by_replacement;
use super::object::same_cluster;
use super::{bundle_chart, bundle_check};
use crate::bundle::arguments::Arguments;
use crate::bundle::desired::Place;
use crate::bundle::found::Found;
use crate::bundle::plan;
use crate::bundle::record::Record;
use crate::provider::{ClusterChoice, Connections, at_plan};
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::identity::IdentityAttribute;
use crate::tofu::plan as framework;
use crate::tofu::resource::{
    ApplyRequest, ApplyResponse, ImportResponse, MoveRequest, PlanRequest, PlanResponse, ReadRequest, ReadResponse, Resource,
};
use crate::tofu::schema::Schema;
use crate::tofu::validate::validate_plain;
use crate::tofu::value::Value;

/// The resource type.
pub struct Bundle {
    pub(super) schema: Schema,
    pub(super) connections: Arc<Connections>,
}

impl Bundle {
    /// Over the connections that the provider block describes.
    pub fn new(connections: Arc<Connections>) -> Self {
        Bundle { schema: Schema::of::<Arguments>(0, FORMATS), connections }
    }
}

impl Resource for Bundle {
    fn type_name(&self) -> &'static str {
        "karpenter_bundle"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        let mut diagnostics = validate_plain(&self.schema.block, config);
        bundle_check::check(config, &mut diagnostics);
        bundle_chart::check(config, &mut diagnostics);
        diagnostics
    }

    fn plan(&self, request: PlanRequest) -> BoxFuture<'_, PlanResponse> {
        self.plan_change(request).boxed()
    }

    fn apply(&self, request: ApplyRequest) -> BoxFuture<'_, ApplyResponse> {
        async move { if request.planned_state.is_null() { self.destroy(request).await } else { self.change(request).await } }.boxed()
    }

    fn read(&self, request: ReadRequest) -> BoxFuture<'_, ReadResponse> {
        self.refresh(request).boxed()
    }

    fn import(&self, id: String) -> BoxFuture<'_, ImportResponse> {
        async move { self.take_in(&id, RELEASE).await.unwrap_or_else(|e| ImportResponse { diagnostics: e.into(), ..ImportResponse::default() }) }
            .boxed()
    }

    fn move_from(&self, request: MoveRequest) -> Option<BoxFuture<'_, ImportResponse>> {
        self.take_over_release(&request).map(|response| std::future::ready(response).boxed())
    }

    fn identity(&self) -> &'static [IdentityAttribute] {
        const { &[IdentityAttribute { name: "cluster_arn", required: true, description: "ARN of the cluster that the bundle is of." }] }
    }

    fn identified(&self, identity: &Value) -> String {
        identity.attr("cluster_arn").as_str().unwrap_or_default().to_owned()
    }
}

impl Bundle {
    async fn plan_change(&self, request: PlanRequest) -> PlanResponse {
        let PlanRequest { prior_state: prior, config, prior_private, .. } = request;
        if config.is_null() {
            return PlanResponse { planned_private: prior_private, ..PlanResponse::default() };
        }
        let mut record = Record::read(&prior_private);
        let mut planned = framework::plan(&self.schema.block, &prior, &config, &|path| plan::was_set(&record.set, path));
        let mut diagnostics = Diagnostics::default();
        let mut requires_replace = framework::requires_replace(&self.schema.block, &prior, &planned);
        if is_same_cluster(&prior, &planned) {
            requires_replace.clear();
        }
        if prior.is_null() || !requires_replace.is_empty() {
            plan::forget(&mut planned);
            diagnostics.extend(self.plan_create(&config, &mut planned).await);
            let new = planned.attr("cluster_name").as_str();
            if let (Some(old), Some(new), true) = (&record.cluster, new, prior.is_null() && config.attr("cluster_name").is_null())
                && !same_cluster(old, new)
            {
                diagnostics.extend(moves_by_replacement("bundle", old, new));
            }
        } else {
            if let Some(place) = prior.attr("cluster_arn").as_str().and_then(Place::of_arn) {
                let wanted = plan::wanted(&self.schema.block, &planned, &place, &record.found);
                plan::rename(&prior, &mut planned, wanted.as_ref().ok());
                if let Ok(wanted) = &wanted {
                    diagnostics.extend(bundle_chart::warnings(&planned, wanted));
                }
                diagnostics.extend(self.review(&prior, &planned, wanted.err(), &record).await);
            }
            plan::update(&prior, &mut planned);
        }
        // a create's record starts anew, whatever a replacement's first plan left
        record = if prior.is_null() { Record::default() } else { record };
        record.planned = Some(plan::set_by(&config));
        record.cluster = prior.attr("cluster_name").as_str().map(str::to_owned);
        PlanResponse { planned_state: planned, requires_replace, planned_private: record.write(), diagnostics }
    }

    /// Names and ARNs of a new bundle, as far as cluster and account are known.
    async fn plan_create(&self, config: &Value, planned: &mut Value) -> Diagnostics {
        let choice = self.connections.cluster(config.attr("cluster_name"));
        let ClusterChoice::Named(name) = &choice else { return Diagnostics::default() };
        planned.set("cluster_name", Value::from(name.clone()));
        let named = Place::of_arn(name);
        let (place, mut diagnostics) = match self.connections.choose(&choice).await {
            Ok(connection) => (Place::of_cluster(&connection.cluster).or(named), Diagnostics::default()),
            Err(error) => (named, at_plan(error).err().map(Diagnostics::from).unwrap_or_default()),
        };
        let only_named = || Place { cluster: name.clone(), has_access_entries: true, ..Place::default() };
        let place = place.unwrap_or_else(only_named);
        let wanted = plan::wanted(&self.schema.block, planned, &place, &Found::default());
        if let Ok(wanted) = &wanted {
            let account = !place.account.is_empty();
            plan::set_names(planned, wanted, account);
            if account {
                diagnostics.extend(bundle_chart::warnings(planned, wanted));
            }
        }
        if !diagnostics.has_errors() {
            diagnostics.extend(self.review(&Value::Null, planned, wanted.err(), &Record::default()).await);
        }
        diagnostics
    }
}

/// A cluster's name and its ARN name the same cluster.
fn is_same_cluster(prior: &Value, planned: &Value) -> bool {
    let (Some(arn), Some(written)) = (prior.attr("cluster_arn").as_str(), planned.attr("cluster_name").as_str()) else { return false };
    written == arn || Place::of_arn(arn).is_some_and(|place| place.cluster == written)
}
