//! The plan of a resource, from prior state and configuration alone: no I/O, no clock, no randomness, so that the second plan
//! at apply completes the first.

use super::path::Path;
use super::schema::{Attribute, Block, Mode};
use super::value::Value;

/// Plans a create (prior null) or an update: what the configuration says, and for the rest what the provider computes.
///
/// A computed value stays as it was; on create, or in a block that is new, it is its default or unknown. A value that the user
/// removes after we had set it (`was_set`) plans the API server's default. An unknown block is echoed as it came.
pub fn plan(block: &Block, prior: &Value, config: &Value, was_set: &dyn Fn(&Path) -> bool) -> Value {
    plan_block(block, prior, config, &Path::root(), was_set)
}

fn plan_block(block: &Block, prior: &Value, config: &Value, path: &Path, was_set: &dyn Fn(&Path) -> bool) -> Value {
    let attributes = block.attributes.iter().map(|attribute| {
        let path = path.child(&attribute.name);
        let written = config.attr(&attribute.name);
        let planned = if written.is_null() { unwritten(attribute, prior, was_set(&path)) } else { written.clone() };
        (attribute.name.clone(), planned)
    });
    let blocks = block.blocks.iter().map(|nested| {
        let path = path.child(&nested.name);
        let before = prior.attr(&nested.name).items();
        let planned = match config.attr(&nested.name) {
            Value::List(items) => Value::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| match item {
                        Value::Map(_) => plan_block(&nested.block, before.get(i).unwrap_or(&Value::Null), item, &path.index(i), was_set),
                        unknown => unknown.clone(),
                    })
                    .collect(),
            ),
            Value::Null => Value::List(vec![]),
            unknown => unknown.clone(),
        };
        (nested.name.clone(), planned)
    });
    Value::object(attributes.chain(blocks))
}

/// What is planned for an attribute that the configuration does not set.
fn unwritten(attribute: &Attribute, prior: &Value, was_set: bool) -> Value {
    match attribute.mode {
        Mode::Required | Mode::Optional => Value::Null,
        Mode::Computed | Mode::OptionalComputed if prior.is_null() => attribute.default.clone().unwrap_or_else(Value::unknown),
        Mode::OptionalComputed if was_set => {
            attribute.default.clone().or_else(|| attribute.server_default.clone()).unwrap_or_else(Value::unknown)
        }
        Mode::Computed | Mode::OptionalComputed => prior.attr(&attribute.name).clone(),
    }
}

/// Attributes whose planned change needs a replacement. An unknown value never does.
pub fn requires_replace(block: &Block, prior: &Value, planned: &Value) -> Vec<Path> {
    let mut paths = Vec::new();
    if !prior.is_null() && !planned.is_null() {
        collect_replacements(block, prior, planned, &Path::root(), &mut paths);
    }
    paths
}

fn collect_replacements(block: &Block, prior: &Value, planned: &Value, path: &Path, paths: &mut Vec<Path>) {
    for attribute in block.attributes.iter().filter(|a| a.requires_replace) {
        let (before, after) = (prior.attr(&attribute.name), planned.attr(&attribute.name));
        if !before.is_null() && before.is_wholly_known() && after.is_wholly_known() && !after.is_null() && before != after {
            paths.push(path.child(&attribute.name));
        }
    }
    for nested in &block.blocks {
        let pairs = prior.attr(&nested.name).items().iter().zip(planned.attr(&nested.name).items());
        for (i, (before, after)) in pairs.enumerate() {
            collect_replacements(&nested.block, before, after, &path.child(&nested.name).index(i), paths);
        }
    }
}

/// Sets computed-only attributes to unknown, at the top level.
pub fn mark_unknown(planned: &mut Value, names: &[&str]) {
    for name in names {
        planned.set(name, Value::unknown());
    }
}
