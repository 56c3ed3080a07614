//! An API server in memory, as far as a custom resource's object depends on it: server-side apply with owners, the CRDs' defaults,
//! what other clients and Karpenter write. The provider's pure steps stand between it and the driver, in `lifecycle`'s order.

use std::sync::Arc;

use karpenter::helm::yaml;
use karpenter::provider::Cluster;
use karpenter::resources::manifest;
use karpenter::resources::object::{ApiObject, Kind, Private};
use karpenter::resources::placeholders::Placeholders;
use karpenter::tofu::convert;
use karpenter::tofu::diagnostics::Diagnostics;
use karpenter::tofu::resource::{ApplyRequest, ApplyResponse, Resource as _};
use karpenter::tofu::value::Value;
use kube::core::DynamicObject;
use serde_json::{Map, Value as Json, json};

use super::drive::Backend;
use super::random::Random;

/// Arguments with a default of the API server's.
const DEFAULTED: [&str; 6] = [
    "/spec/disruption/consolidationPolicy",
    "/spec/template/spec/expireAfter",
    "/spec/metadataOptions/httpEndpoint",
    "/spec/metadataOptions/httpProtocolIPv6",
    "/spec/metadataOptions/httpPutResponseHopLimit",
    "/spec/metadataOptions/httpTokens",
];

/// One object, its owner's view of it, and the type that manages it.
pub struct ApiServer<K: Kind> {
    resource: Arc<ApiObject<K>>,
    live: Option<Json>,
    ours: Json,
    uids: u64,
}

impl<K: Kind> ApiServer<K> {
    /// Without an object.
    pub fn new(resource: Arc<ApiObject<K>>) -> Self {
        ApiServer { resource, live: None, ours: json!({}), uids: 0 }
    }

    /// Whether the body sets what somebody else owns to another value.
    fn conflicts(&self, body: &Json) -> bool {
        self.live.as_ref().is_some_and(|live| conflicting(&live["spec"], &body["spec"], &self.ours["spec"]))
    }

    fn server_side_apply(&mut self, body: &Json, random: &mut Random) {
        let mut live = self.live.take().unwrap_or_else(|| {
            self.uids += 1;
            json!({"metadata": {"uid": format!("uid-{}", self.uids), "generation": 0}})
        });
        let ours = std::mem::replace(&mut self.ours, body.clone());
        give_up(&mut live, &ours, body);
        overlay(&mut live, body);
        live["metadata"]["generation"] = json!(live["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        self.live = Some(live);
        self.others_write(random);
    }

    /// Defaults of the CRD, what Go's metadata leaves out, and Karpenter's status and annotations.
    fn others_write(&mut self, random: &mut Random) {
        let Some(live) = &mut self.live else { return };
        let defaults = if K::KIND == "NodePool" { node_pool_defaults } else { node_class_defaults };
        defaults(&mut live["spec"]);
        for key in ["labels", "annotations"] {
            if live["metadata"][key].as_object().is_some_and(Map::is_empty) {
                live["metadata"].as_object_mut().unwrap().remove(key);
            }
        }
        if random.once_in(2) {
            let annotations = &mut live["metadata"]["annotations"];
            annotations["karpenter.sh/hash"] = json!(random.below(1000).to_string());
        }
        if random.once_in(2) {
            let ready = ["True", "False", "Unknown"][random.below(3)];
            let generation = live["metadata"]["generation"].clone();
            live["status"] = json!({
                "conditions": [{"type": "Ready", "status": ready, "observedGeneration": generation}],
                "amis": [{"id": "ami-1", "name": "one", "requirements": []}],
                "subnets": [{"id": "subnet-1", "zone": "a", "zoneID": "z"}],
                "resources": {"cpu": "1"},
            });
        }
    }

    fn settle(&self, request: &ApplyRequest, cluster: &Cluster) -> ApplyResponse {
        let live = self.live.as_ref().map(object).unwrap();
        let observed = self.resource.observe(&live, &request.planned_state, cluster, false);
        let mut private = Private::decode(&request.planned_private);
        private.applied(live.metadata.uid.clone());
        let new_state = convert::settle(&request.planned_state, &observed);
        ApplyResponse { new_state, private: private.encode(), diagnostics: Diagnostics::default() }
    }
}

impl<K: Kind> Backend for ApiServer<K> {
    fn apply(&mut self, request: &ApplyRequest, cluster: &Cluster, random: &mut Random) -> ApplyResponse {
        if request.planned_state.is_null() {
            (self.live, self.ours) = (None, json!({}));
            return ApplyResponse::default();
        }
        let placeholders = Placeholders { cluster_name: cluster.name.clone(), ext_account_id: cluster.account_id.clone() };
        let body = self.resource.body(&request.config, &request.planned_state, &placeholders);
        let elsewhere = Placeholders { cluster_name: "?".into(), ..placeholders };
        let nameless = cluster.name.is_empty() && self.resource.body(&request.config, &request.planned_state, &elsewhere) != body;
        let recorded = request.planned_state.attr("cluster_arn").as_str();
        let refused = if recorded.is_some_and(|arn| !arn.is_empty() && arn != cluster.arn) {
            Some("another cluster")
        } else if nameless {
            Some("a placeholder that stands for nothing")
        } else if request.planned_state.attr("force_conflicts").as_bool() == Some(false) && self.conflicts(&body) {
            Some("a conflict")
        } else {
            None
        };
        if let Some(why) = refused {
            let mut diagnostics = Diagnostics::default();
            diagnostics.error(None, why, "");
            return ApplyResponse { new_state: request.prior_state.clone(), private: request.planned_private.clone(), diagnostics };
        }
        self.server_side_apply(&body, random);
        self.settle(request, cluster)
    }

    fn read(&self, state: &Value, cluster: &Cluster) -> Value {
        self.live.as_ref().map_or(Value::Null, |live| self.resource.observe(&object(live), state, cluster, false))
    }

    fn import(&self, cluster: &Cluster) -> Option<Value> {
        let prior = Value::object([("cluster_name", Value::from(cluster.name.clone()))]);
        self.live.as_ref().map(|live| self.resource.observe(&object(live), &prior, cluster, true))
    }

    fn manifest(&self, config: &Value) -> Option<Value> {
        let as_written = Placeholders { cluster_name: "{{ cluster_name }}".into(), ext_account_id: "{{ ext_account_id }}".into() };
        let body = self.resource.body(config, &Value::Null, &as_written);
        let mut manifest = config.clone();
        let block = &self.resource.schema().block;
        for name in manifest::excluded(block) {
            manifest.set(name, if block.nested(name).is_some() { Value::List(vec![]) } else { Value::Null });
        }
        manifest.set(
            "manifest",
            Value::from(if body.to_string().len().is_multiple_of(2) { body.to_string() } else { yaml::write(&body).unwrap() }),
        );
        // what a manifest cannot say (a list that is empty, say) is refused
        (!self.resource.check(&manifest).has_errors()).then_some(manifest)
    }

    fn drift(&mut self, towards: &Value, random: &mut Random) {
        let placeholders = Placeholders { cluster_name: "demo".into(), ext_account_id: "123456789012".into() };
        let other = self.resource.body(towards, &Value::Null, &placeholders);
        let Some(live) = &mut self.live else { return };
        let before = self.ours.clone();
        graft(&mut live["spec"], &other["spec"], &mut self.ours["spec"], random);
        // a known gap: such a field is planned to become its default when the configuration drops it, but another client that took
        // it over keeps it
        for place in DEFAULTED {
            if let Some(value) = before.pointer(place) {
                let path: Vec<String> = place.split('/').skip(1).map(str::to_owned).collect();
                convert::put(&mut self.ours, &path, value.clone());
            }
        }
        if random.once_in(3) {
            live["metadata"]["labels"]["someone-elses"] = json!("x");
        }
        self.others_write(random);
    }
}

fn object(live: &Json) -> DynamicObject {
    let mut live = live.clone();
    live["apiVersion"] = json!("v1");
    live["kind"] = json!("Any");
    serde_json::from_value(live).unwrap()
}

fn node_pool_defaults(spec: &mut Json) {
    default(spec, "disruption", json!({"consolidateAfter": "0s"}));
    default(&mut spec["disruption"], "budgets", json!([{"nodes": "10%"}]));
    default(&mut spec["disruption"], "consolidationPolicy", json!("WhenEmptyOrUnderutilized"));
    default(&mut spec["template"]["spec"], "expireAfter", json!("720h"));
}

fn node_class_defaults(spec: &mut Json) {
    default(spec, "metadataOptions", json!({}));
    let options = &mut spec["metadataOptions"];
    default(options, "httpEndpoint", json!("enabled"));
    default(options, "httpProtocolIPv6", json!("disabled"));
    default(options, "httpPutResponseHopLimit", json!(1));
    default(options, "httpTokens", json!("required"));
}

fn default(object: &mut Json, key: &str, value: Json) {
    if object[key].is_null() {
        object[key] = value;
    }
}

/// Maps that are one field: `template.metadata.labels`. Lists all are, or behave so.
fn is_atomic(key: &str, value: &Json) -> bool {
    !value.is_object() || key == "labels"
}

/// What we owned and no longer apply goes, if it is still ours.
fn give_up(live: &mut Json, ours: &Json, body: &Json) {
    for (key, owned) in ours.as_object().into_iter().flatten() {
        let Some(entries) = live.as_object_mut() else { return };
        match (entries.get_mut(key), body.get(key)) {
            (Some(value), wanted) if !is_atomic(key, owned) => {
                give_up(value, owned, wanted.unwrap_or(&json!({})));
                if wanted.is_none() && value.as_object().is_some_and(Map::is_empty) {
                    entries.remove(key);
                }
            }
            (Some(_), None) => {
                entries.remove(key);
            }
            _ => {}
        }
    }
}

fn overlay(live: &mut Json, body: &Json) {
    let Some(wanted) = body.as_object() else { return };
    if !live.is_object() {
        *live = json!({});
    }
    for (key, value) in wanted {
        if is_atomic(key, value) {
            live[key] = value.clone();
        } else {
            overlay(&mut live[key], value);
        }
    }
}

fn conflicting(live: &Json, body: &Json, ours: &Json) -> bool {
    let mut fields = body.as_object().into_iter().flatten();
    fields.any(|(key, wanted)| match live.get(key) {
        None => false,
        Some(live) if !is_atomic(key, wanted) => conflicting(live, wanted, &ours[key]),
        Some(live) => live != wanted && ours.get(key).is_none(),
    })
}

/// Another client takes some fields over from an object that we might have written as well, and leaves out others.
fn graft(live: &mut Json, other: &Json, ours: &mut Json, random: &mut Random) {
    let (Some(entries), Some(others)) = (live.as_object_mut(), other.as_object()) else { return };
    let mut keys: Vec<String> = entries.keys().chain(others.keys()).cloned().collect();
    keys.dedup();
    for key in keys {
        let required = ["template", "spec", "nodeClassRef", "requirements"].contains(&key.as_str());
        match (entries.get_mut(&key), others.get(&key)) {
            (Some(value @ Json::Object(_)), Some(other)) if !random.once_in(12) => graft(value, other, &mut ours[&key], random),
            (Some(Json::Array(items)), _) if random.once_in(8) => {
                random.shuffle(items);
                disown(ours, &key);
            }
            (_, Some(other)) if random.once_in(8) => {
                entries.insert(key.clone(), other.clone());
                disown(ours, &key);
            }
            (Some(_), None) if !required && random.once_in(12) => {
                entries.remove(&key);
                disown(ours, &key);
            }
            _ => {}
        }
    }
}

fn disown(ours: &mut Json, key: &str) {
    if let Some(owned) = ours.as_object_mut() {
        owned.remove(key);
    }
}
