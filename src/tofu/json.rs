//! Values as they lie in state files: plain JSON, in which nothing is unknown.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::decode::{DecodeError, kind_of};
use super::msgpack::described;
use super::path::Step;
use super::schema::Type;
use super::value::{Number, Value};

/// Decodes one value of the given type. Attributes that the text lacks are null: an older provider wrote it.
///
/// # Errors
/// On malformed JSON, values of another type, and attributes that the type does not have.
pub fn decode(bytes: &[u8], ty: &Type) -> Result<Value, DecodeError> {
    value(parse(bytes)?, ty)
}

/// Encodes a value of the given type. Unknown values, which JSON cannot tell, are written as null.
pub fn encode(value: &Value, ty: &Type) -> Vec<u8> {
    let mut out = String::new();
    write(&mut out, value, Some(ty));
    out.into_bytes()
}

/// Raw text at each level, so that a number's digits stay as they are (serde_json's own numbers are doubles).
fn value(raw: &RawValue, ty: &Type) -> Result<Value, DecodeError> {
    let text = raw.get();
    if text == "null" {
        return Ok(Value::Null);
    }
    let wrong = || DecodeError::new(format!("want {}, found {}", kind_of(ty), found(text)));
    match ty {
        Type::String => serde_json::from_str(text).map(Value::String).map_err(|_| wrong()),
        Type::Bool => serde_json::from_str(text).map(Value::Bool).map_err(|_| wrong()),
        Type::Number => Number::parse(text).map(Value::Number).ok_or_else(wrong),
        Type::List(element) => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| wrong())?;
            let elements = elements.into_iter().enumerate();
            let elements = elements.map(|(i, raw)| value(raw, element).map_err(|error| error.under(Step::Index(i))));
            elements.collect::<Result<_, _>>().map(Value::List)
        }
        Type::Map(element) => {
            let entries = object(text).ok_or_else(wrong)?.into_iter();
            let entries = entries.map(|(key, raw)| match value(raw, element) {
                Ok(value) => Ok((key, value)),
                Err(error) => Err(error.under(Step::Key(key))),
            });
            entries.collect::<Result<_, _>>().map(Value::Map)
        }
        Type::Object(attributes) => {
            let mut entries = object(text).ok_or_else(wrong)?;
            let mut known = BTreeMap::new();
            for (name, ty) in attributes {
                let value = match entries.remove(name) {
                    Some(raw) => value(raw, ty).map_err(|error| error.under(Step::Attribute(name.clone())))?,
                    None => Value::Null,
                };
                known.insert(name.clone(), value);
            }
            match entries.into_keys().next() {
                Some(name) => Err(DecodeError::new("there is no such attribute").under(Step::Attribute(name))),
                None => Ok(Value::Map(known)),
            }
        }
        Type::Dynamic => {
            let mut parts = object(text).ok_or_else(wrong)?;
            match (parts.remove("type"), parts.remove("value")) {
                (Some(_), Some(raw)) => Ok(undescribed(serde_json::from_str(raw.get()).map_err(|_| wrong())?)),
                _ => Err(wrong()),
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<&RawValue, DecodeError> {
    serde_json::from_slice(bytes).map_err(|error| DecodeError::new(format!("malformed JSON: {error}")))
}

fn object(text: &str) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(text).ok()
}

fn found(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}

/// A value of type dynamic: JSON tells its kinds by itself.
fn undescribed(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(bool),
        Json::Number(number) => Number::parse(&number.to_string()).map_or(Value::Null, Value::Number),
        Json::String(text) => Value::String(text),
        Json::Array(elements) => Value::List(elements.into_iter().map(undescribed).collect()),
        Json::Object(entries) => Value::Map(entries.into_iter().map(|(key, json)| (key, undescribed(json))).collect()),
    }
}

/// `ty` is none inside a value of type dynamic, which is written as it is.
fn write(out: &mut String, value: &Value, ty: Option<&Type>) {
    match (value, ty) {
        (Value::Null | Value::Unknown(_), _) => out.push_str("null"),
        (value, Some(Type::Dynamic)) => {
            out.push_str(&format!(r#"{{"type":{},"value":"#, described(value)));
            write(out, value, None);
            out.push('}');
        }
        (Value::Bool(bool), _) => out.push_str(&bool.to_string()),
        (Value::Number(number), _) => out.push_str(&number.to_string()),
        (Value::String(text), _) => out.push_str(&json!(text).to_string()),
        (Value::List(elements), ty) => {
            let element = if let Some(Type::List(element)) = ty { Some(&**element) } else { None };
            for (i, value) in elements.iter().enumerate() {
                out.push(if i == 0 { '[' } else { ',' });
                write(out, value, element);
            }
            out.push_str(if elements.is_empty() { "[]" } else { "]" });
        }
        (Value::Map(entries), Some(Type::Object(attributes))) => {
            write_object(out, attributes.iter().map(|(name, ty)| (name, entries.get(name).unwrap_or(&Value::Null), Some(ty))));
        }
        (Value::Map(entries), ty) => {
            let element = if let Some(Type::Map(element)) = ty { Some(&**element) } else { None };
            write_object(out, entries.iter().map(|(key, value)| (key, value, element)));
        }
    }
}

fn write_object<'a>(out: &mut String, entries: impl Iterator<Item = (&'a String, &'a Value, Option<&'a Type>)>) {
    out.push('{');
    for (i, (key, value, ty)) in entries.enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&format!("{}:", json!(key)));
        write(out, value, ty);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty() -> Type {
        let object =
            |attributes: &[(&str, Type)]| Type::Object(attributes.iter().map(|(name, ty)| ((*name).to_owned(), ty.clone())).collect());
        object(&[
            ("name", Type::String),
            ("weight", Type::Number),
            ("ready", Type::Bool),
            ("limits", Type::Map(Box::new(Type::String))),
            ("taint", Type::List(Box::new(object(&[("key", Type::String)])))),
            ("any", Type::Dynamic),
        ])
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let text = r#"{"name":"a\"b","weight":0.1,"ready":true,"limits":{"cpu":"1"},"taint":[{"key":"k"},{"key":null}],"any":{"type":["tuple",["number"]],"value":[9007199254740993]}}"#;
        let value = decode(text.as_bytes(), &ty()).unwrap();
        assert_eq!(value.attr("weight"), &Value::Number(Number::Decimal("0.1".into())));
        assert_eq!(String::from_utf8(encode(&value, &ty())).unwrap(), text);
    }

    #[test]
    fn missing_attributes_are_null_and_extra_ones_are_named() {
        let value = decode(br#"{"name":"a","taint":[{}]}"#, &ty()).unwrap();
        assert_eq!(value.attr("limits"), &Value::Null);
        assert_eq!(value.attr("taint").first(), &Value::object([("key", Value::Null)]));
        let error = decode(br#"{"taint":[{"key":"a","colour":"b"}]}"#, &ty()).unwrap_err();
        assert_eq!(error.to_string(), "taint[0].colour: there is no such attribute");
    }

    #[test]
    fn other_types_and_malformed_text_are_refused_where_they_are() {
        for (text, message) in [
            (r#"{"name":1}"#, "name: want a string, found a number"),
            (r#"{"weight":"1"}"#, "weight: want a number, found a string"),
            (r#"{"limits":{"cpu":[]}}"#, r#"limits["cpu"]: want a string, found an array"#),
            (r#"[]"#, "the value: want an object, found an array"),
        ] {
            assert_eq!(decode(text.as_bytes(), &ty()).unwrap_err().to_string(), message);
        }
        for text in ["", "{", "nul", "\u{0}", "{\"name\":\"\\ud800\"}"] {
            assert!(decode(text.as_bytes(), &ty()).is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(decode(format!(r#"{{"any":{{"type":"string","value":{deep}}}}}"#).as_bytes(), &ty()).is_err());
    }
}
