//! The walk from a JSON schema, as schemars derives it, to the client's schema.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Attribute, Block, Constraints, Format, Mode, NestedBlock, Outdates, Since, Text, Type};
use crate::convert;

/// What an enclosing declaration says for those below it.
#[derive(Clone, Copy, Default)]
pub(super) struct Inherited {
    soft: bool,
    text: Text,
    outdates: Outdates,
}

/// The walk itself, with the formats that declarations may name.
pub(super) struct Walk {
    pub(super) formats: &'static [Format],
}

impl Walk {
    pub(super) fn block(&self, schema: &Json, inherited: Inherited) -> Block {
        let mut block = Block { description: text(schema, "description"), ..Block::default() };
        let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let (property, nullable) = unwrap_option(property);
            let ext = property.get("x-tofu").cloned().unwrap_or(Json::Null);
            let inherited = Inherited {
                text: own_text(&ext).unwrap_or(inherited.text),
                outdates: own_outdates(&ext).unwrap_or(inherited.outdates),
                ..inherited
            };
            if flag(&ext, "flatten") {
                let inner = Inherited { soft: inherited.soft || flag(&ext, "soft"), ..inherited };
                block.lift(key, self.block(&property, inner));
                continue;
            }
            let required = required.contains(&key.as_str()) && !nullable;
            let is_list = property["type"] == "array";
            let object = if is_list { &property["items"] } else { &property };
            if object.get("properties").is_some() && !flag(&ext, "computed") {
                block.blocks.push(self.nested(key, &property, object, &ext, required, inherited));
            } else {
                block.attributes.push(self.attribute(key, &property, &ext, required, inherited));
            }
        }
        block
    }

    fn nested(&self, key: &str, property: &Json, object: &Json, ext: &Json, required: bool, inherited: Inherited) -> NestedBlock {
        let single = property["type"] != "array";
        let below = Inherited { soft: false, ..inherited };
        let mut block = self.block(object, below);
        if let Some(own) = property["description"].as_str() {
            block.description = own.to_owned();
        }
        let least = property["minItems"].as_i64().unwrap_or(i64::from(required && single));
        NestedBlock {
            name: hcl_name(key, ext),
            block,
            min_items: if inherited.soft { 0 } else { least },
            max_items: if single { 1 } else { property["maxItems"].as_i64().unwrap_or(0) },
            json: vec![key.to_owned()],
            single,
            required_by_validate: inherited.soft && (required && single || least > 0),
            set: flag(ext, "set"),
            server_default: ext.get("server_default").cloned(),
            since: since(ext),
            outdates: inherited.outdates,
        }
    }

    fn attribute(&self, key: &str, property: &Json, ext: &Json, required: bool, inherited: Inherited) -> Attribute {
        let ty = type_of(property);
        let mode = match (flag(ext, "computed"), flag(ext, "optional")) {
            (true, false) => Mode::Computed,
            (true, true) => Mode::OptionalComputed,
            (false, _) if required && !inherited.soft => Mode::Required,
            (false, _) => Mode::Optional,
        };
        let value = |name: &str| ext.get(name).map(|json| convert::from_json(&ty, json));
        Attribute {
            name: hcl_name(key, ext),
            mode,
            sensitive: flag(ext, "sensitive"),
            description: text(property, "description"),
            json: vec![key.to_owned()],
            required_by_validate: required && inherited.soft && mode == Mode::Optional,
            requires_replace: flag(ext, "requires_replace"),
            default: value("default"),
            server_default: value("server_default"),
            set: flag(ext, "set"),
            open: flag(ext, "open"),
            text: inherited.text,
            since: since(ext),
            outdates: inherited.outdates,
            constraints: self.constraints(property, ext),
            ty,
        }
    }

    fn constraints(&self, property: &Json, ext: &Json) -> Constraints {
        let elements = property.get("items").or_else(|| property.get("additionalProperties")).filter(|e| e.is_object());
        let length = |a: &str, b: &str, c: &str| [a, b, c].iter().find_map(|k| property[*k].as_u64()).and_then(|n| usize::try_from(n).ok());
        let narrow = property["format"] == "int32";
        Constraints {
            format: self.format(&ext["format"]),
            pattern: property["pattern"].as_str().map(str::to_owned),
            one_of: one_of(property),
            minimum: integer(&property["minimum"]).or(narrow.then_some(i32::MIN.into())),
            maximum: integer(&property["maximum"]).or(narrow.then_some(i32::MAX.into())),
            min_length: length("minLength", "minItems", "minProperties"),
            max_length: length("maxLength", "maxItems", "maxProperties"),
            keys: self.format(&ext["keys"]),
            elements: elements.map(|e| {
                // of lists in a map, the texts in them
                let of = if e["type"] == "array" { "values" } else { "format" };
                let inner = ext.get("values").map_or(Json::Null, |v| serde_json::json!({ of: v }));
                Box::new(self.constraints(e, &inner))
            }),
        }
    }

    fn format(&self, name: &Json) -> Option<&'static Format> {
        let name = name.as_str()?;
        self.formats.iter().find(|f| f.name == name)
    }
}

impl Block {
    /// Takes over the fields of a flattened struct, whose objects are one step deeper.
    fn lift(&mut self, key: &str, inner: Block) {
        for mut attribute in inner.attributes {
            attribute.json.insert(0, key.to_owned());
            self.attributes.push(attribute);
        }
        for mut nested in inner.blocks {
            nested.json.insert(0, key.to_owned());
            self.blocks.push(nested);
        }
    }
}

/// `Option<T>` arrives as `type: [T, "null"]` or `anyOf: [T, null]`; the annotations stand outside.
fn unwrap_option(property: &Json) -> (Json, bool) {
    let mut property = property.clone();
    if let Some(options) = property.get("anyOf").and_then(Json::as_array) {
        let inner = options.iter().find(|o| o["type"] != "null").cloned().unwrap_or(Json::Null);
        let nullable = options.iter().any(|o| o["type"] == "null");
        let mut merged = inner;
        for (key, value) in property.as_object().into_iter().flatten().filter(|(k, _)| *k != "anyOf") {
            merged[key] = value.clone();
        }
        return (merged, nullable);
    }
    if let Some(types) = property["type"].as_array() {
        let first = types.iter().find(|t| *t != "null").cloned().unwrap_or(Json::Null);
        let nullable = types.iter().any(|t| t == "null");
        property["type"] = first;
        return (property, nullable);
    }
    (property, false)
}

fn type_of(schema: &Json) -> Type {
    let (schema, _) = unwrap_option(schema);
    match schema["type"].as_str() {
        Some("string") => Type::String,
        Some("integer" | "number") => Type::Number,
        Some("boolean") => Type::Bool,
        Some("array") => Type::List(Box::new(type_of(&schema["items"]))),
        Some("object") => match (schema.get("properties"), schema.get("additionalProperties")) {
            (Some(properties), _) => {
                let fields: BTreeMap<String, Type> =
                    properties.as_object().into_iter().flatten().map(|(k, v)| (hcl_name(k, &v["x-tofu"]), type_of(v))).collect();
                Type::Object(fields.into_iter().collect())
            }
            (None, Some(element)) => Type::Map(Box::new(type_of(element))),
            (None, None) => Type::Dynamic,
        },
        _ if schema.get("oneOf").is_some() || schema.get("enum").is_some() => Type::String,
        _ => Type::Dynamic,
    }
}

/// The texts of an enum; variants with doc comments arrive one by one.
fn one_of(schema: &Json) -> Vec<String> {
    let plain = schema["enum"].as_array().into_iter().flatten();
    let documented = schema["oneOf"].as_array().into_iter().flatten();
    let documented = documented.flat_map(|v| v.get("const").into_iter().chain(v["enum"].as_array().into_iter().flatten()));
    plain.chain(documented).filter_map(Json::as_str).map(str::to_owned).collect()
}

fn integer(json: &Json) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "bounds in declarations are small whole numbers")]
    json.as_i64().or_else(|| json.as_f64().map(|f| f as i64))
}

fn flag(ext: &Json, name: &str) -> bool {
    ext[name] == true
}

fn text(json: &Json, name: &str) -> String {
    json[name].as_str().unwrap_or_default().to_owned()
}

fn own_text(ext: &Json) -> Option<Text> {
    match ext["text"].as_str()? {
        "placeholders" => Some(Text::Placeholders),
        "lenient" => Some(Text::Lenient),
        _ => Some(Text::Plain),
    }
}

fn own_outdates(ext: &Json) -> Option<Outdates> {
    match ext["outdates"].as_str()? {
        "all" => Some(Outdates::All),
        "some" => Some(Outdates::Some),
        _ => Some(Outdates::None),
    }
}

fn since(ext: &Json) -> Since {
    let values = ext["since_values"].as_object().into_iter().flatten();
    Since {
        field: ext["since"].as_str().map(str::to_owned),
        values: values.filter_map(|(value, version)| Some((value.clone(), version.as_str()?.to_owned()))).collect(),
    }
}

fn hcl_name(key: &str, ext: &Json) -> String {
    ext["name"].as_str().map_or_else(|| snake_case(key), str::to_owned)
}

/// `kmsKeyID` -> `kms_key_id`, `httpProtocolIPv6` -> `http_protocol_ipv6`, `clusterDNS` -> `cluster_dns`.
pub fn snake_case(key: &str) -> String {
    let key = key.replace("IPv6", "Ipv6").replace("IPv4", "Ipv4");
    let chars: Vec<char> = key.chars().collect();
    let mut name = String::new();
    for (i, c) in chars.iter().enumerate() {
        let after_lower = i > 0 && !chars[i - 1].is_uppercase() && chars[i - 1] != '_';
        let word_ends = i > 0 && chars[i - 1].is_uppercase() && chars.get(i + 1).is_some_and(|n| n.is_lowercase());
        if c.is_uppercase() && (after_lower || word_ends) {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_crds_keys() {
        for (key, name) in [
            ("kmsKeyID", "kms_key_id"),
            ("httpProtocolIPv6", "http_protocol_ipv6"),
            ("clusterDNS", "cluster_dns"),
            ("cpuCFSQuota", "cpu_cfs_quota"),
            ("associatePublicIPAddress", "associate_public_ip_address"),
            ("imageGCHighThresholdPercent", "image_gc_high_threshold_percent"),
            ("weight", "weight"),
            ("cluster_name", "cluster_name"),
        ] {
            assert_eq!(snake_case(key), name);
        }
    }
}
