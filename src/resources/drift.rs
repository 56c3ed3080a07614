//! What a plan tells about other field managers: who changed what it shows, and what they added beside the configuration.

use kube::core::DynamicObject;
use serde_json::Value as Json;

use super::defaults::default_at;
use super::object::{ApiObject, Kind, Private};
use super::ownership::{self, Field, Handover};
use super::placeholders::Placeholders;
use crate::tofu::convert;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Step;
use crate::tofu::value::Value;

/// What the configuration says of a field that somebody else set.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It says nothing of it, and the plan leaves it alone.
    None,
    /// It agrees.
    Agreed,
    /// It says this.
    Set(Json),
    /// It said so before, and does no longer: apply removes it.
    Removed,
}

/// Objects that prior state, configuration and plan amount to.
pub struct Bodies {
    /// What the state holds.
    pub prior: Json,
    /// What the configuration says.
    pub config: Json,
    /// What is planned; like the configuration, with what the API server or others set for the rest.
    pub planned: Json,
}

impl Bodies {
    /// What becomes of a field.
    pub fn claim(&self, path: &[String]) -> Claim {
        let [before, written, after] = [&self.prior, &self.config, &self.planned].map(|body| convert::at(body, path));
        match (before, written, after) {
            (Some(before), Some(written), _) if before == written => Claim::Agreed,
            (_, Some(written), _) => Claim::Set(written.clone()),
            (Some(before), None, Some(after)) if before == after => Claim::None,
            (Some(_), None, _) => Claim::Removed,
            (None, None, _) => Claim::None,
        }
    }

    /// Fields that the state holds, the configuration says nothing of, and the plan keeps.
    pub fn kept(&self) -> Vec<(Vec<String>, &Json)> {
        let mut found = vec![];
        collect_kept((&self.prior, &self.config, &self.planned), &[], &mut found);
        found
    }
}

fn collect_kept<'a>((prior, config, planned): (&'a Json, &Json, &Json), path: &[String], found: &mut Vec<(Vec<String>, &'a Json)>) {
    for (key, before) in prior.as_object().into_iter().flatten() {
        let path = [path, std::slice::from_ref(key)].concat();
        match (config.get(key), planned.get(key)) {
            (None, Some(after)) if before == after => found.push((path, before)),
            (Some(written), Some(after)) => collect_kept((before, written, after), &path, found),
            _ => {}
        }
    }
}

impl<K: Kind> ApiObject<K> {
    /// The objects that a change amounts to.
    pub fn bodies(&self, prior: &Value, config: &Value, planned: &Value, placeholders: &Placeholders) -> Bodies {
        let [prior, config, planned] =
            [(prior, prior), (config, planned), (planned, planned)].map(|(said, rest)| self.body(said, rest, placeholders));
        Bodies { prior, config, planned }
    }

    /// Warnings about fields of other managers, at the attributes that the plan changes or that would declare them.
    pub fn warn(&self, prior: &Value, config: &Value, planned: &Value, private: &Private) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        if private.foreign.is_empty() || private.imported {
            return diagnostics;
        }
        let bodies = self.bodies(prior, config, planned, &recorded(prior));
        let refuses = config.attr("force_conflicts").as_bool() == Some(false);
        let name = prior.attr("name").as_str().unwrap_or_default();
        for field in &private.foreign {
            let Field { path, manager, value } = field;
            let claim = bodies.claim(path);
            let then = match &claim {
                Claim::Agreed => continue,
                Claim::Set(_) | Claim::Removed if refuses => "force_conflicts is false: apply refuses to take it back.".to_owned(),
                Claim::Set(wanted) if wanted == value => continue,
                Claim::Set(wanted) => format!("Apply sets it to {wanted}, as the configuration says."),
                Claim::Removed => "Apply removes it, as the configuration no longer says it.".to_owned(),
                Claim::None if path[0] != "spec" || value.is_null() || self.is_default(path, value) => continue,
                Claim::None => {
                    "The configuration says nothing of it, so it stays. Write it in the configuration, or remove it from the object."
                        .to_owned()
                }
            };
            let (what, deeper) = match &claim {
                Claim::Set(wanted) => ("was changed by", difference(value, wanted)),
                Claim::Removed => ("was changed by", vec![]),
                Claim::Agreed | Claim::None => ("was added by", vec![]),
            };
            let steps = [field.steps(), deeper].concat();
            let at = self.locate_steps(&steps, planned);
            let detail = format!("{} is {value} now, set by field manager {manager:?}. {then}", field.place());
            diagnostics.warning(at, format!("{} {name:?}: {} {what} {manager:?}", K::KIND, field.place()), detail);
        }
        diagnostics
    }

    /// What passes to us at the first write after an import: what is `held`, and what the API server filled in for whoever made the
    /// object.
    pub fn handover(&self, live: &DynamicObject, held: &dyn Fn(&[String]) -> bool) -> Option<Handover> {
        let json = serde_json::to_value(live).unwrap_or_default();
        ownership::handover(live, &|path| held(path) || convert::at(&json, path).is_some_and(|value| self.is_default(path, value)))
    }

    /// Whether a place of the object holds what the API server fills in.
    pub(super) fn is_default(&self, path: &[String], value: &Json) -> bool {
        default_at(&self.schema.block, path).is_some_and(|default| default == *value)
    }
}

/// What placeholders stood for when the state was written.
pub fn recorded(state: &Value) -> Placeholders {
    let arn = state.attr("cluster_arn").as_str().unwrap_or_default();
    let part = |n: usize| arn.splitn(6, ':').nth(n).unwrap_or_default();
    Placeholders { cluster_name: part(5).trim_start_matches("cluster/").to_owned(), ext_account_id: part(4).to_owned() }
}

/// Where two values differ, as deep as there is one such place.
fn difference(a: &Json, b: &Json) -> Vec<Step> {
    let single = |mut differing: Vec<(Step, &Json, &Json)>| match (differing.pop(), differing.is_empty()) {
        (Some((step, a, b)), true) => [vec![step], difference(a, b)].concat(),
        _ => vec![],
    };
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|k| !a.contains_key(*k)));
            let pairs =
                keys.map(|key| (Step::Attribute(key.clone()), a.get(key).unwrap_or(&Json::Null), b.get(key).unwrap_or(&Json::Null)));
            single(pairs.filter(|(_, a, b)| a != b).collect())
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate().map(|(i, (a, b))| (Step::Index(i), a, b));
            single(pairs.filter(|(_, a, b)| a != b).collect())
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_is_followed_while_there_is_one() {
        let key = |k: &str| Step::Attribute(k.to_owned());
        assert_eq!(difference(&json!([{"a": 1}, {"a": 2}]), &json!([{"a": 1}, {"a": 3}])), [Step::Index(1), key("a")]);
        assert_eq!(difference(&json!([1, 2]), &json!([2, 1])), []);
        assert_eq!(difference(&json!({"a": 1}), &json!({"a": 1, "b": 2})), [key("b")]);
        assert_eq!(difference(&json!([1]), &json!([1, 2])), []);
    }

    #[test]
    fn a_field_s_claim_is_what_the_configuration_makes_of_it() {
        let body = |spec: Json| json!({ "spec": spec });
        let bodies = Bodies {
            prior: body(json!({"weight": 50, "old": 1, "kept": "720h", "same": 1})),
            config: body(json!({"weight": 10, "same": 1, "new": 2})),
            planned: body(json!({"weight": 10, "same": 1, "new": 2, "kept": "720h"})),
        };
        let claim = |name: &str| bodies.claim(&["spec".to_owned(), name.to_owned()]);
        assert_eq!(claim("weight"), Claim::Set(json!(10)));
        assert_eq!(claim("old"), Claim::Removed);
        assert_eq!(claim("kept"), Claim::None);
        assert_eq!(claim("same"), Claim::Agreed);
        assert_eq!(claim("new"), Claim::Set(json!(2)));
        assert_eq!(claim("other"), Claim::None);
        assert_eq!(bodies.kept(), [(vec!["spec".to_owned(), "kept".to_owned()], &json!("720h"))]);
    }
}
