//! The declarations beside the CRDs' OpenAPI: the same fields, of the same types and with the same bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use karpenter::helm::yaml;
use karpenter::tofu::schema::{Attribute, Block, Mode, Schema, Type};
use serde_json::Value as Json;

/// Arguments that the API does not have: another spelling of requirements, and what comes after v1.14.1.
const ONLY_OURS: [&str; 2] = ["template.spec.requirementsIn", "kubelet.extra"];

/// Where ours is stricter or fills in, so that the facts differ on purpose.
const ON_PURPOSE: [&str; 7] = [
    "replicas",                             // bounded by the scale subresource
    "disruption.budgets[].nodes",           // required, but with a default: nobody must write it
    "blockDeviceMappings[].ebs.iops",       // from 1 on
    "blockDeviceMappings[].ebs.throughput", // from 1 on
    "template.spec.nodeClassRef.group",     // has a default of ours
    "template.spec.nodeClassRef.kind",      // the same
    "template.spec.requirements",           // an empty list where there is none
];

/// What both must agree on about a field.
#[derive(Debug, Default, PartialEq)]
struct Facts {
    ty: &'static str,
    required: bool,
    one_of: BTreeSet<String>,
    minimum: Option<i64>,
    maximum: Option<i64>,
    most: Option<usize>,
}

/// Compares one kind. Fails the test where they differ.
pub fn compare(kind: &str, schema: &Schema) {
    let mut theirs = BTreeMap::new();
    let crd = crds().into_iter().find(|crd| crd["spec"]["names"]["kind"] == kind).unwrap_or_else(|| panic!("no CRD of {kind}"));
    let version = crd["spec"]["versions"].as_array().unwrap().iter().find(|v| v["name"] == "v1").unwrap().clone();
    of_openapi(&version["schema"]["openAPIV3Schema"]["properties"]["spec"], "", &mut theirs);
    let mut ours = BTreeMap::new();
    of_declaration(&schema.block, "", true, &mut ours);
    let mut problems = vec![];
    for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
        problems.push(format!("{name} is not declared"));
    }
    for name in ours.keys().filter(|name| !theirs.contains_key(*name) && !ONLY_OURS.contains(&name.as_str())) {
        problems.push(format!("{name} is declared, but the CRD does not have it"));
    }
    for (name, facts) in theirs.iter().filter(|(name, _)| !ON_PURPOSE.contains(&name.as_str())) {
        if let Some(own) = ours.get(name).filter(|own| *own != facts) {
            problems.push(format!("{name}:\n  the CRD has {facts:?}\n  declared is {own:?}"));
        }
    }
    assert!(problems.is_empty(), "{kind}:\n{}", problems.join("\n"));
    assert!(theirs.len() > 30, "{kind} has only {} fields", theirs.len());
}

fn crds() -> Vec<Json> {
    let program = crate::common::lab_home().join("bin/karpenter-crds");
    let output = Command::new(&program).output().unwrap_or_else(|e| panic!("{}: {e}; `make tools` builds it", program.display()));
    yaml::parse_all(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

fn of_openapi(schema: &Json, path: &str, fields: &mut BTreeMap<String, Facts>) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let required = required.contains(&key.as_str());
        if property.get("properties").is_some() {
            // an object of the template's that ours lifts has no field of its own
            of_openapi(property, &path, fields);
        } else if property["items"].get("properties").is_some() {
            let most = property["maxItems"].as_u64().and_then(|n| usize::try_from(n).ok());
            fields.insert(path.clone(), Facts { ty: "blocks", required, most, ..Facts::default() });
            of_openapi(&property["items"], &format!("{path}[]"), fields);
        } else {
            fields.insert(path, leaf(property, required));
        }
    }
}

fn leaf(property: &Json, required: bool) -> Facts {
    let ty = match property["type"].as_str() {
        Some("string") => "text",
        Some("integer") => "number",
        Some("boolean") => "bool",
        Some("array") => "list",
        Some("object") => "map",
        other => panic!("{other:?} in {property}"),
    };
    let most = ["maxItems", "maxProperties"].iter().find_map(|key| property[*key].as_u64()).and_then(|n| usize::try_from(n).ok());
    let place = if ty == "list" { &property["items"] } else { property };
    let one_of = place["enum"].as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect();
    let narrow = property["format"] == "int32";
    let minimum = property["minimum"].as_i64().or(narrow.then_some(i32::MIN.into()));
    let maximum = property["maximum"].as_i64().or(narrow.then_some(i32::MAX.into()));
    Facts { ty, required, one_of, minimum, maximum, most }
}

fn of_declaration(block: &Block, path: &str, top: bool, fields: &mut BTreeMap<String, Facts>) {
    let place = |json: &[String]| -> Option<String> {
        let json = if top { (json.first()? == "spec").then(|| &json[1..])? } else { json };
        Some(if path.is_empty() { json.join(".") } else { format!("{path}.{}", json.join(".")) })
    };
    for attribute in &block.attributes {
        if let Some(place) = place(&attribute.json) {
            fields.insert(place, declared(attribute));
        }
    }
    for nested in &block.blocks {
        let Some(place) = place(&nested.json) else { continue };
        if nested.single {
            of_declaration(&nested.block, &place, false, fields);
        } else {
            let most = usize::try_from(nested.max_items).ok().filter(|n| *n > 0);
            let required = nested.required_by_validate || nested.min_items > 0;
            fields.insert(place.clone(), Facts { ty: "blocks", required, most, ..Facts::default() });
            of_declaration(&nested.block, &format!("{place}[]"), false, fields);
        }
    }
}

fn declared(attribute: &Attribute) -> Facts {
    let constraints = &attribute.constraints;
    let (ty, most) = match &attribute.ty {
        Type::String => ("text", None),
        Type::Number => ("number", None),
        Type::Bool => ("bool", None),
        Type::List(_) => ("list", constraints.max_length),
        Type::Map(_) => ("map", constraints.max_length),
        other => panic!("{} is {other:?}", attribute.name),
    };
    let one_of = constraints.elements.as_ref().filter(|_| ty == "list").map_or(&constraints.one_of, |elements| &elements.one_of);
    Facts {
        ty,
        required: attribute.mode == Mode::Required || attribute.required_by_validate,
        one_of: one_of.iter().cloned().collect(),
        minimum: constraints.minimum,
        maximum: constraints.maximum,
        most,
    }
}
