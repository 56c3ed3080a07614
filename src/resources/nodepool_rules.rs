//! Cross-field rules of a NodePool, checked offline. Unknown values, and texts with a placeholder, pass.

use std::collections::BTreeMap;

use super::placeholders::{is_literal, literal};
use super::{feasibility, labels};
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::value::Value;

/// A node carries the names of its pool and class as values of labels, which are no longer than this.
pub const NAME_LENGTH: usize = 63;

/// Checks what no single attribute's bounds can say.
pub fn validate(config: &Value) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    check_name(config, &mut diagnostics);
    let template = config.attr("template").first();
    let path = Path::attribute("template").index(0);
    check_requirements(template, &path, &mut diagnostics);
    for (key, _) in template.attr("labels").entries() {
        check_label(key, &path.child("labels").key(key), &mut diagnostics);
    }
    check_taints(template, &path, &mut diagnostics);
    check_budgets(config, &mut diagnostics);
    check_static(config, &mut diagnostics);
    feasibility::check(template, &path, &mut diagnostics);
    diagnostics
}

/// Checks that an object's name fits into a node's label.
pub fn check_name(config: &Value, diagnostics: &mut Diagnostics) {
    if let Some(name) = config.attr("name").as_str().filter(|name| name.len() > NAME_LENGTH) {
        let detail =
            format!("{name:?} has {} characters. Nodes carry it as a label's value, so it must have at most {NAME_LENGTH}.", name.len());
        diagnostics.error(Path::attribute("name"), "name too long", detail);
    }
}

fn check_requirements(template: &Value, path: &Path, diagnostics: &mut Diagnostics) {
    const MOST: usize = 100;
    let (blocks, by_label) = (template.attr("requirement").items(), template.attr("requirements"));
    for (i, requirement) in blocks.iter().enumerate() {
        check_requirement(requirement, &path.child("requirement").index(i), diagnostics);
    }
    for (key, values) in by_label.entries() {
        let path = path.child("requirements").key(key);
        check_label(key, &path, diagnostics);
        if matches!(values, Value::List(items) if items.is_empty()) {
            let detail = format!("{key} has no values, so no node would do. List those that are allowed, e.g. [\"...\"], or leave it out.");
            diagnostics.error(path, "a requirement without values", detail);
        }
    }
    for (i, block) in blocks.iter().enumerate().filter(|(_, block)| block.attr("operator").as_str() == Some("In")) {
        let twice = literal(block.attr("key"))
            .filter(|key| by_label.entries().any(|(other, values)| other == key && *values != Value::List(vec![])));
        if let (Some(key), true) = (twice, block.attr("min_values").is_null()) {
            let detail = format!("requirements has values for {key:?}, too. Keep one of the two, with the values that both have.");
            diagnostics.error(path.child("requirement").index(i), "the same requirement twice", detail);
        }
    }
    let count = blocks.len() + by_label.entries().count();
    if count > MOST && by_label.entries().count() > 0 {
        let detail = format!("There are {count} requirements in requirement and requirements together; Karpenter takes {MOST}.");
        diagnostics.error(path.child("requirements"), "too many requirements", detail);
    }
}

fn check_requirement(requirement: &Value, path: &Path, diagnostics: &mut Diagnostics) {
    if let Some(key) = literal(requirement.attr("key")) {
        check_label(key, &path.child("key"), diagnostics);
    }
    let values = requirement.attr("values");
    let (Some(operator), false) = (requirement.attr("operator").as_str(), values.is_unknown()) else { return };
    let path = path.child("values");
    let texts: Vec<&str> = values.items().iter().filter_map(Value::as_str).collect();
    match operator {
        "In" if values.items().is_empty() => {
            let detail = "Operator In needs at least one value. For any value, use operator \"Exists\" without values.";
            diagnostics.error(path, "a requirement without values", detail);
        }
        "In" => {
            let same = |i: usize| values.items()[..i].contains(&values.items()[i]) && literal(&values.items()[i]).is_some();
            let different = (0..values.items().len()).filter(|i| !same(*i)).count();
            let least = requirement.attr("min_values").as_i64().and_then(|least| usize::try_from(least).ok());
            if let Some(least) = least.filter(|least| *least > different) {
                let detail = format!("min_values is {least}, but there are only {different} different values: {texts:?}.");
                diagnostics.error(path, "fewer values than min_values", detail);
            }
        }
        "Gt" | "Lt" | "Gte" | "Lte" => {
            // a sign is the label value's mistake, told there
            let whole = |text: &str| text.trim_start_matches('+').bytes().all(|b| b.is_ascii_digit()) && text.parse::<i64>().is_ok();
            if values.items().len() != 1 || literal(values.first()).is_some_and(|text| !whole(text)) {
                let detail = format!("Operator {operator} needs one whole number from 0 on, e.g. [\"4\"], not {texts:?}.");
                diagnostics.error(path, "not one whole number", detail);
            }
        }
        _ => {}
    }
}

fn check_label(key: &str, path: &Path, diagnostics: &mut Diagnostics) {
    if let Some(Err(why)) = is_literal(key).then(|| labels::check(key)) {
        diagnostics.error(path.clone(), "restricted label", why);
    }
}

/// Karpenter refuses a pool with the same key and effect twice, in both lists of taints together.
fn check_taints(template: &Value, path: &Path, diagnostics: &mut Diagnostics) {
    let mut seen: BTreeMap<(&str, &str), Path> = BTreeMap::new();
    for block in ["taint", "startup_taint"] {
        for (i, taint) in template.attr(block).items().iter().enumerate() {
            let (Some(key), Some(effect)) = (literal(taint.attr("key")), literal(taint.attr("effect"))) else { continue };
            let path = path.child(block).index(i);
            if let Some(first) = seen.get(&(key, effect)) {
                let detail = format!("{key:?} with effect {effect} stands at {first} already. Remove one of the two.");
                diagnostics.error(path, "the same taint twice", detail);
            } else {
                seen.insert((key, effect), path);
            }
        }
    }
}

fn check_budgets(config: &Value, diagnostics: &mut Diagnostics) {
    for (i, budget) in config.attr("disruption").first().attr("budget").items().iter().enumerate() {
        let path = Path::attribute("disruption").index(0).child("budget").index(i);
        let (schedule, duration) = (budget.attr("schedule"), budget.attr("duration"));
        if !schedule.is_unknown() && !duration.is_unknown() && schedule.is_null() != duration.is_null() {
            let (set, missing, example) =
                if duration.is_null() { ("schedule", "duration", "\"8h\"") } else { ("duration", "schedule", "\"0 9 * * mon-fri\"") };
            let detail = format!(
                "{set} is set and {missing} is not. Set both, e.g. {missing} = {example}, or neither: the budget then always holds."
            );
            diagnostics.error(path.child(set), "schedule and duration go together", detail);
        }
        let reasons = budget.attr("reasons").items();
        for (n, reason) in reasons.iter().enumerate() {
            if let Some(reason) = literal(reason).filter(|_| reasons[..n].contains(reason)) {
                let detail = format!("{reason} stands in reasons twice. Remove one of the two.");
                diagnostics.error(path.child("reasons").index(n), "the same reason twice", detail);
            }
        }
    }
}

fn check_static(config: &Value, diagnostics: &mut Diagnostics) {
    let known = |value: &Value| !value.is_null() && !value.is_unknown();
    if !known(config.attr("replicas")) {
        return;
    }
    if known(config.attr("weight")) {
        let detail = "A pool with replicas is static: no pod chooses it, so it takes no weight. Remove weight or replicas.";
        diagnostics.error(Path::attribute("weight"), "weight on a static pool", detail);
    }
    for (key, _) in config.attr("limits").entries().filter(|(key, value)| *key != "nodes" && is_literal(key) && known(value)) {
        let detail = format!("A pool with replicas takes no limit but \"nodes\". Remove {key:?} or replicas.");
        diagnostics.error(Path::attribute("limits").key(key), "limit on a static pool", detail);
    }
}
