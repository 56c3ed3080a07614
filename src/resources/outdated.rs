//! What a change outdates: nodes that Karpenter made by the object as it was, and replaces when they no longer match it.

use super::drift::recorded;
use super::manifest;
use super::object::{ApiObject, Kind};
use crate::tofu::convert::{self, Projection};
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::schema::{Attribute, Block, NestedBlock, Outdates};
use crate::tofu::value::Value;

/// An argument that a plan changes in meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where, in the plan.
    path: Path,
    /// What that outdates.
    outdates: Outdates,
}

/// Pools whose nodes a change concerns, each with the number of its nodes; `None` where the cluster does not tell.
pub type Concerned = Option<Vec<(String, usize)>>;

impl<K: Kind> ApiObject<K> {
    /// What a plan changes that outdates something. Texts that mean the same are no change.
    pub fn outdating(&self, prior: &Value, config: &Value, planned: &Value) -> Vec<Change> {
        let block = &self.schema.block;
        let after = match planned.attr("manifest") {
            Value::Null => planned.clone(),
            _ => match self.arguments(config) {
                Ok(Some(arguments)) => arguments,
                _ => return vec![],
            },
        };
        let placeholders = recorded(prior);
        let resolve = |text: &str| placeholders.resolve(text);
        let mut before = self.body(prior, prior, &placeholders);
        K::disassemble(&mut before, &after, &resolve, false);
        let before = convert::project(block, &after, &before, &Projection { resolve: &resolve, import: true });
        let mut changes = vec![];
        collect(block, &before, &after, &Path::root(), &mut changes);
        changes
    }

    /// One warning for a change in place, at the argument that outdates most; none where nothing is outdated.
    pub fn warn_outdated(&self, changes: &[Change], planned: &Value, concerned: &Concerned) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        let Some(most) = changes.iter().map(|c| c.outdates).max() else { return diagnostics };
        let of_most: Vec<&Change> = changes.iter().filter(|c| c.outdates == most).collect();
        let whose = whose::<K>(planned.attr("name").as_str().unwrap_or_default(), concerned);
        let by_manifest = !planned.attr("manifest").is_null();
        let paths = match of_most.as_slice() {
            [_] if by_manifest => "this".to_owned(),
            several if by_manifest => format!("this and {} more", several.len() - 1),
            several => several.iter().map(|c| c.path.to_string()).collect::<Vec<_>>().join(", "),
        };
        let (summary, detail) = match most {
            Outdates::All => (
                format!("This change rolls every node of {whose}"),
                format!("Karpenter compares nodes with {paths}: it replaces those made before, as the disruption budgets allow."),
            ),
            Outdates::Some | Outdates::None => (
                format!("This change may roll nodes of {whose}"),
                format!(
                    "Karpenter compares nodes with what {paths} comes to: it replaces those that no longer fit, as the disruption budgets allow."
                ),
            ),
        };
        diagnostics.warning(of_most[0].path.clone(), summary, detail);
        match planned.attr("manifest").as_str().map(|text| manifest::read::<K>(&self.schema.block, text, &Value::Null)) {
            Some(Ok(manifest)) => manifest::relocate(&self.schema.block, &manifest, diagnostics),
            _ => diagnostics,
        }
    }

    /// The warning for a replacement, at what makes it one.
    pub fn warn_replaced(&self, replaced: &Path, prior: &Value, planned: &Value, concerned: &Concerned) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        let name = prior.attr("name").as_str().unwrap_or_default();
        let same_place = prior.attr("name") == planned.attr("name") && *replaced != Path::attribute("cluster_name");
        let order = match K::KIND {
            "NodePool" => "The old pool goes first, and its nodes drain, before the new one is made",
            _ => "The old class goes, once no pool uses it any more, before the new one is made",
        };
        let other_name = if same_place { ", and another name," } else { "" };
        let detail = format!(
            "{replaced} cannot change in place. {order}. With lifecycle {{ create_before_destroy = true }}{other_name} the new one is there \
             before the old one goes."
        );
        let at = if prior.attr("manifest").is_null() || planned.attr("manifest").is_null() {
            replaced.clone()
        } else {
            Path::attribute("manifest")
        };
        diagnostics.warning(at, format!("This replacement rolls every node of {}", whose::<K>(name, concerned)), detail);
        diagnostics
    }
}

/// `pool a (37 now)`, or the pools of a class.
fn whose<K: Kind>(name: &str, concerned: &Concerned) -> String {
    let one = |(pool, nodes): &(String, usize)| format!("{pool} ({nodes} now)");
    match (K::KIND, concerned.as_deref()) {
        ("NodePool", None) => format!("pool {name}"),
        (_, None) => format!("the pools of class {name}"),
        (_, Some([])) => format!("the pools of class {name} (no pool now)"),
        (_, Some([pool])) => format!("pool {}", one(pool)),
        (_, Some(pools)) => format!("pools {}", pools.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

fn collect(block: &Block, before: &Value, after: &Value, path: &Path, changes: &mut Vec<Change>) {
    for attribute in block.attributes.iter().filter(|a| a.outdates != Outdates::None) {
        let (old, new) = (before.attr(&attribute.name), after.attr(&attribute.name));
        let outdates = if new.is_wholly_known() { attribute.outdates } else { attribute.outdates.min(Outdates::Some) };
        if old != new && !(new.is_null() && is_default(attribute, old)) {
            changes.push(Change { path: path.child(&attribute.name), outdates });
        }
    }
    for nested in &block.blocks {
        collect_nested(nested, before.attr(&nested.name), after.attr(&nested.name), path, changes);
    }
}

fn collect_nested(nested: &NestedBlock, before: &Value, after: &Value, path: &Path, changes: &mut Vec<Change>) {
    let path = path.child(&nested.name);
    let mut add = |path: Path, outdates: Outdates| {
        if outdates != Outdates::None {
            changes.push(Change { path, outdates });
        }
    };
    if after.is_unknown() {
        return add(path, nested.outdates.min(Outdates::Some));
    }
    let mut gone: Vec<&Value> = before.items().iter().collect();
    let is_new = |(_, item): &(usize, &Value)| match gone.iter().position(|old| old == item) {
        Some(i) if nested.set => {
            gone.remove(i);
            false
        }
        _ => true,
    };
    let new: Vec<(usize, &Value)> = after.items().iter().enumerate().filter(is_new).collect();
    match (new.as_slice(), gone.len() == new.len()) {
        (_, true) => {
            for ((i, item), old) in new.iter().zip(gone) {
                collect(&nested.block, old, item, &path.index(*i), changes);
            }
        }
        ([], false) => add(path, nested.outdates),
        ([(i, item), ..], false) => {
            // the client points at arguments only: the first one in it
            let argument = nested.block.attributes.iter().find(|a| !item.attr(&a.name).is_null());
            let path = path.index(*i);
            add(argument.map_or_else(|| path.clone(), |a| path.child(&a.name)), nested.outdates);
        }
    }
}

/// Whether a value is what leaving it out comes to.
fn is_default(attribute: &Attribute, value: &Value) -> bool {
    attribute.default.as_ref() == Some(value) || attribute.server_default.as_ref() == Some(value)
}

#[cfg(test)]
mod tests;
