//! The client's values in the framework's terms, and what to say where that fails.

use crate::plugin::proto::tfplugin5 as proto;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::schema::Type;
use crate::tofu::value::Value;
use crate::tofu::{json, msgpack};

/// One value of a request; `what` is the protocol's name of the field.
pub fn decode(value: Option<&proto::DynamicValue>, ty: &Type, what: &str) -> Result<Value, Diagnostics> {
    let decoded = match value {
        Some(value) if !value.msgpack.is_empty() => msgpack::decode(&value.msgpack, ty),
        Some(value) if !value.json.is_empty() => json::decode(&value.json, ty),
        Some(_) | None => return Err(malformed(what, "there is none")),
    };
    decoded.map_err(|error| {
        let path = (!error.path.0.is_empty()).then(|| error.path.clone());
        let mut found = malformed(what, error);
        found.0.iter_mut().for_each(|diagnostic| diagnostic.path.clone_from(&path));
        found
    })
}

pub fn malformed(what: &str, reason: impl std::fmt::Display) -> Diagnostics {
    error(format!("could not decode the {what} that the client sent"), reason.to_string())
}

pub fn absent(what: &str, name: &str) -> Diagnostics {
    error(format!("there is no {what} {name:?}"), "This provider does not have it; perhaps another version of it does.")
}

pub fn error(summary: impl Into<String>, detail: impl Into<String>) -> Diagnostics {
    let mut found = Diagnostics::default();
    found.error(None, summary, detail);
    found
}
