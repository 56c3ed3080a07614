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
//! | `since`, `since_values` | version of the API's product that brought the field, or these of its values: `{"Balanced": "1.14.0"}` |
//! | `outdates` | what was made from the object before a change here no longer fits: `"all"`, `"some"` of it perhaps, or `"none"`; for all below |
//! | `text` | how strings below treat placeholders: `"placeholders"`, `"lenient"`; otherwise they are taken as they are |
//!
//! A struct becomes a block of at most one, a list of structs a repeated block, except where computed.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::value::Value;
use walk::{Inherited, Walk};

pub use walk::snake_case;

mod walk;

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

/// What a change outdates of that which was made from the object, e.g. the nodes of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outdates {
    /// Nothing: only what is made from then on sees it.
    #[default]
    None,
    /// What does not fit any more, which can be all or nothing.
    Some,
    /// Everything.
    All,
}

/// Which version of the API's product brought something; empty for what its first version had.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Since {
    /// The field itself, e.g. `1.8.0`.
    pub field: Option<String>,
    /// Texts that became possible later: as values, before an `@` in them, or as keys.
    pub values: BTreeMap<String, String>,
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
    /// Which version brought it.
    pub since: Since,
    /// What a change outdates.
    pub outdates: Outdates,
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
    /// Which version brought it.
    pub since: Since,
    /// What a change outdates.
    pub outdates: Outdates,
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
