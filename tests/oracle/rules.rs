//! What the client accepts, rule by rule as `protocol.md` names them: the plan's rules here, the comparison that both the
//! second plan and an apply must pass in [`super::compatible`].
//!
//! All nesting of this provider is LIST, so that is the only one here.

use std::fmt;

use karpenter::tofu::msgpack;
use karpenter::tofu::path::{Path, Step};
use karpenter::tofu::schema::{Attribute, Block, Mode, Type};
use karpenter::tofu::value::Value;

use super::compatible::compatible;

/// A rule that an answer breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// P1 to P9, A1 to A5, R2.
    pub rule: &'static str,
    /// Where.
    pub path: Path,
    /// How.
    pub message: String,
}

impl Violation {
    /// Of a rule, at a place.
    pub fn new(rule: &'static str, path: &Path, message: impl Into<String>) -> Self {
        Violation { rule, path: path.clone(), message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.rule, self.path, self.message)
    }
}

/// What the client does with a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// There was nothing.
    Create,
    /// Nothing changes.
    NoOp,
    /// In place.
    Update,
    /// Another object.
    Replace,
    /// Nothing is wanted.
    Delete,
}

/// The action that the client derives from a plan.
pub fn action(prior: &Value, planned: &Value, requires_replace: &[Path]) -> Action {
    // an unknown path, or one whose value stays, replaces nothing
    let changes = |path: &&Path| match (resolve(prior, path), resolve(planned, path)) {
        (Some(before), Some(after)) => before != after,
        (before, after) => before.or(after).is_some_and(|v| !v.is_null()),
    };
    match (prior.is_null(), planned.is_null()) {
        (_, true) => Action::Delete,
        (true, false) => Action::Create,
        (false, false) if prior == planned && planned.is_wholly_known() => Action::NoOp,
        (false, false) if requires_replace.iter().any(|path| changes(&path)) => Action::Replace,
        (false, false) => Action::Update,
    }
}

/// P1, P2, P3, P5: whether a plan agrees with configuration and prior state.
pub fn plan_valid(block: &Block, prior: &Value, config: &Value, planned: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    match (config.is_null(), planned.is_null()) {
        (true, true) => {}
        (true, false) => found.push(Violation::new("P1", &Path::root(), "planned, but the configuration wants absence")),
        (false, true) => found.push(Violation::new("P1", &Path::root(), "not planned, but the configuration wants it")),
        (false, false) => {
            conforms_to_block("P2", block, planned, &Path::root(), &mut found);
            if found.is_empty() {
                block_valid(block, prior, config, planned, &Path::root(), &mut found);
            }
        }
    }
    found
}

fn block_valid(block: &Block, prior: &Value, config: &Value, planned: &Value, path: &Path, found: &mut Vec<Violation>) {
    for attribute in &block.attributes {
        let [prior, config, planned] = [prior, config, planned].map(|v| v.attr(&attribute.name));
        attribute_valid(attribute, prior, config, planned, path, found);
    }
    for nested in &block.blocks {
        let [prior, config, planned] = [prior, config, planned].map(|v| v.attr(&nested.name));
        // the easy way out compares refinements, too: an unknown block must come back as it was sent
        if planned == config {
            continue;
        }
        let path = path.child(&nested.name);
        let problem = match (config, planned) {
            (Value::Unknown(_), _) => "an unknown block was changed".to_owned(),
            (_, Value::Unknown(_)) => "a block is unknown itself, rather than what is in it".to_owned(),
            (_, Value::Null) => "no blocks are null, rather than an empty list".to_owned(),
            (config, planned) if config.items().len() != planned.items().len() => {
                format!("{} blocks are planned, {} are configured", planned.items().len(), config.items().len())
            }
            (config, planned) => {
                for (i, (config, planned)) in config.items().iter().zip(planned.items()).enumerate() {
                    let path = path.index(i);
                    match (config.is_null(), planned) {
                        (_, Value::Unknown(_)) => found.push(Violation::new("P5", &path, "a block is unknown itself")),
                        (false, Value::Null) => found.push(Violation::new("P1", &path, "not planned, but configured")),
                        _ => block_valid(&nested.block, prior.items().get(i).unwrap_or(&Value::Null), config, planned, &path, found),
                    }
                }
                continue;
            }
        };
        found.push(Violation::new("P5", &path, problem));
    }
}

fn attribute_valid(attribute: &Attribute, prior: &Value, config: &Value, planned: &Value, path: &Path, found: &mut Vec<Violation>) {
    if planned == config {
        return;
    }
    let planned = unrefined(planned);
    let may_compute = matches!(attribute.mode, Mode::Computed) || (attribute.mode == Mode::OptionalComputed && config.is_null());
    let as_prior = !prior.is_null() && !config.is_null() && planned == unrefined(prior);
    if planned != unrefined(config) && !as_prior && !may_compute {
        let message = format!("planned {} is neither configured ({}) nor prior ({})", show(&planned), show(config), show(prior));
        found.push(Violation::new("P3", &path.child(&attribute.name), message));
    }
}

/// P4: attributes that are never stored are null in every state.
pub fn write_only(names: &[&str], state: &Value) -> Vec<Violation> {
    let set = names.iter().filter(|name| !state.attr(name).is_null());
    set.map(|name| Violation::new("P4", &Path::attribute(*name), "a write-only value is in a state")).collect()
}

/// P6: every path that requires replacement leads somewhere in the prior or the planned state.
pub fn replacements_resolve(prior: &Value, planned: &Value, paths: &[Path]) -> Vec<Violation> {
    let lost = paths.iter().filter(|path| resolve(prior, path).is_none() && resolve(planned, path).is_none());
    lost.map(|path| Violation::new("P6", path, "requires replacement, but is in neither state")).collect()
}

/// P7: the plan that is made at apply completes the first one.
pub fn completes(block: &Block, first: (&Value, Action), second: (&Value, Action)) -> Vec<Violation> {
    let mut found = compatible("P7", block, first.0, second.0);
    let same = first.1 == second.1 || (first.1 == Action::Update && second.1 == Action::NoOp);
    if !same {
        found.push(Violation::new("P7", &Path::root(), format!("the action changed from {:?} to {:?}", first.1, second.1)));
    }
    found
}

/// P8, R2: two values that must be the same.
pub fn unchanged(rule: &'static str, before: &Value, after: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    differences(rule, before, after, &Path::root(), &mut found);
    found
}

/// P9: of a replacement, the plan made without prior (with the first one's private data) must be valid by itself, and the one
/// made at apply (without any) must complete it.
pub fn replaces(block: &Block, config: &Value, second: (&Value, &[Path]), at_apply: &Value) -> Vec<Violation> {
    let mut found = plan_valid(block, &Value::Null, config, second.0);
    found.extend(compatible("P9", block, second.0, at_apply));
    found.extend(second.1.iter().map(|path| Violation::new("P9", path, "a create requires replacement")));
    found.into_iter().map(|v| Violation { rule: "P9", ..v }).collect()
}

/// A1 to A3: an apply without errors.
pub fn applied(block: &Block, planned: &Value, new_state: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    match (planned.is_null(), new_state.is_null()) {
        (true, true) => {}
        (true, false) => found.push(Violation::new("A3", &Path::root(), "deleted, but still in the state")),
        (false, true) => found.push(Violation::new("A3", &Path::root(), "applied, but not in the state")),
        (false, false) => {
            unknown_leaves(new_state, &Path::root(), &mut found);
            conforms_to_block("A4", block, new_state, &Path::root(), &mut found);
            found.extend(compatible("A2", block, planned, new_state));
        }
    }
    found
}

/// A4: a value that the client can decode, by the schema's type.
pub fn survives_the_wire(block: &Block, value: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    conforms_to_block("A4", block, value, &Path::root(), &mut found);
    if found.is_empty() {
        let ty = block.ty();
        match msgpack::decode(&msgpack::encode(value, &ty), &ty) {
            Ok(back) => found.extend(unchanged("A4", value, &back)),
            Err(error) => found.push(Violation::new("A4", &error.path, error.message)),
        }
    }
    found
}

/// A5: what an apply that failed may return.
pub fn failed(action: Action, prior: &Value, new_state: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    unknown_leaves(new_state, &Path::root(), &mut found);
    match action {
        Action::Delete if new_state != prior => found.push(Violation::new("A5", &Path::root(), "a failed delete lost the prior state")),
        Action::Update if new_state.is_null() => found.push(Violation::new("A5", &Path::root(), "a failed update lost the state")),
        _ => {}
    }
    found.into_iter().map(|v| Violation { rule: "A5", ..v }).collect()
}

/// Where a path leads, if it does.
pub fn resolve<'a>(value: &'a Value, path: &Path) -> Option<&'a Value> {
    path.0.iter().try_fold(value, |value, step| match (step, value) {
        (Step::Attribute(name) | Step::Key(name), Value::Map(entries)) => entries.get(name),
        (Step::Index(i), Value::List(items)) => items.get(*i),
        _ => None,
    })
}

/// The value without what is known of its unknown parts.
pub fn unrefined(value: &Value) -> Value {
    match value {
        Value::Unknown(_) => Value::unknown(),
        Value::List(items) => Value::List(items.iter().map(unrefined).collect()),
        Value::Map(entries) => Value::Map(entries.iter().map(|(k, v)| (k.clone(), unrefined(v))).collect()),
        known => known.clone(),
    }
}

fn conforms_to_block(rule: &'static str, block: &Block, value: &Value, path: &Path, found: &mut Vec<Violation>) {
    let entries = match value {
        Value::Null | Value::Unknown(_) => return,
        Value::Map(entries) => entries,
        value => return found.push(Violation::new(rule, path, format!("{} is no object", show(value)))),
    };
    let missing = |name: &str| Violation::new(rule, &path.child(name), "the attribute is missing");
    for attribute in &block.attributes {
        match entries.get(&attribute.name) {
            Some(Value::Null) => {}
            Some(value) => conforms(rule, &attribute.ty, value, &path.child(&attribute.name), found),
            None => found.push(missing(&attribute.name)),
        }
    }
    for nested in &block.blocks {
        match entries.get(&nested.name) {
            Some(Value::List(items)) => {
                let path = path.child(&nested.name);
                items.iter().enumerate().for_each(|(i, item)| conforms_to_block(rule, &nested.block, item, &path.index(i), found));
            }
            Some(Value::Null | Value::Unknown(_)) => {}
            Some(value) => found.push(Violation::new(rule, &path.child(&nested.name), format!("{} is no list", show(value)))),
            None => found.push(missing(&nested.name)),
        }
    }
    if entries.len() > block.attributes.len() + block.blocks.len() {
        for name in entries.keys().filter(|name| block.attribute(name).is_none() && block.nested(name).is_none()) {
            found.push(Violation::new(rule, &path.child(name), "there is no such attribute"));
        }
    }
}

fn conforms(rule: &'static str, ty: &Type, value: &Value, path: &Path, found: &mut Vec<Violation>) {
    match (ty, value) {
        (_, Value::Null | Value::Unknown(_)) | (Type::Dynamic, _) => {}
        (Type::String, Value::String(_)) | (Type::Number, Value::Number(_)) | (Type::Bool, Value::Bool(_)) => {}
        (Type::List(element), Value::List(items)) => {
            items.iter().enumerate().for_each(|(i, item)| conforms(rule, element, item, &path.index(i), found));
        }
        (Type::Map(element), Value::Map(entries)) => {
            entries.iter().for_each(|(key, item)| conforms(rule, element, item, &path.key(key), found));
        }
        (Type::Object(attributes), Value::Map(entries)) => {
            for (name, ty) in attributes {
                match entries.get(name) {
                    Some(value) => conforms(rule, ty, value, &path.child(name), found),
                    None => found.push(Violation::new(rule, &path.child(name), "the attribute is missing")),
                }
            }
            for name in entries.keys().filter(|name| !attributes.iter().any(|(known, _)| known == *name)) {
                found.push(Violation::new(rule, &path.child(name), "there is no such attribute"));
            }
        }
        (ty, value) => found.push(Violation::new(rule, path, format!("{} is no {ty:?}", show(value)))),
    }
}

fn unknown_leaves(value: &Value, path: &Path, found: &mut Vec<Violation>) {
    match value {
        Value::Unknown(_) => found.push(Violation::new("A1", path, "unknown after apply")),
        Value::List(items) => items.iter().enumerate().for_each(|(i, item)| unknown_leaves(item, &path.index(i), found)),
        Value::Map(entries) => entries.iter().for_each(|(key, item)| unknown_leaves(item, &path.child(key), found)),
        _ => {}
    }
}

fn differences(rule: &'static str, before: &Value, after: &Value, path: &Path, found: &mut Vec<Violation>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Map(old), Value::Map(new)) if old.keys().eq(new.keys()) => {
            old.iter().for_each(|(key, value)| differences(rule, value, &new[key], &path.child(key), found));
        }
        (Value::List(old), Value::List(new)) if old.len() == new.len() => {
            old.iter().zip(new).enumerate().for_each(|(i, (old, new))| differences(rule, old, new, &path.index(i), found));
        }
        (Value::String(old), Value::String(new)) if old.len() > 60 => {
            let same = old.chars().zip(new.chars()).take_while(|(a, b)| a == b).count();
            let there = |text: &str| text.chars().skip(same.saturating_sub(60)).take(160).collect::<String>();
            found.push(Violation::new(rule, path, format!("...{:?} became ...{:?}", there(old), there(new))));
        }
        _ => found.push(Violation::new(rule, path, format!("{} became {}", show(before), show(after)))),
    }
}

/// A value on one line.
pub fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Unknown(refinements) if refinements.0.is_some() => "unknown(refined)".to_owned(),
        Value::Unknown(_) => "unknown".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            // nulls and empty lists say nothing and would hide the rest
            let said = entries.iter().filter(|(_, v)| !v.is_null() && **v != Value::List(vec![]));
            format!("{{{}}}", said.map(|(k, v)| format!("{k} = {}", show(v))).collect::<Vec<_>>().join(", "))
        }
    }
}
