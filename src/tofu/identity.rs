//! Resource identity: what tells one object from every other for as long as it lives, in attributes of its state.

use serde_json::Value as Json;

use super::schema::Type;
use super::value::Value;

/// The version of every identity. A state that was moved here from another provider's type keeps that type's identity, and OpenTofu has
/// it upgraded only where its version is lower: so this is far above any that there is.
pub const VERSION: i64 = 1000;

/// One attribute of an identity: the attribute of that name of the state. Always a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityAttribute {
    /// Its name in the identity and in the state.
    pub name: &'static str,
    /// Whether an import by identity must give it; otherwise it may.
    pub required: bool,
    /// Plain text.
    pub description: &'static str,
}

/// The type of an identity's values.
pub fn ty(attributes: &[IdentityAttribute]) -> Type {
    Type::Object(attributes.iter().map(|a| (a.name.to_owned(), Type::String)).collect())
}

/// The identity of a state; null where there is no state, no such type, or where not all of it is known yet.
pub fn of(attributes: &[IdentityAttribute], state: &Value) -> Value {
    let identity = Value::object(attributes.iter().map(|a| (a.name, state.attr(a.name).clone())));
    let is_known = identity.entries().all(|(_, value)| value.as_str().is_some());
    if attributes.is_empty() || !is_known { Value::Null } else { identity }
}

/// An identity of another version, perhaps of another type: what of it has the same name. The next read completes it.
pub fn of_stored(attributes: &[IdentityAttribute], stored: &Json) -> Value {
    Value::object(attributes.iter().map(|a| (a.name, stored[a.name].as_str().map_or(Value::Null, Value::from))))
}

/// An object's identity never changes: the one that it has, else that of its state.
pub fn kept(attributes: &[IdentityAttribute], identity: Value, state: &Value) -> Value {
    let is_whole = !identity.is_null() && identity.entries().all(|(_, value)| value.as_str().is_some());
    if is_whole { identity } else { of(attributes, state) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTRIBUTES: [IdentityAttribute; 2] = [
        IdentityAttribute { name: "town", required: false, description: "" },
        IdentityAttribute { name: "street", required: true, description: "" },
    ];

    fn house(town: Value) -> Value {
        Value::object([("town", town), ("street", Value::from("High")), ("colour", Value::from("white"))])
    }

    #[test]
    fn an_identity_is_part_of_the_state_and_known_as_a_whole() {
        let identity = Value::object([("town", Value::from("A")), ("street", Value::from("High"))]);
        assert_eq!(of(&ATTRIBUTES, &house(Value::from("A"))), identity);
        for state in [house(Value::unknown()), house(Value::Null), Value::Null] {
            assert_eq!(of(&ATTRIBUTES, &state), Value::Null);
        }
        assert_eq!(of(&[], &house(Value::from("A"))), Value::Null);
    }

    #[test]
    fn an_identity_stays_whatever_the_state_says() {
        let identity = of(&ATTRIBUTES, &house(Value::from("A")));
        assert_eq!(kept(&ATTRIBUTES, identity.clone(), &house(Value::from("B"))), identity);
        let moved = of_stored(&ATTRIBUTES, &serde_json::json!({"street": "High", "country": "B"}));
        for incomplete in [Value::Null, moved] {
            assert_eq!(kept(&ATTRIBUTES, incomplete, &house(Value::from("A"))), identity);
        }
    }
}
