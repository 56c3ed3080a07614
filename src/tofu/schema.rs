//! Schemas, walked from one declaration per attribute (see `Schema::of`).

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
    /// In the order of their declaration.
    pub attributes: Vec<Attribute>,
    /// In the order of their declaration.
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

/// One attribute. Further fields (constraints, equality, path in the API object) are added by the framework.
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
}
