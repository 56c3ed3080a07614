//! What both decoders share: the error with its place, and the notation of types.

use std::collections::BTreeMap;

use serde_json::json;

use super::path::{Path, Step};
use super::schema::Type;
use super::value::Value;

/// Why bytes are no value of the wanted type, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", if path.0.is_empty() { "the value".to_owned() } else { path.to_string() })]
pub struct DecodeError {
    /// Where, as far as decoding came.
    pub path: Path,
    /// What is wrong there.
    pub message: String,
}

impl DecodeError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        DecodeError { path: Path::root(), message: message.into() }
    }

    /// The error of an element, as one of what contains it.
    pub(super) fn under(mut self, step: Step) -> Self {
        self.path.0.insert(0, step);
        self
    }
}

impl Type {
    /// The type in the client's notation: `"string"`, `["list","string"]`, `["object",{"a":"bool"}]`.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Type::String => json!("string"),
            Type::Number => json!("number"),
            Type::Bool => json!("bool"),
            Type::List(element) => json!(["list", element.to_json()]),
            Type::Map(element) => json!(["map", element.to_json()]),
            Type::Object(attributes) => {
                let attributes: serde_json::Map<_, _> = attributes.iter().map(|(name, ty)| (name.clone(), ty.to_json())).collect();
                json!(["object", attributes])
            }
            Type::Dynamic => json!("dynamic"),
        }
    }
}

/// How messages call values of a type.
pub(super) fn kind_of(ty: &Type) -> &'static str {
    match ty {
        Type::String => "a string",
        Type::Number => "a number",
        Type::Bool => "a boolean",
        Type::List(_) => "a list",
        Type::Map(_) => "a map",
        Type::Object(_) => "an object",
        Type::Dynamic => "a type and a value",
    }
}

/// An object that has all its attributes.
pub(super) fn complete<'a>(entries: BTreeMap<String, Value>, attributes: impl Iterator<Item = &'a String>) -> Result<Value, DecodeError> {
    for name in attributes {
        if !entries.contains_key(name) {
            return Err(DecodeError::new("the attribute is missing").under(Step::Attribute(name.clone())));
        }
    }
    Ok(Value::Map(entries))
}
