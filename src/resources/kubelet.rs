//! The `kubelet` block of a node class: today's fields typed, and JSON for those that newer versions of Karpenter bring.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::formats;
use super::placeholders::is_literal;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::schema::{Block, Schema};
use crate::tofu::value::Value;

/// Settings of the kubelet.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kubelet {
    /// DNS servers of the cluster.
    #[serde(rename = "clusterDNS")]
    #[schemars(extend("x-tofu" = {"values": "ip_address"}))]
    pub cluster_dns: Option<Vec<String>>,
    /// Whether CPU limits are enforced by CFS quota.
    #[serde(rename = "cpuCFSQuota")]
    pub cpu_cfs_quota: Option<bool>,
    /// Signals below which pods are evicted at once, e.g. `{ "memory.available" = "5%" }`.
    #[schemars(extend("x-tofu" = {"open": true, "keys": "eviction_signal", "values": "eviction_threshold"}))]
    pub eviction_hard: Option<BTreeMap<String, String>>,
    /// Most seconds that a pod evicted by a soft signal gets.
    pub eviction_max_pod_grace_period: Option<i32>,
    /// Signals below which pods are evicted after the grace period of the same key.
    #[schemars(extend("x-tofu" = {"open": true, "keys": "eviction_signal", "values": "eviction_threshold"}))]
    pub eviction_soft: Option<BTreeMap<String, String>>,
    /// Grace period of each soft signal.
    #[schemars(extend("x-tofu" = {"open": true, "keys": "eviction_signal", "values": "grace_period"}))]
    pub eviction_soft_grace_period: Option<BTreeMap<String, String>>,
    /// Fields that a newer Karpenter than this provider knows: a JSON object as text, e.g. `jsonencode({ seccompDefault = true })`.
    /// Its keys are Karpenter's own; those that have an argument here are refused.
    #[serde(default, skip_serializing)]
    #[schemars(extend("x-tofu" = {"format": "json"}))]
    pub extra: Option<String>,
    /// Percentage of the disk above which images are always removed.
    #[serde(rename = "imageGCHighThresholdPercent")]
    #[schemars(range(min = 0, max = 100))]
    pub image_gc_high_threshold_percent: Option<i32>,
    /// Percentage of the disk below which images are never removed.
    #[serde(rename = "imageGCLowThresholdPercent")]
    #[schemars(range(min = 0, max = 100))]
    pub image_gc_low_threshold_percent: Option<i32>,
    /// Resources kept for the Kubernetes daemons.
    #[schemars(extend("x-tofu" = {"open": true, "keys": "reserved_resource", "values": "reserved_quantity"}))]
    pub kube_reserved: Option<BTreeMap<String, String>>,
    /// Most pods of a node.
    #[schemars(range(min = 0))]
    pub max_pods: Option<i32>,
    /// Most pods of a core.
    #[schemars(range(min = 0))]
    pub pods_per_core: Option<i32>,
    /// Resources kept for the system's daemons.
    #[schemars(extend("x-tofu" = {"open": true, "keys": "reserved_resource", "values": "reserved_quantity"}))]
    pub system_reserved: Option<BTreeMap<String, String>>,
}

/// The declaration, walked once: what is typed.
static TYPED: LazyLock<Block> = LazyLock::new(|| Schema::of::<Kubelet>(0, formats::FORMATS).block);

/// The HCL name of a field that has one.
fn typed(key: &str) -> Option<&'static str> {
    TYPED.attributes.iter().find(|a| a.name != "extra" && a.json == [key]).map(|a| a.name.as_str())
}

/// Checks what no single attribute's bounds can say.
pub fn validate(kubelet: &Value, path: &Path, diagnostics: &mut Diagnostics) {
    check_soft_signals(kubelet, path, diagnostics);
    let percent = |name: &str| kubelet.attr(name).as_i64();
    let (high, low) = ("image_gc_high_threshold_percent", "image_gc_low_threshold_percent");
    if let Some((most, least)) = percent(high).zip(percent(low)).filter(|(most, least)| most <= least) {
        let detail = format!("{high} is {most} and {low} is {least}; the high one must be above the low one.");
        diagnostics.error(path.child(high), "image garbage collection has no room", detail);
    }
    // placeholders stand inside the JSON's texts, so it can be read before they are resolved
    if let Some(extra) = kubelet.attr("extra").as_str() {
        check_extra(extra, &path.child("extra"), diagnostics);
    }
}

fn check_soft_signals(kubelet: &Value, path: &Path, diagnostics: &mut Diagnostics) {
    let names = ["eviction_soft", "eviction_soft_grace_period"];
    let [soft, grace] = names.map(|name| kubelet.attr(name));
    let final_keys = |map: &Value| !map.is_unknown() && map.entries().all(|(key, _)| is_literal(key));
    if !final_keys(soft) || !final_keys(grace) {
        return;
    }
    let have = |map: &Value, key: &str| map.entries().any(|(k, _)| k == key);
    for (map, other, [name, missing]) in [(soft, grace, names), (grace, soft, [names[1], names[0]])] {
        for (key, _) in map.entries().filter(|(key, _)| !have(other, key)) {
            let detail = format!(
                "{name} has {key:?}, but {missing} has not. A soft signal needs a threshold and a grace period: add {key:?} there."
            );
            diagnostics.error(path.child(name).key(key), format!("{key} is not in {missing}"), detail);
        }
    }
}

fn check_extra(extra: &str, path: &Path, diagnostics: &mut Diagnostics) {
    let right = "It must be the text of a JSON object, e.g. jsonencode({ seccompDefault = true }).";
    let entries = match serde_json::from_str(extra) {
        Ok(Json::Object(entries)) => entries,
        Ok(_) => return diagnostics.error(path.clone(), "not a JSON object", format!("{extra:?} is JSON, but no object. {right}")),
        Err(error) => return diagnostics.error(path.clone(), "not a JSON object", format!("{extra:?} is no JSON: {error}. {right}")),
    };
    for (key, name) in entries.keys().filter_map(|key| Some((key, typed(key)?))) {
        let detail = format!("{key:?} has an argument of its own. Move it there: {name} = ...");
        diagnostics.error(path.clone(), format!("{key} belongs in {name}"), detail);
    }
    for (key, _) in entries.iter().filter(|(_, value)| value.is_null()) {
        diagnostics.error(path.clone(), format!("{key} is null"), format!("The API server drops a null: leave {key:?} out."));
    }
}

/// Puts the fields of `extra` beside the typed ones, as the API has them.
pub fn merge_extra(kubelet: &mut Json) {
    let Some(kubelet) = kubelet.as_object_mut() else { return };
    if let Some(Ok(Json::Object(extra))) = kubelet.remove("extra").as_ref().and_then(Json::as_str).map(serde_json::from_str) {
        for (key, value) in extra {
            kubelet.entry(key).or_insert(value);
        }
    }
}

/// Takes out of a live object what `extra` wrote, placeholders resolved; on import everything that is not typed.
pub fn split_extra(kubelet: &mut Json, written: Option<&str>, import: bool) {
    let Some(kubelet) = kubelet.as_object_mut() else { return };
    let written = written.and_then(|text| serde_json::from_str::<Json>(text).ok());
    let (own, untyped): (Map<String, Json>, Map<String, Json>) =
        std::mem::take(kubelet).into_iter().partition(|(key, _)| typed(key).is_some());
    *kubelet = own;
    let extra = match written {
        Some(written) => within(&written, &Json::Object(untyped)),
        None if import && !untyped.is_empty() => Json::Object(untyped),
        None => return,
    };
    kubelet.insert("extra".to_owned(), Json::from(extra.to_string()));
}

/// The part of `live` that `written` has keys for: what others added inside is theirs.
fn within(written: &Json, live: &Json) -> Json {
    match (written, live) {
        (Json::Object(written), Json::Object(live)) => {
            written.iter().filter_map(|(key, value)| Some((key.clone(), within(value, live.get(key)?)))).collect()
        }
        (_, live) => live.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn extra_goes_out_beside_the_typed_fields_and_comes_back() {
        let mut kubelet = json!({"maxPods": 10, "extra": "{\"seccompDefault\": true, \"shutdown\": {\"grace\": \"30s\"}}"});
        let written = kubelet["extra"].as_str().map(str::to_owned);
        merge_extra(&mut kubelet);
        assert_eq!(kubelet, json!({"maxPods": 10, "seccompDefault": true, "shutdown": {"grace": "30s"}}));
        kubelet["added"] = json!("by others");
        kubelet["shutdown"]["added"] = json!("by others");
        let mut live = kubelet.clone();
        split_extra(&mut live, written.as_deref(), false);
        assert_eq!(live["extra"], r#"{"seccompDefault":true,"shutdown":{"grace":"30s"}}"#);
        kubelet["seccompDefault"] = json!(false);
        let mut drifted = kubelet.clone();
        split_extra(&mut drifted, written.as_deref(), false);
        assert_eq!(drifted["extra"], r#"{"seccompDefault":false,"shutdown":{"grace":"30s"}}"#);
        split_extra(&mut kubelet, None, false);
        assert_eq!(kubelet.get("extra"), None, "what is not written is not ours");
    }

    #[test]
    fn import_takes_what_is_not_typed() {
        let mut kubelet = json!({"maxPods": 10, "seccompDefault": true});
        split_extra(&mut kubelet, None, true);
        assert_eq!(kubelet["extra"], r#"{"seccompDefault":true}"#);
    }

    #[test]
    fn extra_is_an_object_of_fields_that_have_no_argument() {
        for (extra, problem) in [
            ("{\"maxPods\": 1}", Some("maxPods belongs in max_pods")),
            ("{\"x\": null}", Some("x is null")),
            ("[]", Some("not a JSON object")),
            ("{", Some("not a JSON object")),
            ("{\"x\": \"{{ cluster_name }}\"}", None),
            ("{}", None),
        ] {
            let mut diagnostics = Diagnostics::default();
            validate(&Value::object([("extra", Value::from(extra))]), &Path::attribute("kubelet").index(0), &mut diagnostics);
            assert_eq!(diagnostics.0.first().map(|d| d.summary.as_str()), problem, "{extra}");
            assert!(diagnostics.0.iter().all(|d| d.path.as_ref().is_some_and(|p| p.to_string() == "kubelet[0].extra")));
        }
    }
}
