//! What we wrote against what is live: Kubernetes' equality, as far as the charts need it.
//!
//! Only what we say counts: the API server adds defaults, and others may add list entries that have a key of their own.

use serde_json::Value;

/// Lists whose entries have a key, and the key; every other list is compared entry by entry.
const KEYED: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("imagePullSecrets", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("ports", &["containerPort", "port"]),
    ("versions", &["name"]),
];

/// Tables whose leaves are quantities: `1000m` is `1`.
const QUANTITIES: &[&str] = &["requests", "limits", "divisor", "sizeLimit"];

/// The first leaf that differs, as `spec.replicas is 5, want 2`; `None` when live says all that `want` says.
pub fn difference(want: &Value, live: &Value) -> Option<String> {
    compare(want, Some(live), "", false)
}

fn compare(want: &Value, live: Option<&Value>, path: &str, quantities: bool) -> Option<String> {
    let Some(live) = live else {
        return if empty(want) { None } else { Some(format!("{path} is absent, want {}", short(want))) };
    };
    match (want, live) {
        (Value::Object(want), Value::Object(live)) => want.iter().find_map(|(key, value)| {
            let quantities = quantities || QUANTITIES.contains(&key.as_str());
            compare(value, live.get(key), &join(path, key), quantities)
        }),
        (Value::Array(want), Value::Array(live)) => lists(want, live, path, quantities),
        (want, live) if equal(want, live, quantities) => None,
        (want, live) => Some(format!("{path} is {}, want {}", short(live), short(want))),
    }
}

fn lists(want: &[Value], live: &[Value], path: &str, quantities: bool) -> Option<String> {
    let field = path.rsplit('.').next().unwrap_or_default();
    let keys = KEYED.iter().find(|(name, _)| *name == field).map(|(_, keys)| *keys).unwrap_or_default();
    let key = keys.iter().find(|key| !want.is_empty() && want.iter().all(|item| item.get(**key).is_some()));
    if let Some(key) = key {
        return want.iter().find_map(|item| {
            let found = live.iter().find(|other| other.get(*key) == item.get(*key));
            compare(item, found, &format!("{path}[{}]", item.get(*key).map(plain).unwrap_or_default()), quantities)
        });
    }
    if want.len() != live.len() {
        return Some(format!("{path} has {} entries, want {}", live.len(), want.len()));
    }
    want.iter().zip(live).enumerate().find_map(|(index, (want, live))| compare(want, Some(live), &format!("{path}[{index}]"), quantities))
}

/// What the API server leaves out when it stores it.
fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(empty),
    }
}

fn equal(want: &Value, live: &Value, quantities: bool) -> bool {
    match (want, live) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) if quantities => a == b || quantity(&plain(a)).is_some_and(|a| quantity(&plain(b)) == Some(a)),
        (a, b) => a == b || (empty(a) && empty(b)),
    }
}

/// A quantity in thousandths of a millionth; `None` for text that is none.
fn quantity(text: &str) -> Option<i128> {
    const SUFFIXES: &[(&str, i128, i32)] = &[
        ("Ki", 1 << 10, 9),
        ("Mi", 1 << 20, 9),
        ("Gi", 1 << 30, 9),
        ("Ti", 1 << 40, 9),
        ("Pi", 1 << 50, 9),
        ("Ei", 1 << 60, 9),
        ("n", 1, 0),
        ("u", 1, 3),
        ("m", 1, 6),
        ("k", 1, 12),
        ("M", 1, 15),
        ("G", 1, 18),
        ("T", 1, 21),
        ("P", 1, 24),
        ("E", 1, 27),
    ];
    let (number, factor, exponent) = match SUFFIXES.iter().find_map(|(s, f, e)| Some((text.strip_suffix(s)?, *f, *e))) {
        Some(found) => found,
        None => match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, 1, 9 + exponent.parse::<i32>().ok()?),
            None => (text, 1, 9),
        },
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = exponent - i32::try_from(fraction.len()).ok()?;
    let scaled = digits.checked_mul(factor)?;
    if scale >= 0 {
        scaled.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?)
    } else {
        Some(scaled / 10_i128.checked_pow(scale.unsigned_abs())?)
    }
}

fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.contains(['.', '/'])) {
        (true, _) => key.to_owned(),
        (false, true) => format!("{path}[{key}]"),
        (false, false) => format!("{path}.{key}"),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value for a sentence, cut at 80 characters.
fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(77).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_we_say_counts() {
        let same = [
            (json!({"a": 1}), json!({"a": 1.0, "b": 2})),
            (json!({"hostNetwork": false, "x": {}, "l": [], "s": ""}), json!({})),
            (json!({"limits": {"cpu": 1, "memory": "1024Mi"}}), json!({"limits": {"cpu": "1000m", "memory": "1Gi"}})),
            (
                json!({"containers": [{"name": "b", "image": "i"}]}),
                json!({"containers": [{"name": "a"}, {"name": "b", "image": "i", "x": 1}]}),
            ),
            (json!({"divisor": "0"}), json!({"divisor": "0"})),
        ];
        for (want, live) in same {
            assert_eq!(difference(&want, &live), None, "{want} {live}");
        }
        let differ = [
            (json!({"spec": {"replicas": 2}}), json!({"spec": {"replicas": 5}}), "spec.replicas is 5, want 2"),
            (json!({"m": {"a.b/c": "x"}}), json!({"m": {}}), "m[a.b/c] is absent, want \"x\""),
            (
                json!({"containers": [{"name": "c", "env": [{"name": "E", "value": "1"}]}]}),
                json!({"containers": [{"name": "c", "env": [{"name": "E", "value": "2"}]}]}),
                "containers[c].env[E].value is \"2\", want \"1\"",
            ),
            (json!({"verbs": ["get"]}), json!({"verbs": ["get", "list"]}), "verbs has 2 entries, want 1"),
            (json!({"labels": {"x": "1"}}), json!({"labels": {"x": "1000m"}}), "labels.x is \"1000m\", want \"1\""),
        ];
        for (want, live, text) in differ {
            assert_eq!(difference(&want, &live).as_deref(), Some(text));
        }
    }

    #[test]
    fn quantities_are_numbers() {
        for (a, b) in
            [("1", "1000m"), ("1Gi", "1024Mi"), ("1.5", "1500m"), ("1e3", "1k"), ("0", "0m"), ("100u", "0.1m"), ("2G", "2000000000")]
        {
            assert_eq!(quantity(a), quantity(b), "{a} {b}");
            assert!(quantity(a).is_some());
        }
        assert_ne!(quantity("1"), quantity("1Ki"));
        assert_eq!(quantity("x"), None);
    }
}
