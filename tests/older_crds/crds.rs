//! Karpenter's CRDs as its first v1 had them, made of the present ones: what came later is taken out again.

use std::process::Command;

use karpenter::helm::yaml;
use serde_json::{Value, json};

use crate::common::lab_home;

/// Fields that came later, by name: each name occurs once in its kind.
const FIELDS: [&str; 9] = [
    "replicas",
    "capacityReservationSelectorTerms",
    "ssmParameter",
    "volumeInitializationRate",
    "ipPrefixCount",
    "networkInterfaces",
    "placementGroupSelector",
    "connectionTracking",
    "cpuOptions",
];
/// Values that came later.
const VALUES: [&str; 4] = ["Balanced", "Gte", "Lte", "Windows2025"];
/// What rules list since then.
const LISTED: [&str; 7] = [
    ",'windows2025'",
    "\"karpenter.k8s.aws/instance-tenancy\", ",
    "\"karpenter.k8s.aws/capacity-reservation-id\", ",
    "\"karpenter.k8s.aws/capacity-reservation-interruptible\", ",
    "\"karpenter.k8s.aws/capacity-reservation-type\", ",
    ", \"karpenter.k8s.aws/placement-group-id\"",
    ", \"karpenter.k8s.aws/placement-group-partition\"",
];

/// All of them, as one list.
pub fn first() -> Value {
    let program = lab_home().join("bin/karpenter-crds");
    let output = Command::new(&program).output().unwrap_or_else(|e| panic!("{}: {e}; `make tools` builds it", program.display()));
    let mut crds = yaml::parse_all(&String::from_utf8(output.stdout).unwrap()).unwrap();
    for crd in &mut crds {
        for version in crd["spec"]["versions"].as_array_mut().unwrap() {
            version["subresources"].as_object_mut().unwrap().remove("scale");
            older(&mut version["schema"]["openAPIV3Schema"]["properties"]["spec"]);
        }
    }
    json!({"apiVersion": "v1", "kind": "List", "items": crds})
}

fn older(schema: &mut Value) {
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| !FIELDS.contains(&name.as_str()));
        properties.values_mut().for_each(older);
    }
    for below in ["items", "additionalProperties"] {
        if schema[below].is_object() {
            older(&mut schema[below]);
        }
    }
    if let Some(values) = schema["enum"].as_array_mut() {
        values.retain(|value| !VALUES.iter().any(|later| value == later));
    }
    if let Some(rules) = schema["x-kubernetes-validations"].as_array_mut() {
        rules.retain(|rule| !FIELDS.iter().any(|field| rule["rule"].as_str().unwrap().contains(field)));
        for rule in rules {
            let text = LISTED.iter().fold(rule["rule"].as_str().unwrap().to_owned(), |text, later| text.replace(later, ""));
            rule["rule"] = json!(text);
        }
    }
    schema.as_object_mut().unwrap().retain(|_, value| !value.is_null());
}
