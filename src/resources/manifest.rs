//! `manifest`: the object as YAML or JSON text, instead of arguments. It is read into the same arguments, so that types, validation,
//! placeholders and equality are theirs; what somebody changed on the server shows in the user's own text.

use kube::core::ApiResource;
use serde_json::{Map, Value as Json};

use super::object::Kind;
use crate::helm::yaml;
use crate::tofu::convert::{self, Projection};
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::{Path, Step};
use crate::tofu::schema::{Attribute, Block, Mode, NestedBlock};
use crate::tofu::value::Value;
use splice::splice;

mod splice;

/// A manifest, read.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The document.
    pub json: Json,
    /// The document as the arguments have it, where a list can have fewer elements.
    shaped: Json,
    /// The arguments that say the same.
    pub arguments: Value,
}

/// What is wrong with a manifest, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// E.g. `spec.template.spec.taints[0].effect`; empty for the whole.
    pub path: String,
    /// What is there and what would be right.
    pub message: String,
}

/// Whether an argument is part of the object, which a manifest then says instead.
fn is_of_object(json: &[String]) -> bool {
    json.first().is_some_and(|first| first == "metadata" || first == "spec")
}

/// Names of all arguments that a manifest excludes.
pub fn excluded(block: &Block) -> impl Iterator<Item = &str> {
    let attributes = block.attributes.iter().filter(|a| is_of_object(&a.json)).map(|a: &Attribute| a.name.as_str());
    attributes.chain(block.blocks.iter().filter(|b| is_of_object(&b.json)).map(|b: &NestedBlock| b.name.as_str()))
}

/// Reads a manifest of the kind. Arguments that a manifest does not exclude are taken from `config`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read<K: Kind>(block: &Block, text: &str, config: &Value) -> Result<Manifest, Refusal> {
    let json = document(text)?;
    envelope(&json, &K::api_resource())?;
    let (mut arguments, shaped, understood) = understand::<K>(block, &json);
    for part in ["metadata", "spec"] {
        nothing_lost(&shaped[part], &understood[part], part)
            .map_err(|refusal| Refusal { path: in_text(&refusal.path, &json, &shaped), ..refusal })?;
    }
    for attribute in block.attributes.iter().filter(|a| !is_of_object(&a.json)) {
        arguments.set(&attribute.name, config.attr(&attribute.name).clone());
    }
    for nested in block.blocks.iter().filter(|b| !is_of_object(&b.json)) {
        arguments.set(&nested.name, config.attr(&nested.name).clone());
    }
    Ok(Manifest { json, shaped, arguments })
}

/// Refuses the first field of an object's spec for which there is no argument.
///
/// # Errors
/// That field.
pub fn is_understood<K: Kind>(block: &Block, json: &Json) -> Result<(), Refusal> {
    let (_, shaped, understood) = understand::<K>(block, json);
    nothing_lost(&shaped["spec"], &understood["spec"], "spec")
}

/// The arguments that an object amounts to; the object as they are shaped, and what they amount to in turn.
fn understand<K: Kind>(block: &Block, json: &Json) -> (Value, Json, Json) {
    let mut shaped = json.clone();
    K::disassemble(&mut shaped, &Value::Null, &str::to_owned, true);
    let identity = |text: &str| text.to_owned();
    let arguments = convert::project(block, &Value::Null, &shaped, &Projection { resolve: &identity, import: true });
    let understood = convert::expand(block, &arguments);
    (arguments, shaped, understood)
}

fn refuse(path: impl Into<String>, message: impl Into<String>) -> Refusal {
    Refusal { path: path.into(), message: message.into() }
}

fn document(text: &str) -> Result<Json, Refusal> {
    let documents = yaml::parse_all(text).map_err(|e| {
        let hint = if text.contains("{{") { "; text with {{ placeholders }} must be quoted" } else { "" };
        refuse("", format!("it is neither YAML nor JSON: {e}{hint}"))
    })?;
    let mut documents = documents.into_iter().filter(|d| !d.is_null());
    match (documents.next(), documents.count()) {
        (Some(document @ Json::Object(_)), 0) => Ok(document),
        (Some(_), 0) => Err(refuse("", "it must be an object with apiVersion, kind, metadata and spec")),
        (None, _) => Err(refuse("", "it is empty")),
        (Some(_), more) => Err(refuse("", format!("it has {} documents; give one, and use for_each for more", more + 1))),
    }
}

/// apiVersion, kind and the keys around spec.
fn envelope(json: &Json, resource: &ApiResource) -> Result<(), Refusal> {
    for (key, wanted) in [("apiVersion", &resource.api_version), ("kind", &resource.kind)] {
        if json[key].as_str() != Some(wanted) {
            return Err(refuse(key, format!("it is {}; this type takes {wanted:?}", json[key])));
        }
    }
    for key in json.as_object().into_iter().flatten().map(|(key, _)| key) {
        if !["apiVersion", "kind", "metadata", "spec"].contains(&key.as_str()) {
            return Err(refuse(key, "it is not for a manifest to say; remove it"));
        }
    }
    if json["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        return Err(refuse("metadata.name", "it is missing"));
    }
    Ok(())
}

/// Everything that the manifest says must have become an argument.
fn nothing_lost(written: &Json, understood: &Json, path: &str) -> Result<(), Refusal> {
    match (written, understood) {
        (Json::Null, _) => Ok(()),
        (Json::Object(entries), _) => {
            if entries.is_empty() || understood.is_object() {
                return entries.iter().try_for_each(|(key, value)| nothing_lost(value, &understood[key], &format!("{path}.{key}")));
            }
            Err(refuse(yaml_path(path), unknown_or_mistyped(written, understood)))
        }
        (Json::Array(items), _) => {
            let each = |(i, item): (usize, &Json)| nothing_lost(item, &understood[i], &format!("{path}[{i}]"));
            items.iter().enumerate().try_for_each(each)
        }
        (Json::String(a), Json::String(b)) if a == b => Ok(()),
        // a quantity may be written as a number
        (Json::Number(a), Json::String(b)) if path.starts_with("spec.limits.") && a.to_string() == *b => Ok(()),
        (a, b) if a == b => Ok(()),
        _ => Err(refuse(yaml_path(path), unknown_or_mistyped(written, understood))),
    }
}

fn unknown_or_mistyped(written: &Json, understood: &Json) -> String {
    match (written, understood) {
        (Json::Object(entries), _)
            if entries.iter().any(|(key, value)| key.starts_with('{') || (value.is_null() && entries.len() == 1)) =>
        {
            "text with {{ placeholders }} must be quoted in YAML".to_owned()
        }
        (_, Json::String(_)) => format!("it is {written}; it must be text, so quote it"),
        _ => format!("it is {written}: there is no such field, or it has another type"),
    }
}

/// Where the manifest itself has it.
fn yaml_path(path: &str) -> String {
    path.replace(".requirementsIn.", ".requirements: ").replace(".requirementsIn", ".requirements")
}

/// Messages about the arguments, put at the manifest with the place in it.
pub fn relocate(block: &Block, manifest: &Manifest, diagnostics: Diagnostics) -> Diagnostics {
    let relocated = diagnostics.0.into_iter().map(|mut diagnostic| {
        if let Some(place) = diagnostic.path.as_ref().and_then(|path| json_path(block, &path.0, String::new())) {
            let place = in_text(&yaml_path(&place), &manifest.json, &manifest.shaped);
            diagnostic.detail = format!("At {place} of the manifest: {}", diagnostic.detail);
            diagnostic.path = Some(Path::attribute("manifest"));
        }
        diagnostic
    });
    Diagnostics(relocated.collect())
}

/// A place with the index that its first list's element has in the text, where others of that list became arguments elsewhere.
fn in_text(place: &str, json: &Json, shaped: &Json) -> String {
    let original = || {
        let (list, rest) = place.split_once('[')?;
        let (index, rest) = rest.split_once(']')?;
        let pointer = format!("/{}", list.replace('.', "/"));
        let item = shaped.pointer(&pointer)?.get(index.parse::<usize>().ok()?)?;
        let index = json.pointer(&pointer)?.as_array()?.iter().position(|one| one == item)?;
        Some(format!("{list}[{index}]{rest}"))
    };
    original().unwrap_or_else(|| place.to_owned())
}

/// The place of an argument in the object; `None` for arguments that are not of the object.
fn json_path(block: &Block, path: &[Step], so_far: String) -> Option<String> {
    let join = |json: &[String]| if so_far.is_empty() { json.join(".") } else { format!("{so_far}.{}", json.join(".")) };
    let (Step::Attribute(name), rest) = path.split_first()? else { return Some(so_far) };
    if let Some(attribute) = block.attribute(name) {
        let tail: String = rest
            .iter()
            .map(|s| match s {
                Step::Attribute(k) | Step::Key(k) => format!(".{k}"),
                Step::Index(i) => format!("[{i}]"),
            })
            .collect();
        return (!so_far.is_empty() || is_of_object(&attribute.json)).then(|| join(&attribute.json) + &tail);
    }
    let nested = block.nested(name)?;
    if so_far.is_empty() && !is_of_object(&nested.json) {
        return None;
    }
    let here = join(&nested.json);
    match rest.split_first() {
        None => Some(here),
        Some((Step::Index(_), [])) if nested.single => Some(here),
        Some((Step::Index(i), [])) => Some(format!("{here}[{i}]")),
        Some((Step::Index(_), rest)) if nested.single => json_path(&nested.block, rest, here),
        Some((Step::Index(i), rest)) => json_path(&nested.block, rest, format!("{here}[{i}]")),
        Some(_) => Some(here),
    }
}

/// The user's text with what is live now in the place of what differs from it; the text itself where nothing does. Where things
/// were added or removed, the object is written anew.
pub fn redraw<K: Kind>(block: &Block, text: &str, manifest: &Manifest, observed: &Value) -> String {
    let mut seen = K::assemble(convert::expand(block, &only_written(block, &manifest.arguments, observed)));
    let mut whole = manifest.json.clone();
    for part in ["metadata", "spec"] {
        let live = align(&manifest.json[part], seen[part].take());
        whole[part] = live;
    }
    let mut changes = vec![];
    let structural = !collect(&manifest.json, &whole, "", &mut changes);
    if changes.is_empty() && !structural {
        return text.to_owned();
    }
    let spliced = if structural { None } else { splice(text, &changes) };
    let spliced = spliced.filter(|spliced| yaml::parse(spliced).as_ref() == Ok(&whole));
    spliced.or_else(|| yaml::write(&whole).ok()).unwrap_or_else(|| text.to_owned())
}

/// What the API server fills in where the manifest says nothing is not the user's.
fn only_written(block: &Block, written: &Value, observed: &Value) -> Value {
    let attributes = block.attributes.iter().map(|a| {
        let filled_in = a.mode == Mode::OptionalComputed && written.attr(&a.name).is_null();
        let value = if filled_in { Value::Null } else { observed.attr(&a.name).clone() };
        (a.name.clone(), value)
    });
    let blocks = block.blocks.iter().map(|b| {
        let before = written.attr(&b.name).items();
        let items = observed.attr(&b.name).items().iter().enumerate();
        let items = items.map(|(i, item)| before.get(i).map_or_else(|| item.clone(), |w| only_written(&b.block, w, item)));
        (b.name.clone(), Value::List(items.collect()))
    });
    Value::object(attributes.chain(blocks))
}

/// Live lists of keyed objects in the order of the manifest, and what it spells as nothing left in.
fn align(written: &Json, live: Json) -> Json {
    match (written, live) {
        (Json::Object(old), Json::Object(mut new)) => {
            let mut aligned = Map::new();
            for (key, value) in old {
                match new.remove(key) {
                    Some(live) => drop(aligned.insert(key.clone(), align(value, live))),
                    None if is_empty(value) => drop(aligned.insert(key.clone(), value.clone())),
                    None => {}
                }
            }
            aligned.extend(new.into_iter().filter(|(_, value)| !is_empty(value)));
            Json::Object(aligned)
        }
        (Json::Array(old), Json::Array(mut new)) if new.iter().all(Json::is_object) => {
            let mut aligned = vec![];
            for item in old {
                let same_key = |n: &Json| item["key"].is_string() && n["key"] == item["key"] && n["operator"] == item["operator"];
                if let Some(i) = new.iter().position(|n| n == item).or_else(|| new.iter().position(same_key)) {
                    let live = new.remove(i);
                    aligned.push(align(item, live));
                }
            }
            if aligned.is_empty() {
                return Json::Array(new.into_iter().enumerate().map(|(i, n)| align(old.get(i).unwrap_or(&Json::Null), n)).collect());
            }
            aligned.extend(new);
            Json::Array(aligned)
        }
        (Json::Number(number), Json::String(text)) if number.to_string() == text => Json::Number(number.clone()),
        (_, live) => live,
    }
}

fn is_empty(json: &Json) -> bool {
    json.is_null() || json.as_object().is_some_and(Map::is_empty) || json.as_array().is_some_and(Vec::is_empty)
}

/// Collects the scalars that differ; false where something else does.
fn collect(written: &Json, live: &Json, path: &str, changes: &mut Vec<(String, Json)>) -> bool {
    match (written, live) {
        (a, b) if a == b => true,
        (Json::Object(old), Json::Object(new)) => {
            let below = |key: &String| collect(&old[key], &new[key], &format!("{path}.{key}"), changes);
            old.len() == new.len() && old.keys().all(|key| new.contains_key(key)) && old.keys().map(below).fold(true, |a, b| a & b)
        }
        (Json::Array(old), Json::Array(new)) if old.len() == new.len() => {
            let pairs = old.iter().zip(new).enumerate();
            pairs.map(|(i, (a, b))| collect(a, b, &format!("{path}[{i}]"), changes)).fold(true, |a, b| a & b)
        }
        (Json::Array(old), Json::Array(new)) if old.iter().chain(new).all(|item| !item.is_object() && !item.is_array()) => {
            changes.push((path.to_owned(), live.clone()));
            true
        }
        (Json::Object(_) | Json::Array(_), _) | (_, Json::Object(_) | Json::Array(_)) => false,
        (_, live) => {
            changes.push((path.to_owned(), live.clone()));
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::nodeclass::NodeClassKind;
    use crate::resources::nodepool::NodePoolKind;

    const POOL: &str = "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata:\n  name: trino # é\nspec:\n  weight: 50\n  limits: {cpu: 1000}\n  template:\n    spec:\n      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}\n      requirements:\n        - {key: kubernetes.io/os, operator: In, values: [linux]}\n        - {key: kubernetes.io/arch, operator: In, values: [arm64]}\n";

    fn read_pool(text: &str) -> Result<Manifest, Refusal> {
        read::<NodePoolKind>(&NodePoolKind::schema().block, text, &Value::Null)
    }

    fn redrawn(manifest: &Manifest, change: impl Fn(&mut Value)) -> String {
        let mut observed = manifest.arguments.clone();
        change(&mut observed);
        redraw::<NodePoolKind>(&NodePoolKind::schema().block, POOL, manifest, &observed)
    }

    #[test]
    fn a_drifted_leaf_is_replaced_in_the_text() {
        let manifest = read_pool(POOL).expect("a manifest");
        assert_eq!(redrawn(&manifest, |_| {}), POOL);
        assert_eq!(redrawn(&manifest, |o| o.set("weight", Value::from(7))), POOL.replace("weight: 50", "weight: 7"));
        assert_eq!(
            redrawn(&manifest, |o| o.set("limits", Value::object([("cpu", Value::from("2k"))]))),
            POOL.replace("cpu: 1000", "cpu: 2k")
        );
        let os = |values: &[&str]| {
            Value::object([
                ("kubernetes.io/os", Value::List(values.iter().map(|v| Value::from(*v)).collect())),
                ("kubernetes.io/arch", Value::List(vec![Value::from("arm64")])),
            ])
        };
        let mut template = manifest.arguments.attr("template").first().clone();
        template.set("requirements", os(&["linux", "windows"]));
        let more = redrawn(&manifest, |o| o.set("template", Value::List(vec![template.clone()])));
        assert_eq!(more, POOL.replace("[linux]", "[linux, windows]"));
        let gone = redrawn(&manifest, |o| o.set("weight", Value::Null));
        assert!(!gone.contains("weight"), "{gone}");
    }

    #[test]
    fn a_drifted_block_scalar_leaves_a_text_that_says_what_is_live() {
        let head = "apiVersion: karpenter.k8s.aws/v1\nkind: EC2NodeClass\nmetadata: {name: a}\nspec:\n  amiSelectorTerms: [{alias: al2023@latest}]\n";
        let (data, role) = ("  userData: |\n    #!/bin/sh\n    echo a\n", "  role: x\n");
        let schema = NodeClassKind::schema();
        for text in [format!("{head}{data}{role}"), format!("{head}{role}{data}"), format!("{head}{role}{data}").trim_end().to_owned()] {
            let manifest = read::<NodeClassKind>(&schema.block, &text, &Value::Null).expect("a manifest");
            for (name, field, live) in
                [("user_data", "userData", "plain"), ("user_data", "userData", "two\nlines\n"), ("role", "role", "y")]
            {
                let mut observed = manifest.arguments.clone();
                observed.set(name, Value::from(live));
                let seen = yaml::parse(&redraw::<NodeClassKind>(&schema.block, &text, &manifest, &observed)).expect("YAML");
                let mut expected = manifest.json.clone();
                expected["spec"][field] = live.into();
                assert_eq!(seen, expected, "{field} of {text}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (from, to, place, says) in [
            ("weight: 50", "wait: 50", "spec.wait", "no such field"),
            ("weight: 50", "weight: high", "spec.weight", "another type"),
            ("kind: NodePool", "kind: NodePools", "kind", "NodePool"),
            ("name: trino # é", "labels: {}", "metadata.name", "missing"),
            ("values: [arm64]", "values: [true]", "spec.template.spec.requirements: kubernetes.io/arch[0]", "quote"),
            ("weight: 50", "weight: [", "", "YAML"),
            ("spec:\n", "status: {}\nspec:\n", "status", "remove"),
        ] {
            let refusal = read_pool(&POOL.replace(from, to)).expect_err(to);
            assert!(refusal.path == place && refusal.message.contains(says), "{to}: {refusal:?}");
        }
        let two = format!("{POOL}---\n{POOL}");
        assert!(read_pool(&two).is_err_and(|r| r.message.contains("2 documents")));
    }
}
