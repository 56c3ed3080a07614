//! Schemas, walked from one declaration per attribute.
//!
//! A resource is a struct that derives `JsonSchema`; [`Schema::of`] turns it into the client's schema. `T` is required,
//! `Option<T>` and `#[serde(default)]` optional, the doc comment is the description, schemars' own bounds (`range`, `length`,
//! `pattern`, enums) are the constraints. What JSON schema cannot say stands in `#[schemars(extend("x-tofu" = {...}))]`:
//!
//! | key | meaning |
//! |---|---|
//! | `name` | HCL name, where it is not the snake_case of the JSON name |
//! | `computed`, `optional` | `computed` alone: only the provider sets it; with `optional`: the provider where the configuration does not |
//! | `default` | planned by us where the configuration says nothing |
//! | `server_default` | what the API server fills in; planned when the user removes a value that we had set |
//! | `requires_replace`, `sensitive` | as in the protocol |
//! | `format`, `keys`, `values` | the [`Format`] of the text, of a map's keys, of a map's or list's elements |
//! | `set` | order does not matter |
//! | `open` | a map to which others may add keys without that being drift |
//! | `flatten` | lifts the fields of a struct into the enclosing block |
//! | `soft` | with `flatten`: what is required below is optional for the client and required by validate |
//! | `text` | how strings below treat placeholders: `"placeholders"`, `"lenient"`; otherwise they are taken as they are |
//!
//! A struct becomes a block of at most one, a list of structs a repeated block, except where computed.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::convert;
use super::value::Value;

/// A resource's or the provider's schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// Version of the state's shape.
    pub version: i64,
    /// The root block.
    pub block: Block,
}

/// Attributes and nested blocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Markdown.
    pub description: String,
    /// Sorted by JSON name.
    pub attributes: Vec<Attribute>,
    /// Sorted by JSON name.
    pub blocks: Vec<NestedBlock>,
}

/// A type of the client's type system.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// A string.
    String,
    /// A number.
    Number,
    /// A boolean.
    Bool,
    /// A list.
    List(Box<Type>),
    /// A map with string keys.
    Map(Box<Type>),
    /// An object with these attributes.
    Object(Vec<(String, Type)>),
    /// `DynamicPseudoType`.
    Dynamic,
}

/// Who sets an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The configuration must.
    Required,
    /// The configuration may.
    Optional,
    /// Only the provider does.
    Computed,
    /// The configuration may; otherwise the provider does.
    OptionalComputed,
}

/// How a string treats `{{ word }}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Text {
    /// As any other text.
    #[default]
    Plain,
    /// Resolved; an unknown word is an error.
    Placeholders,
    /// Resolved; an unknown word stays as it is.
    Lenient,
}

/// A grammar of text, given by whoever knows the domain.
pub struct Format {
    /// Its name in the declarations.
    pub name: &'static str,
    /// Refuses text that is not of it, saying what would be right.
    pub check: fn(&str) -> Result<(), String>,
    /// Texts with the same canonical form are equal.
    pub canonical: fn(&str) -> String,
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Bounds of a value; each is checked where its type makes sense.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constraints {
    /// The text's grammar.
    pub format: Option<&'static Format>,
    /// Regular expression that the text must match.
    pub pattern: Option<String>,
    /// All texts allowed; empty: any.
    pub one_of: Vec<String>,
    /// Smallest number.
    pub minimum: Option<i64>,
    /// Largest number.
    pub maximum: Option<i64>,
    /// Least characters of a text, elements of a list, entries of a map.
    pub min_length: Option<usize>,
    /// Most characters of a text, elements of a list, entries of a map.
    pub max_length: Option<usize>,
    /// Grammar of a map's keys.
    pub keys: Option<&'static Format>,
    /// Bounds of each element of a list or a map.
    pub elements: Option<Box<Constraints>>,
}

/// One attribute: its only declaration is a struct's field.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// HCL name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Who sets it.
    pub mode: Mode,
    /// Hidden in the client's output.
    pub sensitive: bool,
    /// Markdown.
    pub description: String,
    /// Where it is in the API object, from the enclosing block's object on.
    pub json: Vec<String>,
    /// Required, but only validate says so.
    pub required_by_validate: bool,
    /// A change needs a replacement.
    pub requires_replace: bool,
    /// Planned by us where the configuration says nothing.
    pub default: Option<Value>,
    /// What the API server fills in.
    pub server_default: Option<Value>,
    /// Order does not matter.
    pub set: bool,
    /// Others may add keys.
    pub open: bool,
    /// What it does with placeholders.
    pub text: Text,
    /// Bounds.
    pub constraints: Constraints,
}

/// A nested block. Always of the client's nesting mode LIST; a single one has `max_items` 1.
#[derive(Clone, Debug, PartialEq)]
pub struct NestedBlock {
    /// HCL name.
    pub name: String,
    /// Its contents.
    pub block: Block,
    /// At least as many.
    pub min_items: i64,
    /// At most as many; 0 is without limit.
    pub max_items: i64,
    /// Where it is in the API object, from the enclosing block's object on.
    pub json: Vec<String>,
    /// An object in the API, rather than a list of them.
    pub single: bool,
    /// Required, but only validate says so.
    pub required_by_validate: bool,
    /// Order does not matter.
    pub set: bool,
    /// What the API server fills in, as its JSON.
    pub server_default: Option<Json>,
}

impl Schema {
    /// Walks the declaration `T`. Formats that it names are looked up in `formats`.
    ///
    /// # Panics
    /// Never; a declaration that makes no sense shows as [`Type::Dynamic`], which a test refuses.
    pub fn of<T: schemars::JsonSchema>(version: i64, formats: &'static [Format]) -> Schema {
        let mut settings = SchemaSettings::draft2020_12();
        settings.inline_subschemas = true;
        let root = settings.into_generator().into_root_schema_for::<T>().to_value();
        let walk = Walk { formats };
        Schema { version, block: walk.block(&root, Inherited::default()) }
    }
}

impl Block {
    /// The type of the block's value: attributes, then nested blocks as lists of objects.
    pub fn ty(&self) -> Type {
        let attributes = self.attributes.iter().map(|a| (a.name.clone(), a.ty.clone()));
        let blocks = self.blocks.iter().map(|b| (b.name.clone(), Type::List(Box::new(b.block.ty()))));
        Type::Object(attributes.chain(blocks).collect())
    }

    /// The attribute of that HCL name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| a.name == name)
    }

    /// The nested block of that HCL name.
    pub fn nested(&self, name: &str) -> Option<&NestedBlock> {
        self.blocks.iter().find(|b| b.name == name)
    }
}

/// What an enclosing declaration says for those below it.
#[derive(Clone, Copy, Default)]
struct Inherited {
    soft: bool,
    text: Text,
}

struct Walk {
    formats: &'static [Format],
}

impl Walk {
    fn block(&self, schema: &Json, inherited: Inherited) -> Block {
        let mut block = Block { description: text(schema, "description"), ..Block::default() };
        let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let (property, nullable) = unwrap_option(property);
            let ext = property.get("x-tofu").cloned().unwrap_or(Json::Null);
            let inherited = Inherited { text: own_text(&ext).unwrap_or(inherited.text), ..inherited };
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
                let inner = ext.get("values").map_or(Json::Null, |v| serde_json::json!({ "format": v }));
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
