//! From a field of the API's object, as the API server names it, to the attribute that declares it.

use super::object::{ApiObject, Kind};
use crate::error::Error;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::{Path, Step};
use crate::tofu::schema::Block;
use crate::tofu::value::Value;

impl<K: Kind> ApiObject<K> {
    /// The attribute that an API server's field path is about.
    pub fn locate(&self, field: &str, planned: &Value) -> Option<Path> {
        self.locate_steps(&parse_field(field), planned)
    }

    /// The same for a path in steps.
    pub fn locate_steps(&self, steps: &[Step], planned: &Value) -> Option<Path> {
        if !planned.attr("manifest").is_null() {
            return Some(Path::attribute("manifest"));
        }
        K::locate(steps, planned).or_else(|| attribute_of(&self.schema.block, steps, Path::root()))
    }

    /// Each field that the API server refused, at its attribute. One that its schema does not have is told with the version that
    /// brought it.
    pub(super) fn refused(&self, error: Error, planned: &Value) -> Diagnostics {
        if error.causes.is_empty() {
            return error.into();
        }
        let mut diagnostics = Diagnostics::default();
        for cause in &error.causes {
            let mut detail = format!("{}: {}", cause.field, cause.message);
            if cause.message.contains("not declared in schema") {
                detail.push_str("\n\nThe CRDs in the cluster do not have this field.");
                if let Some(since) = self.since(&parse_field(&cause.field)) {
                    detail.push_str(&format!(" It came with Karpenter {since}: raise Karpenter and its CRDs first."));
                }
            }
            if !error.remedy.is_empty() {
                detail.push_str(&format!("\n\n{}", error.remedy));
            }
            diagnostics.error(self.locate(&cause.field, planned), format!("could not {}", error.action), detail);
        }
        diagnostics
    }
}

/// `spec.limits[cpu]`, `spec.template.metadata.labels[a.b/c]` and `spec.template.spec.taints[0].key` as steps.
fn parse_field(field: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        if let Some((inner, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            steps.push(inner.parse().map_or_else(|_| Step::Key(inner.trim_matches('"').to_owned()), Step::Index));
            rest = after;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).filter(|end| *end > 0).unwrap_or(rest.len());
            steps.push(Step::Attribute(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    steps.retain(|step| *step != Step::Attribute(String::new()));
    steps
}

/// The deepest attribute on the way to a field.
fn attribute_of(block: &Block, field: &[Step], path: Path) -> Option<Path> {
    let starts =
        |json: &[String]| json.len() <= field.len() && json.iter().zip(field).all(|(key, step)| *step == Step::Attribute(key.clone()));
    if let Some(nested) = block.blocks.iter().find(|b| starts(&b.json)) {
        let path = path.child(&nested.name);
        let rest = &field[nested.json.len()..];
        return match rest.split_first() {
            Some((Step::Index(i), rest)) if !nested.single => attribute_of(&nested.block, rest, path.index(*i)).or(Some(path.index(*i))),
            _ if nested.single => attribute_of(&nested.block, rest, path.index(0)).or(Some(path)),
            _ => Some(path),
        };
    }
    let attribute = block.attributes.iter().find(|a| starts(&a.json))?;
    let path = path.child(&attribute.name);
    let rest = &field[attribute.json.len()..];
    Some(match rest.first() {
        Some(Step::Key(key)) => path.key(key),
        // a key with dots, as conflicts name it
        Some(Step::Attribute(_)) => path.key(rest.iter().filter_map(Step::as_name).collect::<Vec<_>>().join(".")),
        Some(Step::Index(i)) => path.index(*i),
        None => path,
    })
}
