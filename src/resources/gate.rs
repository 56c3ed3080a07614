//! Fields and values that are newer than the CRDs installed in a cluster.

use serde_json::Value as Json;

use super::object::{ApiObject, Kind};
use crate::tofu::convert;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Step;
use crate::tofu::schema::{Attribute, Block};
use crate::tofu::value::Value;

/// Something of an object that Karpenter's first v1 did not have.
#[derive(Clone, Debug, PartialEq)]
pub struct Newer {
    /// Where it is in the object.
    steps: Vec<Step>,
    /// Where a message about it points.
    at: Vec<Step>,
    /// The text that became possible later; `None` where the field itself did.
    word: Option<String>,
    /// The version of Karpenter that brought it.
    since: String,
}

impl Newer {
    /// As Karpenter's documentation has it, with its value: `spec.disruption.consolidationPolicy = "Balanced"`.
    fn place(&self) -> String {
        let mut place = String::new();
        for step in &self.steps {
            match step {
                Step::Attribute(name) if place.is_empty() => place.push_str(name),
                Step::Attribute(name) => place.push_str(&format!(".{name}")),
                Step::Index(i) => place.push_str(&format!("[{i}]")),
                Step::Key(key) => place.push_str(&format!("[{key:?}]")),
            }
        }
        match (&self.word, self.steps.last()) {
            (None, _) | (_, Some(Step::Key(_))) => place,
            (Some(word), _) => format!("{place} = {word:?}"),
        }
    }
}

/// What of an object came after Karpenter's first v1, as the declarations say. Where that is nothing, no CRD has to be looked at.
pub fn newer(block: &Block, body: &Json) -> Vec<Newer> {
    let mut found = vec![];
    collect(block, body, &mut vec![], &mut found);
    found
}

/// Those among them which a CRD's schema does not have.
pub fn lacking(schema: &Json, newer: Vec<Newer>) -> Vec<Newer> {
    newer.into_iter().filter(|one| !has(schema, one)).collect()
}

fn collect(block: &Block, body: &Json, steps: &mut Vec<Step>, found: &mut Vec<Newer>) {
    let names = |json: &[String]| json.iter().cloned().map(Step::Attribute).collect::<Vec<_>>();
    for attribute in &block.attributes {
        let Some(value) = convert::at(body, &attribute.json) else { continue };
        let place = [steps.clone(), names(&attribute.json)].concat();
        if let Some(since) = &attribute.since.field {
            found.push(Newer { steps: place.clone(), at: place.clone(), word: None, since: since.clone() });
        }
        found.extend(words(attribute, value, &place));
    }
    for nested in &block.blocks {
        let Some(value) = convert::at(body, &nested.json) else { continue };
        let depth = steps.len();
        steps.extend(names(&nested.json));
        if let Some(since) = &nested.since.field {
            // the client points at arguments only: the first one in it
            let (index, item) = if value.is_array() { (Some(Step::Index(0)), &value[0]) } else { (None, value) };
            let argument = nested.block.attributes.iter().find(|a| convert::at(item, &a.json).is_some());
            let inside = argument.map(|a| names(&a.json)).unwrap_or_default();
            let at = steps.iter().cloned().chain(index).chain(inside).collect();
            found.push(Newer { steps: steps.clone(), at, word: None, since: since.clone() });
        }
        match value {
            Json::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    steps.push(Step::Index(i));
                    collect(&nested.block, item, steps, found);
                    steps.pop();
                }
            }
            object => collect(&nested.block, object, steps, found),
        }
        steps.truncate(depth);
    }
}

/// Texts of an attribute that became possible later: its value, what stands before an `@` in it, or its keys.
fn words(attribute: &Attribute, value: &Json, place: &[Step]) -> Vec<Newer> {
    let later = |word: &str| attribute.since.values.get(word).cloned();
    match value {
        Json::String(text) => {
            let word = if later(text).is_some() { text } else { text.split('@').next().unwrap_or_default() };
            later(word)
                .map(|since| Newer { steps: place.to_vec(), at: place.to_vec(), word: Some(word.to_owned()), since })
                .into_iter()
                .collect()
        }
        Json::Object(entries) => {
            let key = |key: &String| {
                let steps = [place.to_vec(), vec![Step::Key(key.clone())]].concat();
                Newer { at: steps.clone(), steps, word: Some(key.clone()), since: later(key).unwrap_or_default() }
            };
            entries.keys().filter(|key| later(key).is_some()).map(key).collect()
        }
        _ => vec![],
    }
}

fn has(schema: &Json, newer: &Newer) -> bool {
    let mut schema = schema;
    for step in &newer.steps {
        let (below, open) = match step {
            Step::Attribute(name) => (&schema["properties"][name.as_str()], &schema["additionalProperties"]),
            Step::Index(_) => (&schema["items"], &Json::Null),
            // what may stand as a key is said of the map
            Step::Key(_) => break,
        };
        match (below, open) {
            (Json::Null, Json::Null) => return schema["x-kubernetes-preserve-unknown-fields"] == true,
            (Json::Null, open) => schema = open,
            (below, _) => schema = below,
        }
    }
    newer.word.as_ref().is_none_or(|word| allows(schema, word))
}

/// Whether a schema lets a text pass, as far as it lists texts: in an enum, or in rules.
fn allows(schema: &Json, word: &str) -> bool {
    if let Some(all) = schema["enum"].as_array() {
        return all.iter().any(|one| one == word);
    }
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let mut lists = rules.filter_map(|rule| rule["rule"].as_str()).filter(|rule| rule.contains(" in [")).peekable();
    let quoted = [format!("'{word}'"), format!("\"{word}\"")];
    lists.peek().is_none() || lists.any(|rule| quoted.iter().any(|q| rule.contains(q)))
}

impl<K: Kind> ApiObject<K> {
    /// A warning for each, where a plan has it: another resource may raise the version before this one is applied.
    pub(super) fn warn_newer(&self, newer: &[Newer], planned: &Value, cluster: &str) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        for one in newer {
            let Newer { since, at, .. } = one;
            let detail = format!(
                "{}. Apply goes well if Karpenter's CRDs are raised before, in the same apply as well, e.g. by the version of \
                 karpenter_bundle; otherwise it is refused and writes nothing.",
                explain::<K>(one, cluster)
            );
            diagnostics.warning(self.locate_steps(at, planned), format!("{} needs Karpenter {since}", one.place()), detail);
        }
        diagnostics
    }

    /// An error for each, where apply has it.
    pub(super) fn refuse_newer(&self, newer: &[Newer], planned: &Value, cluster: &str) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        let name = planned.attr("name").as_str().unwrap_or_default();
        for one in newer {
            let Newer { since, at, .. } = one;
            let detail = format!(
                "{}. Nothing was written.\n\nRaise Karpenter and its CRDs to {since} or newer first, e.g. by the version of karpenter_bundle \
                 with depends_on here, or leave it out.",
                explain::<K>(one, cluster)
            );
            diagnostics.error(self.locate_steps(at, planned), format!("could not apply {} {name:?}", K::KIND), detail);
        }
        diagnostics
    }

    /// The version that brought a field of the object, where that is not its first.
    pub(super) fn since(&self, field: &[Step]) -> Option<&str> {
        let mut block = &self.schema.block;
        let mut rest: Vec<&str> = field.iter().filter_map(Step::as_name).collect();
        let starts = |json: &[String], rest: &[&str]| rest.len() >= json.len() && json.iter().zip(rest).all(|(a, b)| a == b);
        let mut since = None;
        loop {
            if let Some(attribute) = block.attributes.iter().find(|a| starts(&a.json, &rest)) {
                return attribute.since.field.as_deref().or(since);
            }
            let Some(nested) = block.blocks.iter().find(|b| starts(&b.json, &rest)) else { return since };
            since = nested.since.field.as_deref().or(since);
            rest.drain(..nested.json.len());
            block = &nested.block;
        }
    }
}

fn explain<K: Kind>(newer: &Newer, cluster: &str) -> String {
    let resource = K::api_resource();
    let of = if cluster.is_empty() { "of the cluster".to_owned() } else { format!("of cluster {cluster:?}") };
    format!(
        "{} came with Karpenter {}, and the CRD {}.{} {of} is older: it does not have it",
        newer.place(),
        newer.since,
        resource.plural,
        resource.group
    )
}

#[cfg(test)]
mod tests;
