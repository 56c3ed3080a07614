//! The values of the release: the user's, and where these say nothing, the bundle's. Pure.

use serde_json::Value as Json;

use super::desired::Chart;
use crate::Error;
use crate::helm::{self, Map};

/// At most this many values are named that differ.
const NAMED: usize = 5;

/// The values that the release should have: the bundle's, over them the user's texts, over them the user's single values.
///
/// # Errors
/// Text that is no YAML, a path that cannot be read.
pub fn values(want: &Chart) -> Result<Map, Error> {
    let mut merged = want.injected.as_object().cloned().unwrap_or_default();
    helm::values::merge(&mut merged, &user(want)?);
    for set in &want.set {
        helm::set::set(&mut merged, &set.name, &set.value, set.kind)?;
    }
    Ok(merged)
}

fn user(want: &Chart) -> Result<Map, Error> {
    helm::values::parse("read chart.values", &want.values)
}

/// What the user's values say otherwise than the bundle would: path, the user's value, the bundle's.
///
/// # Errors
/// As [`values`].
pub fn overridden(want: &Chart) -> Result<Vec<String>, Error> {
    let merged = values(want)?;
    let mut found = vec![];
    // a secret is in no warning
    let secret = want.set.iter().any(|set| set.sensitive);
    compare(&Json::Object(merged), &want.injected, "", &mut |path, theirs, ours| {
        found.push(match theirs {
            Some(_) if secret => format!("{path} is another than {ours}"),
            Some(theirs) => format!("{path} is {theirs} instead of {ours}"),
            None => format!("{path} is no longer {ours}"),
        });
    });
    Ok(found)
}

/// How the live values differ, by path.
pub fn differences(want: &Map, live: &Map) -> Vec<String> {
    let mut found = vec![];
    let mut add = |path: &str, live: Option<&Json>, want: Option<&Json>| {
        let text = |value: Option<&Json>| value.map_or_else(|| "unset".to_owned(), short);
        found.push(format!("value {path} is {}, want {}", text(live), text(want)));
    };
    both(live, want, "", &mut add);
    if found.len() > NAMED {
        let more = found.len() - NAMED;
        found.truncate(NAMED);
        found.push(format!("{more} more values differ"));
    }
    found
}

/// Calls for each leaf that is in one of them, or is another in the other.
/// Told of a path at which two values differ, and of both.
type Differs<'a> = &'a mut dyn FnMut(&str, Option<&Json>, Option<&Json>);

fn both(left: &Map, right: &Map, prefix: &str, differs: Differs<'_>) {
    let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let path = join(prefix, key);
        match (left.get(key), right.get(key)) {
            (Some(Json::Object(left)), Some(Json::Object(right))) => both(left, right, &path, differs),
            (left, right) if left != right => differs(&path, left, right),
            _ => {}
        }
    }
}

/// Calls for each leaf of `ours` that `theirs` says otherwise.
fn compare(theirs: &Json, ours: &Json, path: &str, differs: &mut dyn FnMut(&str, Option<&Json>, &Json)) {
    match (theirs, ours) {
        (Json::Object(theirs), Json::Object(ours)) => {
            for (key, ours) in ours {
                match theirs.get(key) {
                    Some(theirs) => compare(theirs, ours, &join(path, key), differs),
                    None => differs(&join(path, key), None, ours),
                }
            }
        }
        (theirs, ours) if theirs != ours => differs(path, Some(theirs), ours),
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A value for a sentence, cut at 80 characters.
fn short(value: &Json) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(77).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bundle::arguments::SetType;
    use crate::bundle::desired::SetValue;

    fn chart(values: &str, set: &[(&str, &str)]) -> Chart {
        let one =
            |(name, value): &(&str, &str)| SetValue { name: (*name).into(), value: (*value).into(), kind: SetType::Auto, sensitive: false };
        Chart {
            repository: String::new(),
            version: semver::Version::new(1, 14, 1),
            release_name: "karpenter".into(),
            namespace: "kube-system".into(),
            create_namespace: true,
            values: vec![values.into()],
            set: set.iter().map(one).collect(),
            injected: json!({"settings": {"clusterName": "harbor", "interruptionQueue": "q"}, "serviceAccount": {"name": "karpenter"}}),
            manage_crds: true,
            delete_crds: false,
            adopt: false,
            wait: true,
            atomic: false,
            max_history: 10,
        }
    }

    #[test]
    fn what_the_user_sets_wins() {
        let want = chart("{settings: {interruptionQueue: mine, clusterName: harbor}, replicas: 1}", &[("replicas", "3")]);
        let all = values(&want).expect("values");
        assert_eq!(
            Json::Object(all),
            json!({"settings": {"clusterName": "harbor", "interruptionQueue": "mine"}, "serviceAccount": {"name": "karpenter"}, "replicas": 3})
        );
        assert_eq!(overridden(&want).expect("values"), ["settings.interruptionQueue is \"mine\" instead of \"q\""]);
        assert_eq!(overridden(&chart("replicas: 1", &[])).expect("values"), Vec::<String>::new());
    }

    #[test]
    fn values_that_differ_are_named() {
        let map = |value: Json| value.as_object().cloned().unwrap_or_default();
        let (want, live) = (map(json!({"a": {"b": 1, "c": 2}, "d": 1})), map(json!({"a": {"b": 1, "c": 3}, "e": null})));
        assert_eq!(differences(&want, &live), ["value a.c is 3, want 2", "value d is unset, want 1", "value e is null, want unset"]);
        assert!(differences(&want, &want).is_empty());
    }
}
