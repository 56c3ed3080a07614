//! `karpenter_bundle`: schema, validation and plan. What it does to a cluster is in [`super::bundle_steps`], what it consists of
//! in [`crate::bundle`].

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::formats::FORMATS;
use crate::bundle::arguments::Arguments;
use crate::bundle::chart::parse_version;
use crate::bundle::desired::Place;
use crate::bundle::found::Found;
use crate::bundle::plan;
use crate::bundle::record::Record;
use crate::helm;
use crate::provider::{ClusterChoice, Connections, at_plan};
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::plan as framework;
use crate::tofu::resource::{ApplyRequest, ApplyResponse, ImportResponse, PlanRequest, PlanResponse, ReadRequest, ReadResponse, Resource};
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
        check(config, &mut diagnostics);
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
        async move { self.take_in(&id).await.unwrap_or_else(|e| ImportResponse { diagnostics: e.into(), ..ImportResponse::default() }) }
            .boxed()
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
        } else {
            if let Some(place) = prior.attr("cluster_arn").as_str().and_then(Place::of_arn) {
                self.rename(&prior, &mut planned, &place, &record.found);
            }
            plan::update(&prior, &mut planned);
        }
        // a create's record starts anew, whatever a replacement's first plan left
        record = if prior.is_null() { Record::default() } else { record };
        record.planned = Some(plan::set_by(&config));
        PlanResponse { planned_state: planned, requires_replace, planned_private: record.write(), diagnostics }
    }

    /// Names and ARNs of a new bundle, as far as cluster and account are known.
    async fn plan_create(&self, config: &Value, planned: &mut Value) -> Diagnostics {
        let choice = self.connections.cluster(config.attr("cluster_name"));
        let ClusterChoice::Named(name) = &choice else { return Diagnostics::default() };
        planned.set("cluster_name", Value::from(name.clone()));
        let named = Place::of_arn(name);
        let (place, diagnostics) = match self.connections.choose(&choice).await {
            Ok(connection) => (Place::of_arn(&connection.cluster.arn).or(named), Diagnostics::default()),
            Err(error) => (named, at_plan(error).err().map(Diagnostics::from).unwrap_or_default()),
        };
        let only_named = || Place { partition: String::new(), region: String::new(), account: String::new(), cluster: name.clone() };
        plan::set_names(&self.schema.block, planned, &place.unwrap_or_else(only_named), &Found::default());
        diagnostics
    }

    /// Names of an existing bundle follow its arguments; where those did not change, they stay as they are.
    fn rename(&self, prior: &Value, planned: &mut Value, place: &Place, found: &Found) {
        let blocks = [("controller_role", "controller_role_"), ("node_role", "node_role_"), ("interruption_queue", "queue_")];
        let changed = blocks.into_iter().filter(|(block, _)| planned.attr(block) != prior.attr(block));
        let named = |prefix| planned.entries().map(|(name, _)| name.clone()).filter(move |name| name.starts_with(prefix));
        let names: Vec<(&str, String)> = changed.flat_map(|(block, prefix)| named(prefix).map(move |name| (block, name))).collect();
        let mut renamed = planned.clone();
        // those that do not follow yet, because of something else that is unknown, are not the old ones either
        names.iter().for_each(|(_, name)| renamed.set(name, Value::unknown()));
        plan::set_names(&self.schema.block, &mut renamed, place, found);
        for (block, name) in names {
            let known = planned.attr(block).is_wholly_known();
            planned.set(&name, if known { renamed.attr(&name).clone() } else { Value::unknown() });
        }
    }
}

/// A cluster's name and its ARN name the same cluster.
fn is_same_cluster(prior: &Value, planned: &Value) -> bool {
    let (Some(arn), Some(written)) = (prior.attr("cluster_arn").as_str(), planned.attr("cluster_name").as_str()) else { return false };
    written == arn || Place::of_arn(arn).is_some_and(|place| place.cluster == written)
}

/// Rules that a schema cannot say.
fn check(config: &Value, diagnostics: &mut Diagnostics) {
    if let Some(other) = config.attr("credentials").as_str().filter(|c| *c != "pod_identity") {
        let detail = format!("{other:?} is not supported yet; only \"pod_identity\" is.");
        diagnostics.error(Path::attribute("credentials"), "unsupported credentials", detail);
    }
    if let Some(Err(error)) = config.attr("version").as_str().map(parse_version) {
        diagnostics.extend(error.into());
    }
    let role = config.attr("controller_role").first();
    let at_role = Path::attribute("controller_role").index(0);
    match role.attr("create").as_bool() {
        Some(false) if role.attr("name").is_null() && role.attr("arn").is_null() => {
            diagnostics.error(at_role.clone(), "no controller role", "With create = false, name or arn says which role to use.");
        }
        Some(true) | None if !role.attr("create").is_unknown() && role.attr("arn").as_str().is_some() => {
            diagnostics.error(
                at_role.child("arn"),
                "a role that is made has no ARN yet",
                "Set create = false to use an existing role, or name instead of arn.",
            );
        }
        _ => {}
    }
    if let Some(path) = role.attr("path").as_str().filter(|path| !(path.starts_with('/') && path.ends_with('/'))) {
        diagnostics.error(
            at_role.child("path"),
            "not an IAM path",
            format!("{path:?} must start and end with a slash, such as \"/platform/\"."),
        );
    }
    for (key, _) in config.attr("tags").entries() {
        let reserved = ["aws:", "karpenter-tofu/"].into_iter().find(|prefix| key.to_lowercase().starts_with(prefix));
        if let Some(prefix) = reserved {
            diagnostics.error(Path::attribute("tags").key(key), "reserved tag", format!("Keys that start with {prefix:?} are taken."));
        }
    }
    for (at, text) in config.attr("chart").first().attr("values").items().iter().enumerate() {
        if let Some(Err(error)) = text.as_str().map(|text| helm::values::parse("read chart.values", &[text.to_owned()])) {
            diagnostics.extend(error.at(Path::attribute("chart").index(0).child("values").index(at)).into());
        }
    }
}
