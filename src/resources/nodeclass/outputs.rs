//! What a class's selector terms resolve to, as outputs.

use schemars::JsonSchema;

/// Something of AWS with id and name.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a declaration, walked as JSON schema")]
pub struct Named {
    id: String,
    name: Option<String>,
}

/// A subnet.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a declaration, walked as JSON schema")]
pub struct Subnet {
    id: String,
    zone: String,
}
