//! Cross-field rules of a NodePool, checked offline. Unknown values pass.

use super::feasibility;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::value::Value;

/// Checks what no single attribute's bounds can say.
pub fn validate(config: &Value) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let template = config.attr("template").first();
    let path = Path::attribute("template").index(0);
    for (i, requirement) in template.attr("requirement").items().iter().enumerate() {
        check_requirement(requirement, &path.child("requirement").index(i), &mut diagnostics);
    }
    for (key, values) in template.attr("requirements").entries() {
        let path = path.child("requirements").key(key);
        restricted(key, &path, &mut diagnostics);
        if matches!(values, Value::List(items) if items.is_empty()) {
            diagnostics.error(path, "a requirement without values", format!("{key} must be in a list of at least one value."));
        }
    }
    for (key, _) in template.attr("labels").entries() {
        restricted(key, &path.child("labels").key(key), &mut diagnostics);
    }
    for (i, budget) in config.attr("disruption").first().attr("budget").items().iter().enumerate() {
        let (schedule, duration) = (budget.attr("schedule"), budget.attr("duration"));
        if !schedule.is_unknown() && !duration.is_unknown() && schedule.is_null() != duration.is_null() {
            let path = Path::attribute("disruption").index(0).child("budget").index(i);
            diagnostics.error(path, "schedule and duration go together", "Set both, so that the budget is active for a time, or neither.");
        }
    }
    check_static(config, &mut diagnostics);
    feasibility::check(template, &path, &mut diagnostics);
    diagnostics
}

fn check_requirement(requirement: &Value, path: &Path, diagnostics: &mut Diagnostics) {
    if let Some(key) = requirement.attr("key").as_str() {
        restricted(key, &path.child("key"), diagnostics);
    }
    let values = requirement.attr("values");
    let (Some(operator), false) = (requirement.attr("operator").as_str(), values.is_unknown()) else { return };
    let count = values.items().len();
    let path = path.child("values");
    match operator {
        "In" if count == 0 => diagnostics.error(path, "a requirement without values", "Operator In needs at least one value."),
        "In" => {
            if let Some(least) = requirement.attr("min_values").as_i64().filter(|least| usize::try_from(*least).is_ok_and(|l| l > count)) {
                diagnostics.error(path, "fewer values than min_values", format!("min_values is {least}, but there are {count} values."));
            }
        }
        "Gt" | "Lt" | "Gte" | "Lte" => {
            let number = values.first().as_str().is_none_or(|text| text.parse::<u64>().is_ok());
            if count != 1 || !number {
                let got: Vec<&str> = values.items().iter().filter_map(Value::as_str).collect();
                diagnostics.error(path, "not one whole number", format!("Operator {operator} needs one whole number from 0 on, not {got:?}."));
            }
        }
        _ => {}
    }
}

/// Labels that Karpenter keeps for itself.
fn restricted(key: &str, path: &Path, diagnostics: &mut Diagnostics) {
    const ALLOWED: [&str; 1] = ["karpenter.sh/capacity-type"];
    let domain = key.split('/').next().filter(|_| key.contains('/')).unwrap_or_default();
    if key == "kubernetes.io/hostname" || (domain.ends_with("karpenter.sh") && !ALLOWED.contains(&key)) {
        diagnostics.error(path.clone(), "restricted label", format!("Karpenter sets {key:?} itself; it cannot be asked for."));
    }
}

fn check_static(config: &Value, diagnostics: &mut Diagnostics) {
    let replicas = config.attr("replicas");
    if replicas.is_null() || replicas.is_unknown() {
        return;
    }
    if !config.attr("weight").is_null() && !config.attr("weight").is_unknown() {
        diagnostics.error(Path::attribute("weight"), "weight on a static pool", "A pool with replicas takes no weight.");
    }
    for (key, _) in config.attr("limits").entries().filter(|(key, _)| *key != "nodes") {
        diagnostics.error(Path::attribute("limits").key(key), "limit on a static pool", "A pool with replicas takes no limit but nodes.");
    }
}
