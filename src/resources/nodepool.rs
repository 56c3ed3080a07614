//! `karpenter_nodepool`: the NodePool kind, declared once.

#![expect(missing_docs, reason = "the enums' variants are Karpenter's own words")]

use std::collections::BTreeMap;

use kube::CustomResource;
use kube::core::ApiResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::object::{Common, Kind};
use super::{formats, labels, metadata::Metadata};
use crate::tofu::convert;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::{Path, Step};
use crate::tofu::schema::Schema;
use crate::tofu::value::Value;

/// Karpenter launches nodes for pending pods from a NodePool: what they may be, how many, and when they go again.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a declaration, walked as JSON schema")]
struct NodePoolResource {
    #[schemars(extend("x-tofu" = {"flatten": true, "text": "placeholders"}))]
    metadata: Metadata,
    #[schemars(extend("x-tofu" = {"flatten": true, "soft": true, "text": "placeholders"}))]
    spec: NodePoolSpec,
    #[schemars(extend("x-tofu" = {"flatten": true}))]
    common: Common,
    /// The node selector that sends a pod to this pool's nodes: `karpenter.sh/nodepool` and the pool's name.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    node_selector: BTreeMap<String, String>,
    /// The tolerations that a pod needs for this pool's nodes, one for each `taint`: `Equal` with a value, `Exists` without.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    tolerations: Vec<Toleration>,
}

/// One toleration, as a pod template has it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a declaration, walked as JSON schema")]
struct Toleration {
    key: String,
    operator: String,
    value: Option<String>,
    effect: String,
}

/// The spec of a NodePool, `karpenter.sh/v1`.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "karpenter.sh", version = "v1", kind = "NodePool", doc = "A pool of nodes")]
#[serde(rename_all = "camelCase")]
pub struct NodePoolSpec {
    /// When and how nodes may be removed or replaced.
    #[schemars(extend("x-tofu" = {"server_default": [{"consolidateAfter": "0s", "consolidationPolicy": "WhenEmptyOrUnderutilized"}]}))]
    pub disruption: Option<Disruption>,
    /// Most resources that all nodes of the pool may have together, e.g. `{ cpu = "1000", memory = "4000Gi" }`.
    #[schemars(extend("x-tofu" = {"values": "quantity", "keys": "label_key", "open": true}))]
    pub limits: Option<BTreeMap<String, String>>,
    /// Number of nodes of a static pool; excludes `weight` and every limit but `nodes`. Adding or removing it replaces the pool.
    #[schemars(range(min = 0, max = 2_147_483_647))] // the scale subresource has 32 bits
    #[schemars(extend("x-tofu" = {"since": "1.8.0"}))]
    pub replicas: Option<i64>,
    /// What nodes of the pool look like.
    #[schemars(extend("x-tofu" = {"outdates": "all"}))] // Karpenter hashes it, without the requirements
    pub template: NodePoolTemplate,
    /// Priority among pools that fit a pod: the highest is tried first.
    #[schemars(range(min = 1, max = 100))]
    pub weight: Option<i32>,
}

/// When and how nodes may be removed or replaced.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// How many nodes may be disrupted at once; the smallest that applies counts.
    #[schemars(length(max = 50), extend("x-tofu" = {"name": "budget", "set": true, "server_default": [{"nodes": "10%"}]}))]
    pub budgets: Option<Vec<Budget>>,
    /// How long a node must be without change before it may be consolidated, or `Never`.
    #[schemars(extend("x-tofu" = {"format": "duration_or_never"}))]
    pub consolidate_after: String,
    /// Which nodes may be consolidated.
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "server_default": "WhenEmptyOrUnderutilized",
        "since_values": {"Balanced": "1.14.0"}}))]
    pub consolidation_policy: Option<ConsolidationPolicy>,
}

/// Which nodes may be consolidated.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub enum ConsolidationPolicy {
    WhenEmpty,
    WhenEmptyOrUnderutilized,
    Balanced,
}

/// How many nodes may be disrupted at once.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// How long the budget is active from each time of its `schedule` on, in hours and minutes.
    #[schemars(extend("x-tofu" = {"format": "hours_and_minutes"}))]
    pub duration: Option<String>,
    /// A number of nodes or a percentage of the pool's; `10%` where left out.
    #[schemars(extend("x-tofu" = {"format": "nodes"}))]
    pub nodes: Option<String>,
    /// Reasons for which it holds; all where left out.
    #[schemars(length(max = 50), extend("x-tofu" = {"set": true}))]
    pub reasons: Option<Vec<DisruptionReason>>,
    /// When it becomes active: cron with five fields, or a macro such as `@daily`, in UTC.
    #[schemars(extend("x-tofu" = {"format": "cron"}))]
    pub schedule: Option<String>,
}

/// Why a node is disrupted.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub enum DisruptionReason {
    Underutilized,
    Empty,
    Drifted,
}

/// What nodes of the pool look like.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub struct NodePoolTemplate {
    /// Labels and annotations of the nodes.
    #[schemars(extend("x-tofu" = {"flatten": true}))]
    #[serde(default)]
    pub metadata: Option<TemplateMetadata>,
    /// Their spec.
    #[schemars(extend("x-tofu" = {"flatten": true}))]
    pub spec: NodeClaimTemplateSpec,
}

/// Labels and annotations of the nodes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub struct TemplateMetadata {
    /// Annotations of the nodes.
    #[schemars(extend("x-tofu" = {"keys": "annotation_key", "open": true, "text": "lenient"}))]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Labels of the nodes.
    #[schemars(extend("maxProperties" = 100, "x-tofu" = {"keys": "label_key", "values": "label_value", "since_values": labels::since()}))]
    pub labels: Option<BTreeMap<String, String>>,
}

/// What a node of the pool is.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeClaimTemplateSpec {
    /// How long a node lives at most, or `Never`.
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "server_default": "720h", "format": "duration_or_never"}))]
    pub expire_after: Option<String>,
    /// The node class that says how nodes are launched.
    pub node_class_ref: NodeClassRef,
    /// Constraints on the nodes by label, for operators other than `In`, or for `In` where that is preferred.
    #[schemars(length(max = 100), extend("x-tofu" = {"name": "requirement", "set": true, "outdates": "some"}))]
    #[serde(default)]
    pub requirements: Vec<Requirement>,
    /// Constraints with operator `In`, the usual case: the values allowed for each label. May stand beside `requirement`.
    #[serde(default, skip_serializing)]
    #[schemars(extend("x-tofu" = {"name": "requirements", "keys": "label_key", "values": "label_value", "set": true, "outdates": "some"}))]
    pub requirements_in: Option<BTreeMap<String, Vec<String>>>,
    /// Taints that a node has until something else removes them; pods need not tolerate them.
    #[schemars(extend("x-tofu" = {"name": "startup_taint", "set": true}))]
    pub startup_taints: Option<Vec<Taint>>,
    /// Taints of the nodes: only pods that tolerate them are placed there.
    #[schemars(extend("x-tofu" = {"name": "taint", "set": true}))]
    pub taints: Option<Vec<Taint>>,
    /// How long a node drains before its pods are deleted by force.
    #[schemars(extend("x-tofu" = {"format": "duration"}))]
    pub termination_grace_period: Option<String>,
}

/// The node class that says how nodes are launched.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub struct NodeClassRef {
    /// API group of the class.
    #[schemars(regex(pattern = r"^[^/]*$"), length(min = 1))]
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "default": "karpenter.k8s.aws", "requires_replace": true}))]
    pub group: Option<String>,
    /// Kind of the class.
    #[schemars(length(min = 1))]
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "default": "EC2NodeClass", "requires_replace": true}))]
    pub kind: Option<String>,
    /// Name of the class.
    #[schemars(extend("x-tofu" = {"format": "object_name"}))]
    pub name: String,
}

/// A constraint on the nodes by label.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// Label key, e.g. `karpenter.k8s.aws/instance-category`.
    #[schemars(length(max = 316), extend("x-tofu" = {"format": "label_key", "since_values": labels::since()}))]
    pub key: String,
    /// Least number of different values that must stay possible.
    #[schemars(range(min = 1, max = 50))]
    pub min_values: Option<i32>,
    /// How the label relates to the values.
    #[schemars(extend("x-tofu" = {"since_values": {"Gte": "1.9.0", "Lte": "1.9.0"}}))]
    pub operator: Operator,
    /// The values; none for `Exists` and `DoesNotExist`, one number for `Gt`, `Gte`, `Lt` and `Lte`.
    #[schemars(extend("x-tofu" = {"set": true, "values": "label_value"}))]
    pub values: Option<Vec<String>>,
}

/// How a label relates to values.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub enum Operator {
    Gte,
    Lte,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

/// A taint of the nodes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// What happens to pods that do not tolerate it.
    pub effect: TaintEffect,
    /// Its key.
    #[schemars(length(min = 1), extend("x-tofu" = {"format": "label_key"}))]
    pub key: String,
    /// When it was added, in RFC 3339.
    #[schemars(extend("x-tofu" = {"format": "date_time"}))]
    pub time_added: Option<String>,
    /// Its value.
    #[schemars(extend("x-tofu" = {"format": "taint_value"}))]
    pub value: Option<String>,
}

/// What happens to pods that do not tolerate a taint.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub enum TaintEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

/// The NodePool kind.
pub struct NodePoolKind;

impl Kind for NodePoolKind {
    const TYPE_NAME: &'static str = "karpenter_nodepool";
    const KIND: &'static str = "NodePool";
    const OUTPUTS: &'static [&'static str] = &["node_selector", "tolerations"];
    const STATUS: &'static [&'static str] = &["ready"];
    const FIXED_PRESENCE: &'static [&'static str] = &["replicas"];

    fn schema() -> Schema {
        Schema::of::<NodePoolResource>(0, formats::FORMATS)
    }

    fn api_resource() -> ApiResource {
        ApiResource::erase::<NodePool>(&())
    }

    fn validate(config: &Value) -> Diagnostics {
        super::nodepool_rules::validate(config)
    }

    fn assemble(mut expanded: Json) -> Json {
        let spec = &mut expanded["spec"]["template"]["spec"];
        let Some(object) = spec.as_object_mut() else { return expanded };
        let by_label = object.remove("requirementsIn");
        let by_label = by_label.as_ref().and_then(Json::as_object).into_iter().flatten();
        let mut all: Vec<Json> = object.remove("requirements").and_then(|r| r.as_array().cloned()).unwrap_or_default();
        all.extend(by_label.map(|(key, values)| json!({"key": key, "operator": "In", "values": values})));
        object.insert("requirements".into(), Json::Array(all));
        expanded
    }

    fn disassemble(live: &mut Json, prior: &Value, resolve: &dyn Fn(&str) -> String, import: bool) {
        let template = prior.attr("template").first();
        let written =
            |key: &str| template.attr("requirement").items().iter().any(|r| r.attr("key").as_str().is_some_and(|k| resolve(k) == key));
        let by_label = template.attr("requirements");
        let in_map = |r: &Json| {
            let key = r["key"].as_str().unwrap_or_default();
            let plain = r["operator"] == "In" && r["minValues"].is_null();
            plain && (import || (!by_label.is_null() && (by_label.entries().any(|(k, _)| resolve(k) == key) || !written(key))))
        };
        let spec = &mut live["spec"]["template"]["spec"];
        let Some(object) = spec.as_object_mut() else { return };
        let Some(Json::Array(all)) = object.remove("requirements") else { return };
        let (map, list): (Vec<Json>, Vec<Json>) = all.into_iter().partition(in_map);
        // the same label twice cannot stand in a map: both stay blocks
        let (map, twice): (Vec<Json>, Vec<Json>) = {
            let keys: Vec<Json> = map.iter().map(|r| r["key"].clone()).collect();
            map.into_iter().partition(|r| keys.iter().filter(|k| **k == r["key"]).count() == 1)
        };
        if !map.is_empty() || !by_label.is_null() {
            let entries = map.iter().map(|r| (r["key"].as_str().unwrap_or_default().to_owned(), r["values"].clone()));
            object.insert("requirementsIn".into(), Json::Object(entries.collect()));
        }
        object.insert("requirements".into(), Json::Array(list.into_iter().chain(twice).collect()));
    }

    fn plan_outputs(planned: &mut Value, prior: &Value) {
        let selector = match planned.attr("name") {
            Value::String(name) => Value::object([("karpenter.sh/nodepool", Value::from(name.clone()))]),
            _ => Value::unknown(),
        };
        planned.set("node_selector", selector);
        let taints = planned.attr("template").first().attr("taint");
        // the API server's order of the same taints is as good as ours
        let unchanged = !prior.attr("tolerations").is_null() && taints == prior.attr("template").first().attr("taint");
        let tolerations = match planned.attr("template") {
            Value::Unknown(_) => Value::unknown(),
            _ if unchanged => prior.attr("tolerations").clone(),
            // taints that another client owns as well stay
            _ if taints.items().is_empty() && !prior.attr("tolerations").items().is_empty() => Value::unknown(),
            _ => tolerations(taints),
        };
        planned.set("tolerations", tolerations);
    }

    /// The API's list of requirements holds the blocks first, then the map's entries.
    fn locate(field: &[Step], planned: &Value) -> Option<Path> {
        let path = ["spec", "template", "spec", "requirements"].map(|key| Step::Attribute(key.to_owned()));
        let Some([Step::Index(index), ..]) = field.strip_prefix(path.as_slice()) else { return None };
        let template = planned.attr("template").first();
        let blocks = template.attr("requirement").items().len();
        let (key, _) = template.attr("requirements").entries().nth(index.checked_sub(blocks)?)?;
        Some(Path::attribute("template").index(0).child("requirements").key(key))
    }

    fn observe_outputs(live: &Json) -> Vec<(&'static str, Json)> {
        let taints = convert::at(live, &["spec", "template", "spec", "taints"].map(str::to_owned));
        let tolerations = taints.and_then(Json::as_array).into_iter().flatten().map(|taint| {
            let mut toleration = json!({"key": taint["key"], "effect": taint["effect"], "operator": "Exists"});
            if let Some(value) = taint["value"].as_str().filter(|v| !v.is_empty()) {
                toleration["operator"] = json!("Equal");
                toleration["value"] = json!(value);
            }
            toleration
        });
        let mut tolerations: Vec<Json> = tolerations.collect();
        tolerations.sort_by_key(|t| order(|name| t[name].as_str().unwrap_or_default().to_owned()));
        vec![("nodeSelector", json!({"karpenter.sh/nodepool": live["metadata"]["name"]})), ("tolerations", Json::Array(tolerations))]
    }
}

/// Whether every taint is known and free of placeholders, so that its toleration is.
fn known(taints: &Value) -> bool {
    let plain = |taint: &Value| taint.entries().all(|(_, v)| v.as_str().is_none_or(|text| !text.contains("{{")));
    taints.is_wholly_known() && taints.items().iter().all(plain)
}

fn tolerations(taints: &Value) -> Value {
    if !known(taints) {
        return Value::unknown();
    }
    let one = |taint: &Value| {
        let value = taint.attr("value").as_str().filter(|v| !v.is_empty());
        Value::object([
            ("key", taint.attr("key").clone()),
            ("operator", Value::from(if value.is_some() { "Equal" } else { "Exists" })),
            ("value", value.map_or(Value::Null, Value::from)),
            ("effect", taint.attr("effect").clone()),
        ])
    };
    let mut tolerations: Vec<Value> = taints.items().iter().map(one).collect();
    tolerations.sort_by_key(|t| order(|name| t.attr(name).as_str().unwrap_or_default().to_owned()));
    Value::List(tolerations)
}

/// Tolerations have an order of their own: that of the taints is nobody's.
fn order(attribute: impl Fn(&str) -> String) -> [String; 3] {
    ["key", "effect", "value"].map(attribute)
}

#[cfg(test)]
mod tests;
