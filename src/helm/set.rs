//! Values one by one, in the notation of `helm --set`: `controller.env[0].name=X`, with `\` before a dot, comma or bracket that is meant.

use serde_json::{Number, Value};

use super::{Map, Result, invalid};
use crate::bundle::arguments::SetType as Type;

/// Longer lists are refused, as Helm refuses them.
const MAX_INDEX: usize = 65_536;

/// Sets what `NAME=VALUE` says. Nothing of the value is in an error.
///
/// # Errors
/// A path that cannot be read, or that leads through something else than a table or a list.
pub fn set(into: &mut Map, name: &str, value: &str, kind: Type) -> Result<()> {
    let text: Vec<char> = name.chars().chain(['=']).chain(value.chars()).collect();
    let mut parser = Parser { text: &text, at: 0, kind };
    while parser.at < text.len() {
        parser.entry(into, 0).map_err(|why| invalid("read chart.set", format!("{name:?}: {why}")))?;
    }
    Ok(())
}

type Outcome<T> = std::result::Result<T, String>;

struct Parser<'t> {
    text: &'t [char],
    at: usize,
    kind: Type,
}

impl Parser<'_> {
    /// Text up to one of these characters, which is consumed; `None`: the end came first.
    fn until(&mut self, stops: &str) -> (String, Option<char>) {
        let mut found = String::new();
        while let Some(&c) = self.text.get(self.at) {
            self.at += 1;
            if c == '\\' && self.kind != Type::Literal {
                found.extend(self.text.get(self.at));
                self.at += 1;
            } else if stops.contains(c) {
                return (found, Some(c));
            } else {
                found.push(c);
            }
        }
        (found, None)
    }

    /// `KEY=VALUE`, `KEY.…` or `KEY[…`.
    fn entry(&mut self, table: &mut Map, depth: usize) -> Outcome<()> {
        if depth > 30 {
            return Err("nested deeper than 30 levels".to_owned());
        }
        let stops = if self.kind == Type::Literal { "=[." } else { "=[,." };
        match self.until(stops) {
            (key, Some('=')) => {
                let value = self.value()?;
                insert(table, key, value);
                Ok(())
            }
            (key, Some('.')) => {
                let mut below = match table.get(&key) {
                    None => Map::new(),
                    Some(Value::Object(below)) => below.clone(),
                    Some(_) => return Err("it leads through what is no table".to_owned()),
                };
                self.entry(&mut below, depth + 1)?;
                if below.is_empty() {
                    return Err("a table has no key".to_owned());
                }
                insert(table, key, Value::Object(below));
                Ok(())
            }
            (key, Some('[')) => {
                let list = match table.get(&key) {
                    None => vec![],
                    Some(Value::Array(list)) => list.clone(),
                    Some(_) => return Err("it indexes what is no list".to_owned()),
                };
                let list = self.item(list, depth)?;
                insert(table, key, Value::Array(list));
                Ok(())
            }
            (_, _) => Err("a key has no value".to_owned()),
        }
    }

    /// What follows a `[`: an index, and then a value or more of the path.
    fn item(&mut self, mut list: Vec<Value>, depth: usize) -> Outcome<Vec<Value>> {
        let (index, close) = self.until("]");
        let index: usize = index.parse().map_err(|_| "an index is no number".to_owned())?;
        if close.is_none() || index > MAX_INDEX {
            return Err(format!("index {index} is not closed, or over {MAX_INDEX}"));
        }
        let before = list.get(index).cloned().unwrap_or_default();
        let value = match self.until("=[.") {
            (extra, _) if !extra.is_empty() => return Err("text follows an index".to_owned()),
            (_, Some('=')) => self.value()?,
            (_, Some('[')) => {
                let inner = if let Value::Array(inner) = before { inner } else { vec![] };
                Value::Array(self.item(inner, depth + 1)?)
            }
            (_, Some(_)) => {
                let mut below = if let Value::Object(below) = before { below } else { Map::new() };
                self.entry(&mut below, depth + 1)?;
                Value::Object(below)
            }
            (_, None) => return Ok(list),
        };
        if list.len() <= index {
            list.resize(index + 1, Value::Null);
        }
        list[index] = value;
        Ok(list)
    }

    fn value(&mut self) -> Outcome<Value> {
        if self.kind == Type::Literal {
            let rest = self.text[self.at..].iter().collect();
            self.at = self.text.len();
            return Ok(Value::String(rest));
        }
        if self.text.get(self.at) == Some(&'{') {
            self.at += 1;
            return self.list();
        }
        let text = self.until(",").0;
        Ok(self.scalar(text))
    }

    /// `a,b}`, and a comma after it.
    fn list(&mut self) -> Outcome<Value> {
        let mut list = vec![];
        loop {
            match self.until(",}") {
                (_, None) => return Err("a list must end with '}'".to_owned()),
                (text, Some(',')) => list.push(self.scalar(text)),
                (text, Some(_)) => {
                    list.push(self.scalar(text));
                    if self.text.get(self.at) == Some(&',') {
                        self.at += 1;
                    }
                    return Ok(Value::Array(list));
                }
            }
        }
    }

    fn scalar(&self, text: String) -> Value {
        if self.kind != Type::Auto {
            return Value::String(text);
        }
        match text.to_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            "0" => Value::Number(Number::from(0)),
            // a number with leading zeros is a name
            lower if lower.starts_with('0') => Value::String(text),
            _ => text.parse::<i64>().map_or(Value::String(text), |number| Value::Number(number.into())),
        }
    }
}

/// An empty key is passed over, as Helm does.
fn insert(table: &mut Map, key: String, value: Value) {
    if !key.is_empty() {
        table.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn all(pairs: &[(&str, &str, Type)]) -> Outcome<Value> {
        let mut map = Map::new();
        for (name, value, kind) in pairs {
            set(&mut map, name, value, *kind).map_err(|e| e.message)?;
        }
        Ok(Value::Object(map))
    }

    #[test]
    fn paths_and_values_read_as_helm_reads_them() {
        let cases = [
            ("a.b", "1", Type::Auto, json!({"a": {"b": 1}})),
            ("a", "1.5", Type::Auto, json!({"a": "1.5"})),
            ("a", "007", Type::Auto, json!({"a": "007"})),
            ("a", "TRUE", Type::Auto, json!({"a": true})),
            ("a", "null", Type::Auto, json!({"a": null})),
            ("a", "", Type::Auto, json!({"a": ""})),
            ("a", "true", Type::String, json!({"a": "true"})),
            ("a", "{x,1}", Type::Auto, json!({"a": ["x", 1]})),
            ("a", "{}", Type::Auto, json!({"a": [""]})),
            ("a", "{x,1}", Type::Literal, json!({"a": "{x,1}"})),
            ("a", "x,b=2", Type::Auto, json!({"a": "x", "b": 2})),
            ("a", r"x\,b", Type::Auto, json!({"a": "x,b"})),
            ("a", r"x,b\", Type::Literal, json!({"a": r"x,b\"})),
            (r"n.kubernetes\.io/os", "linux", Type::Auto, json!({"n": {"kubernetes.io/os": "linux"}})),
            ("e[1].name", "X", Type::Auto, json!({"e": [null, {"name": "X"}]})),
            ("e[0][1]", "2", Type::Auto, json!({"e": [[null, 2]]})),
        ];
        for (name, value, kind, want) in cases {
            assert_eq!(all(&[(name, value, kind)]), Ok(want), "{name}={value}");
        }
        let twice = all(&[("e[0].name", "X", Type::Auto), ("e[0].value", "1", Type::String), ("e[1].name", "Y", Type::Auto)]);
        assert_eq!(twice, Ok(json!({"e": [{"name": "X", "value": "1"}, {"name": "Y"}]})));
    }

    #[test]
    fn errors_do_not_show_values() {
        for (name, value) in [
            ("a[x]", "s3cret"),
            ("a", "{s3cret"),
            ("a,b", "s3cret"),
            ("a[0]b", "s3cret"),
            ("a[99999999]", "s3cret"),
            ("a[0", "s3cret"),
            ("a\\", "s3cret"),
        ] {
            let error = all(&[(name, value, Type::Auto)]).expect_err(name);
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert!(all(&[("a", "1", Type::Auto), ("a.b", "s3cret", Type::Auto)]).is_err());
    }
}
