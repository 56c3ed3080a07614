//! Values as they travel: the client's dialect of msgpack.
//!
//! Unknown values are extensions. Type 12 carries what is known of them all the same; its payload is kept and echoed as it is.

use std::collections::BTreeMap;

use rmp::Marker;
use rmp::encode::{
    ValueWriteError, write_array_len, write_bin, write_bool, write_ext_meta, write_map_len, write_nil, write_sint, write_str,
};
use serde_json::{Value as Json, json};

use super::decode::{DecodeError, complete, kind_of};
use super::path::Step;
use super::schema::Type;
use super::value::{Number, Refinements, Value};

/// The extension type that carries refinements.
const REFINEMENTS: i8 = 12;

/// Decodes one value of the given type.
///
/// # Errors
/// On bytes that are malformed, truncated, followed by more, or of another type; attributes must be exactly the type's.
pub fn decode(bytes: &[u8], ty: &Type) -> Result<Value, DecodeError> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(ty)?;
    match reader.rest.len() {
        0 => Ok(value),
        n => Err(DecodeError::new(format!("{n} bytes follow the value"))),
    }
}

/// Encodes a value of the given type. Attributes that the value lacks are null, those that the type lacks are left out.
pub fn encode(value: &Value, ty: &Type) -> Vec<u8> {
    let mut out = Vec::new();
    // writing to memory does not fail
    write(&mut out, value, ty).map(|()| out).unwrap_or_default()
}

struct Reader<'a> {
    rest: &'a [u8],
}

/// One item without what it contains.
enum Head<'a> {
    Nil,
    Bool(bool),
    /// `None`: infinite or NaN.
    Number(Option<Number>),
    /// Text, or bytes that should be.
    Text(&'a [u8]),
    /// That many elements follow.
    Array(usize),
    /// That many keys and values follow.
    Map(usize),
    Extension(i8, &'a [u8]),
}

impl<'a> Reader<'a> {
    fn value(&mut self, ty: &Type) -> Result<Value, DecodeError> {
        match (ty, self.head()?) {
            (_, Head::Nil) => Ok(Value::Null),
            (_, Head::Extension(kind, payload)) => Ok(Value::Unknown(Refinements((kind == REFINEMENTS).then(|| payload.to_vec())))),
            (Type::String, Head::Text(text)) => utf8(text).map(Value::from),
            (Type::Bool, Head::Bool(bool)) => Ok(Value::Bool(bool)),
            (Type::Number, Head::Number(Some(number))) => Ok(Value::Number(number)),
            (Type::Number, Head::Text(text)) => match Number::parse(utf8(text)?) {
                Some(number) => Ok(Value::Number(number)),
                None => Err(DecodeError::new("the text is not a decimal number")),
            },
            (Type::List(element), Head::Array(len)) => self.list(len, |reader, _| reader.value(element)),
            (Type::Map(element), Head::Map(len)) => self.map(len, Step::Key, |reader, _| reader.value(element)).map(Value::Map),
            (Type::Object(attributes), Head::Map(len)) => {
                let entries = self.map(len, Step::Attribute, |reader, key| match attributes.iter().find(|(name, _)| name == key) {
                    Some((_, ty)) => reader.value(ty),
                    None => Err(DecodeError::new("there is no such attribute")),
                })?;
                complete(entries, attributes.iter().map(|(name, _)| name))
            }
            (Type::Dynamic, Head::Array(2)) => {
                let Head::Text(ty) = self.head()? else { return Err(DecodeError::new("want a type and a value")) };
                let ty = serde_json::from_slice(ty).map_err(|error| DecodeError::new(format!("malformed type: {error}")))?;
                self.described(&ty)
            }
            (_, head) => Err(DecodeError::new(format!("want {}, found {}", kind_of(ty), head.name()))),
        }
    }

    /// A value whose type is in JSON notation, which knows sets and tuples too.
    fn described(&mut self, ty: &Json) -> Result<Value, DecodeError> {
        match ty.as_str() {
            Some("string") => return self.value(&Type::String),
            Some("number") => return self.value(&Type::Number),
            Some("bool") => return self.value(&Type::Bool),
            Some("dynamic") => return self.value(&Type::Dynamic),
            _ => {}
        }
        let (kind, inner) = match ty.as_array().map(Vec::as_slice) {
            Some([Json::String(kind), inner, ..]) => (kind.as_str(), inner),
            _ => return Err(DecodeError::new(format!("there is no type {ty}"))),
        };
        match (kind, inner, self.head()?) {
            (_, _, Head::Nil) => Ok(Value::Null),
            (_, _, Head::Extension(kind, payload)) => Ok(Value::Unknown(Refinements((kind == REFINEMENTS).then(|| payload.to_vec())))),
            ("list" | "set", element, Head::Array(len)) => self.list(len, |reader, _| reader.described(element)),
            ("map", element, Head::Map(len)) => self.map(len, Step::Key, |reader, _| reader.described(element)).map(Value::Map),
            ("tuple", Json::Array(elements), Head::Array(len)) if len == elements.len() => {
                self.list(len, |reader, index| reader.described(elements.get(index).unwrap_or(&Json::Null)))
            }
            ("object", Json::Object(attributes), Head::Map(len)) => {
                let entries = self.map(len, Step::Attribute, |reader, key| match attributes.get(key) {
                    Some(ty) => reader.described(ty),
                    None => Err(DecodeError::new("there is no such attribute")),
                })?;
                complete(entries, attributes.keys())
            }
            (_, _, head) => Err(DecodeError::new(format!("want {ty}, found {}", head.name()))),
        }
    }

    fn list(&mut self, len: usize, mut element: impl FnMut(&mut Self, usize) -> Result<Value, DecodeError>) -> Result<Value, DecodeError> {
        // one by one: a length is only a claim until its elements have come
        let mut elements = vec![];
        for index in 0..len {
            elements.push(element(self, index).map_err(|error| error.under(Step::Index(index)))?);
        }
        Ok(Value::List(elements))
    }

    fn map(
        &mut self,
        len: usize,
        step: fn(String) -> Step,
        mut entry: impl FnMut(&mut Self, &str) -> Result<Value, DecodeError>,
    ) -> Result<BTreeMap<String, Value>, DecodeError> {
        let mut entries = BTreeMap::new();
        for _ in 0..len {
            let Head::Text(key) = self.head()? else { return Err(DecodeError::new("want text as a key")) };
            let key = utf8(key)?;
            let value = entry(self, key).map_err(|error| error.under(step(key.to_owned())))?;
            if entries.insert(key.to_owned(), value).is_some() {
                return Err(DecodeError::new("the key comes twice").under(step(key.to_owned())));
            }
        }
        Ok(entries)
    }

    fn head(&mut self) -> Result<Head<'a>, DecodeError> {
        let [first] = self.array()?;
        let number = |n: i64| Head::Number(Some(Number::Int(n)));
        Ok(match Marker::from_u8(first) {
            Marker::Null => Head::Nil,
            Marker::True => Head::Bool(true),
            Marker::False => Head::Bool(false),
            Marker::FixPos(n) => number(n.into()),
            Marker::FixNeg(n) => number(n.into()),
            Marker::U8 => number(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => number(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => number(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Head::Number(Number::parse(&u64::from_be_bytes(self.array()?).to_string())),
            Marker::I8 => number(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => number(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => number(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => number(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Head::Number(Number::from_f64(f32::from_be_bytes(self.array()?).into())),
            Marker::F64 => Head::Number(Number::from_f64(f64::from_be_bytes(self.array()?))),
            Marker::FixStr(len) => Head::Text(self.take(len.into())?),
            Marker::Str8 | Marker::Bin8 => self.len8().and_then(|len| self.take(len)).map(Head::Text)?,
            Marker::Str16 | Marker::Bin16 => self.len16().and_then(|len| self.take(len)).map(Head::Text)?,
            Marker::Str32 | Marker::Bin32 => self.len32().and_then(|len| self.take(len)).map(Head::Text)?,
            Marker::FixArray(len) => Head::Array(len.into()),
            Marker::Array16 => Head::Array(self.len16()?),
            Marker::Array32 => Head::Array(self.len32()?),
            Marker::FixMap(len) => Head::Map(len.into()),
            Marker::Map16 => Head::Map(self.len16()?),
            Marker::Map32 => Head::Map(self.len32()?),
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.len8().and_then(|len| self.extension(len))?,
            Marker::Ext16 => self.len16().and_then(|len| self.extension(len))?,
            Marker::Ext32 => self.len32().and_then(|len| self.extension(len))?,
            Marker::Reserved => return Err(DecodeError::new("the byte c1 has no meaning")),
        })
    }

    fn extension(&mut self, len: usize) -> Result<Head<'a>, DecodeError> {
        let kind = i8::from_be_bytes(self.array()?);
        self.take(len).map(|payload| Head::Extension(kind, payload))
    }

    fn len8(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|bytes| u8::from_be_bytes(bytes).into())
    }

    fn len16(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    fn len32(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (first, rest) = self.rest.split_first_chunk().ok_or_else(truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (first, rest) = self.rest.split_at_checked(len).ok_or_else(truncated)?;
        self.rest = rest;
        Ok(first)
    }
}

impl Head<'_> {
    fn name(&self) -> &'static str {
        match self {
            Head::Nil => "null",
            Head::Bool(_) => "a boolean",
            Head::Number(Some(_)) => "a number",
            Head::Number(None) => "a number that is not finite",
            Head::Text(_) => "text",
            Head::Array(_) => "an array",
            Head::Map(_) => "a map",
            Head::Extension(..) => "an extension",
        }
    }
}

fn truncated() -> DecodeError {
    DecodeError::new("the message ends too early")
}

fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::new("the text is not UTF-8"))
}

fn write(out: &mut Vec<u8>, value: &Value, ty: &Type) -> Result<(), ValueWriteError> {
    match (value, ty) {
        (Value::Null, _) => return write_nil(out).map_err(ValueWriteError::InvalidMarkerWrite),
        (Value::Unknown(Refinements(None)), _) => out.extend([0xd4, 0, 0]),
        (Value::Unknown(Refinements(Some(payload))), _) => {
            write_ext_meta(out, payload.len() as u32, REFINEMENTS)?;
            out.extend(payload);
        }
        (value, Type::Dynamic) => {
            let ty = described(value);
            write_array_len(out, 2)?;
            write_bin(out, ty.to_string().as_bytes())?;
            return write_described(out, value);
        }
        (Value::Bool(bool), _) => write_bool(out, *bool).map_err(ValueWriteError::InvalidMarkerWrite)?,
        (Value::Number(Number::Int(int)), _) => write_sint(out, *int).map(|_| ())?,
        (Value::Number(Number::Decimal(text)) | Value::String(text), _) => write_str(out, text)?,
        (Value::Map(entries), Type::Object(attributes)) => {
            write_map_len(out, attributes.len() as u32)?;
            for (name, ty) in attributes {
                write_str(out, name)?;
                write(out, entries.get(name).unwrap_or(&Value::Null), ty)?;
            }
        }
        (Value::List(elements), Type::List(element)) => {
            write_array_len(out, elements.len() as u32)?;
            elements.iter().try_for_each(|value| write(out, value, element))?;
        }
        (Value::Map(entries), Type::Map(element)) => {
            write_map_len(out, entries.len() as u32)?;
            for (key, value) in entries {
                write_str(out, key)?;
                write(out, value, element)?;
            }
        }
        // of another type than its schema's: the client says so
        (Value::List(_) | Value::Map(_), _) => write_described(out, value)?,
    }
    Ok(())
}

/// The contents of a value whose type is its own (see [`described`]).
fn write_described(out: &mut Vec<u8>, value: &Value) -> Result<(), ValueWriteError> {
    match value {
        Value::List(elements) => {
            write_array_len(out, elements.len() as u32)?;
            elements.iter().try_for_each(|value| write_described(out, value))
        }
        Value::Map(entries) => {
            write_map_len(out, entries.len() as u32)?;
            entries.iter().try_for_each(|(key, value)| {
                write_str(out, key)?;
                write_described(out, value)
            })
        }
        Value::Null | Value::Unknown(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => write(out, value, &Type::String),
    }
}

/// The narrowest type of a value, in JSON notation: what a value of type dynamic is sent with. The value does not carry the type
/// that it came with, so a list comes back as a tuple.
pub(super) fn described(value: &Value) -> Json {
    match value {
        Value::Null | Value::Unknown(_) => json!("dynamic"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::List(elements) => json!(["tuple", elements.iter().map(described).collect::<Vec<_>>()]),
        Value::Map(entries) => {
            let attributes: serde_json::Map<_, _> = entries.iter().map(|(key, value)| (key.clone(), described(value))).collect();
            json!(["object", attributes])
        }
    }
}

#[cfg(test)]
#[path = "msgpack_tests.rs"]
mod tests;
