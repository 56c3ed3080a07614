//! Values as the client sends them: like JSON, and unknown ones.

use std::collections::BTreeMap;
use std::fmt;

/// A value of the client's type system. Its type is the schema's; it does not travel with the value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// Not known before apply.
    Unknown(Refinements),
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(String),
    /// A list, a set, a tuple, or repeated blocks.
    List(Vec<Value>),
    /// A map, an object, or a block.
    Map(BTreeMap<String, Value>),
}

/// What the client knows of an unknown value, kept as it came so that it can be echoed byte for byte: the payload of the
/// msgpack extension (type 12), or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refinements(pub Option<Vec<u8>>);

/// A number in one canonical form, so that equal numbers compare equal: `Int` where it is one that fits, else `Decimal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// Any other, in canonical decimal digits: no exponent, no trailing zeros.
    Decimal(String),
}

impl Value {
    /// An unknown value of which nothing more is known.
    pub fn unknown() -> Self {
        Value::Unknown(Refinements::default())
    }

    /// An object of the given attributes.
    pub fn object<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value)>) -> Self {
        Value::Map(entries.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether it is itself unknown (what is below it is not looked at).
    pub fn is_unknown(&self) -> bool {
        matches!(self, Value::Unknown(_))
    }

    /// Whether nothing in it is unknown.
    pub fn is_wholly_known(&self) -> bool {
        match self {
            Value::Unknown(_) => false,
            Value::List(items) => items.iter().all(Value::is_wholly_known),
            Value::Map(entries) => entries.values().all(Value::is_wholly_known),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }

    /// The attribute of that name; null where there is none, or where this is no object.
    pub fn attr(&self, name: &str) -> &Value {
        match self {
            Value::Map(entries) => entries.get(name).unwrap_or(&Value::Null),
            _ => &Value::Null,
        }
    }

    /// The first element of a list, which is how a single block arrives; null where there is none.
    pub fn first(&self) -> &Value {
        self.items().first().unwrap_or(&Value::Null)
    }

    /// The elements of a list; none where this is no list.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text, where this is a known string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, where this is a known one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The whole number, where this is a known one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Number(Number::Int(n)) => Some(*n),
            _ => None,
        }
    }

    /// The entries of a map or an object; none where this is neither.
    pub fn entries(&self) -> impl Iterator<Item = (&String, &Value)> {
        match self {
            Value::Map(entries) => Some(entries.iter()),
            _ => None,
        }
        .into_iter()
        .flatten()
    }

    /// Sets an attribute; does nothing where this is no object.
    pub fn set(&mut self, name: &str, value: Value) {
        if let Value::Map(entries) = self {
            entries.insert(name.to_owned(), value);
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Value::Number(Number::Int(n))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(n) => write!(f, "{n}"),
            Number::Decimal(digits) => f.write_str(digits),
        }
    }
}
