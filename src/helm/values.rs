//! Helm's rules for values: later sources win, tables are merged, and a null deletes what the chart says.

use serde_json::Value;

use super::{Map, Result, invalid, yaml};

/// Merges `over` into `base` as `helm -f base -f over` does: tables key by key, anything else replaced, nulls kept.
pub fn merge(base: &mut Map, over: &Map) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => merge(below, above),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Parses a user's values, one YAML text each, and merges them in order; `action` names where they come from.
pub fn parse(action: &str, texts: &[String]) -> Result<Map> {
    let mut all = Map::new();
    for (index, text) in texts.iter().enumerate() {
        match yaml::parse(text).map_err(|e| invalid(action, format!("values[{index}]: {e}")))? {
            Value::Null => {}
            Value::Object(values) => merge(&mut all, &values),
            _ => return Err(invalid(action, format!("values[{index}]: must be a YAML mapping"))),
        }
    }
    Ok(all)
}

/// Sets one leaf, making the tables above it; what stands in a table's way is replaced.
pub fn set(values: &mut Map, path: &[&str], value: Value) {
    let Some((key, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        values.insert((*key).to_owned(), value);
        return;
    }
    let below = values.entry(*key).or_insert_with(|| Value::Object(Map::new()));
    if !below.is_object() {
        *below = Value::Object(Map::new());
    }
    if let Value::Object(below) = below {
        set(below, rest, value);
    }
}

/// Where two values differ: the paths of the leaves, never what they hold.
pub fn differing(one: &Map, other: &Map) -> Vec<String> {
    fn walk(one: &Map, other: &Map, at: &str, found: &mut Vec<String>) {
        let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
        for key in keys {
            match (one.get(key), other.get(key)) {
                (one, other) if one == other => {}
                (Some(Value::Object(one)), Some(Value::Object(other))) => walk(one, other, &format!("{at}{key}."), found),
                _ => found.push(format!("{at}{key}")),
            }
        }
    }
    let mut found = vec![];
    walk(one, other, "", &mut found);
    found
}

/// What templates see: the user's values over the chart's; a null in the user's deletes the chart's key.
pub fn coalesce(chart: &Map, user: &Map) -> Map {
    let mut result = user.clone();
    for (key, default) in chart {
        match (result.get_mut(key), default) {
            (None, _) => {
                result.insert(key.clone(), default.clone());
            }
            (Some(Value::Null), _) => {
                result.remove(key);
            }
            (Some(Value::Object(table)), Value::Object(defaults)) => *table = coalesce(defaults, table),
            (Some(_), _) => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_null_deletes_and_tables_merge() {
        let chart = map(json!({"a": {"b": 1, "c": 2}, "d": [1], "e": 5}));
        let user = map(json!({"a": {"b": null, "x": 3}, "d": [], "e": null, "new": null}));
        assert_eq!(Value::Object(coalesce(&chart, &user)), json!({"a": {"c": 2, "x": 3}, "d": [], "new": null}));
    }

    #[test]
    fn differences_are_told_by_path_alone() {
        let (one, other) = (map(json!({"a": {"b": 1, "c": 2}, "d": "secret"})), map(json!({"a": {"b": 1, "x": 2}})));
        assert_eq!(differing(&one, &other), ["a.c", "a.x", "d"]);
        assert_eq!(differing(&one, &one), Vec::<String>::new());
    }

    #[test]
    fn later_texts_win() {
        let texts = ["a: {b: 1}".to_owned(), "a: {c: 2}\nd: 1".to_owned(), String::new(), "d: null".to_owned()];
        assert_eq!(Value::Object(parse("x", &texts).unwrap()), json!({"a": {"b": 1, "c": 2}, "d": null}));
        assert!(parse("x", &["- 1".to_owned()]).is_err());
    }
}
