//! Who set which field of a live object, read off its managed fields.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::core::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::FIELD_MANAGER;
use crate::tofu::convert;
use crate::tofu::path::Step;

/// Karpenter's own field manager: what it writes is never ours, and never anybody's drift.
const CONTROLLER: &str = "karpenter";
/// Prefixes of labels and annotations that belong to tools.
pub const FOREIGN_KEYS: [&str; 4] = ["karpenter.sh/", "karpenter.k8s.aws/", "kubectl.kubernetes.io/", "meta.helm.sh/"];

/// A field that is not ours by managed fields.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Field {
    /// Keys from the object's root. Lists are one field.
    pub path: Vec<String>,
    /// Who set it, several with commas between.
    pub manager: String,
    /// What it is.
    pub value: Json,
}

impl Field {
    /// As Karpenter's documentation has it: `spec.limits.cpu`.
    pub fn place(&self) -> String {
        self.path.join(".")
    }

    /// As steps from the object's root.
    pub fn steps(&self) -> Vec<Step> {
        self.path.iter().cloned().map(Step::Attribute).collect()
    }
}

/// What passes to us from the former field managers at the first write after an import: managed fields to write where the object
/// is still of this version.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Handover {
    /// The object's resourceVersion.
    pub resource_version: String,
    /// Its managed fields from then on.
    pub managed_fields: Json,
}

/// Fields of the spec, labels and annotations that others set and we do not own.
pub fn foreign(live: &DynamicObject) -> Vec<Field> {
    let entries = live.metadata.managed_fields.as_deref().unwrap_or_default();
    let ours: BTreeSet<Vec<String>> = entries.iter().filter(|e| is_ours(e)).flat_map(leaves_of).collect();
    let json = serde_json::to_value(live).unwrap_or_default();
    let mut found: Vec<Field> = vec![];
    for entry in entries.iter().filter(|e| is_anothers(e)) {
        let manager = entry.manager.clone().unwrap_or_default();
        for path in leaves_of(entry) {
            if ours.iter().any(|own| path.starts_with(own)) {
                continue;
            }
            match found.iter_mut().find(|f| f.path == path) {
                Some(known) => known.manager = format!("{}, {manager}", known.manager),
                None => {
                    let value = convert::at(&json, &path).cloned().unwrap_or(Json::Null);
                    found.push(Field { path, manager: manager.clone(), value });
                }
            }
        }
    }
    found
}

/// The managed fields after every field that is `held` has passed to us; `None` where nothing has to.
pub fn handover(live: &DynamicObject, held: &dyn Fn(&[String]) -> bool) -> Option<Handover> {
    let mut entries = live.metadata.managed_fields.clone().unwrap_or_default();
    let mut taken = Json::Object(Map::new());
    for entry in entries.iter_mut().filter(|e| is_anothers(e)) {
        let Some(FieldsV1(fields)) = &mut entry.fields_v1 else { continue };
        take(fields, &mut vec![], held, &mut taken);
    }
    if taken.as_object().is_none_or(Map::is_empty) {
        return None;
    }
    entries.retain(|e| e.fields_v1.as_ref().is_some_and(|f| f.0.as_object().is_some_and(|o| !o.is_empty())));
    match entries.iter_mut().find(|e| is_ours(e)) {
        Some(ManagedFieldsEntry { fields_v1: Some(FieldsV1(own)), .. }) => merge(own, taken),
        _ => entries.push(ManagedFieldsEntry {
            manager: Some(FIELD_MANAGER.to_owned()),
            operation: Some("Apply".to_owned()),
            api_version: live.types.as_ref().map(|t| t.api_version.clone()),
            fields_type: Some("FieldsV1".to_owned()),
            fields_v1: Some(FieldsV1(taken)),
            ..ManagedFieldsEntry::default()
        }),
    }
    Some(Handover { resource_version: live.metadata.resource_version.clone()?, managed_fields: json!(entries) })
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() == Some("Apply") && entry.subresource.is_none()
}

fn is_anothers(entry: &ManagedFieldsEntry) -> bool {
    !is_ours(entry) && entry.manager.as_deref() != Some(CONTROLLER) && entry.subresource.as_deref().is_none_or(str::is_empty)
}

/// Whether a field can be declared by a user.
fn is_declarable(path: &[String]) -> bool {
    match path {
        [part, _, ..] if part == "spec" => true,
        [part, place, key] if part == "metadata" && (place == "labels" || place == "annotations") => {
            !FOREIGN_KEYS.iter().any(|prefix| key.starts_with(prefix))
        }
        _ => false,
    }
}

fn leaves_of(entry: &ManagedFieldsEntry) -> Vec<Vec<String>> {
    let mut leaves = vec![];
    if let Some(FieldsV1(fields)) = &entry.fields_v1 {
        collect(fields, &mut vec![], &mut leaves);
    }
    leaves.retain(|path| is_declarable(path));
    leaves
}

/// Names below a set of fields; `None` where it is a leaf, or a list by keys, which counts as one field.
fn children(fields: &Json) -> Option<Vec<(&str, &Json)>> {
    let below: Vec<_> = fields.as_object()?.iter().filter(|(key, _)| *key != ".").collect();
    let named: Option<Vec<_>> = below.into_iter().map(|(key, value)| Some((key.strip_prefix("f:")?, value))).collect();
    named.filter(|named| !named.is_empty())
}

fn collect(fields: &Json, path: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) {
    for (name, below) in children(fields).into_iter().flatten() {
        path.push(name.to_owned());
        if children(below).is_some() {
            collect(below, path, leaves);
        } else {
            leaves.push(path.clone());
        }
        path.pop();
    }
}

/// Moves what is held from a set of fields to another. A struct of which nothing is left goes with its fields.
fn take(fields: &mut Json, path: &mut Vec<String>, held: &dyn Fn(&[String]) -> bool, taken: &mut Json) {
    let Some(object) = fields.as_object_mut() else { return };
    let names: Vec<String> = object.keys().filter(|key| key.starts_with("f:")).cloned().collect();
    for key in names {
        path.push(key.trim_start_matches("f:").to_owned());
        if children(&object[&key]).is_some() {
            take(&mut object[&key], path, held, taken);
            if object[&key].as_object().is_some_and(|left| left.keys().all(|k| k == ".")) {
                object.remove(&key);
            }
        } else if is_declarable(path) && held(path) {
            let leaf = object.remove(&key).unwrap_or_else(|| json!({}));
            let place: Vec<String> = path.iter().map(|name| format!("f:{name}")).collect();
            convert::put(taken, &place, leaf);
        }
        path.pop();
    }
}

fn merge(into: &mut Json, from: Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert_with(|| json!({})), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
            "metadata": {"name": "a", "resourceVersion": "7", "managedFields": [
                {"manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": "karpenter.sh/v1", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:spec": {"f:limits": {"f:cpu": {}}}}},
                {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "karpenter.sh/v1", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}},
                        "f:spec": {".": {}, "f:weight": {}, "f:limits": {".": {}, "f:cpu": {}, "f:memory": {}}, "f:newer": {}}}},
                {"manager": "karpenter", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {"f:nodes": {}}}},
            ]},
            "spec": {"weight": 5, "limits": {"cpu": "1", "memory": "1Gi"}, "newer": true},
        }))
        .expect("an object")
    }

    #[test]
    fn what_others_set_and_we_do_not_own_is_foreign() {
        let fields: Vec<String> = foreign(&live()).iter().map(|f| format!("{}={} by {}", f.place(), f.value, f.manager)).collect();
        assert_eq!(
            fields,
            ["spec.limits.memory=\"1Gi\" by kubectl-edit", "spec.newer=true by kubectl-edit", "spec.weight=5 by kubectl-edit"]
        );
    }

    #[test]
    fn a_handover_takes_what_the_state_holds_and_no_more() {
        let held = json!({"spec": {"weight": 5, "limits": {"cpu": "1", "memory": "1Gi"}}});
        let handover = handover(&live(), &|path| convert::at(&held, path).is_some()).expect("something to take");
        assert_eq!(handover.resource_version, "7");
        let entries = handover.managed_fields.as_array().expect("a list").clone();
        assert_eq!(entries[0]["fieldsV1"], json!({"f:spec": {"f:limits": {"f:cpu": {}, "f:memory": {}}, "f:weight": {}}}));
        assert_eq!(
            entries[1]["fieldsV1"],
            json!({"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}},
                "f:spec": {".": {}, "f:newer": {}}})
        );
        assert_eq!(entries[2]["manager"], "karpenter");
    }
}
