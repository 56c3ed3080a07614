//! Identities in the protocol's terms.

use std::collections::HashMap;

use super::decode::{decode, malformed};
use super::encode::dynamic_value;
use crate::plugin::proto::tfplugin5 as proto;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::resource::Resource;
use crate::tofu::value::Value;
use crate::tofu::{identity, json};

/// The identity schemas of the types that have one.
pub fn schemas<'a>(resources: impl Iterator<Item = &'a dyn Resource>) -> HashMap<String, proto::ResourceIdentitySchema> {
    let with_identity = resources.filter(|resource| !resource.identity().is_empty());
    with_identity.map(|resource| (resource.type_name().to_owned(), schema(resource))).collect()
}

fn schema(resource: &dyn Resource) -> proto::ResourceIdentitySchema {
    let attribute = |a: &identity::IdentityAttribute| proto::resource_identity_schema::IdentityAttribute {
        name: a.name.to_owned(),
        r#type: br#""string""#.to_vec(),
        required_for_import: a.required,
        optional_for_import: !a.required,
        description: a.description.to_owned(),
    };
    proto::ResourceIdentitySchema { version: identity::VERSION, identity_attributes: resource.identity().iter().map(attribute).collect() }
}

/// The identity that a request carries; null where it has none.
pub fn decode_identity(resource: &dyn Resource, data: Option<proto::ResourceIdentityData>, what: &str) -> Result<Value, Diagnostics> {
    match data.and_then(|data| data.identity_data) {
        Some(value) if !resource.identity().is_empty() => decode(Some(&value), &identity::ty(resource.identity()), what),
        _ => Ok(Value::Null),
    }
}

/// An identity as it lies in a state file.
pub fn upgrade(resource: &dyn Resource, version: i64, raw: Option<proto::RawState>) -> Result<Value, Diagnostics> {
    let json = raw.unwrap_or_default().json;
    if version == identity::VERSION {
        return json::decode(&json, &identity::ty(resource.identity())).map_err(|error| malformed("stored identity", error));
    }
    let stored = serde_json::from_slice(&json).map_err(|error| malformed("stored identity", error))?;
    Ok(identity::of_stored(resource.identity(), &stored))
}

/// An identity for a response.
pub fn encode_identity(resource: &dyn Resource, value: &Value) -> Option<proto::ResourceIdentityData> {
    let data = || proto::ResourceIdentityData { identity_data: Some(dynamic_value(value, &identity::ty(resource.identity()))) };
    (!value.is_null()).then(data)
}
