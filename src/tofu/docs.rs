//! Documentation of a schema, as Markdown that the registries show. Pure: what the declarations say, in order.

use std::fmt::Write as _;

use super::schema::{Attribute, Block, Constraints, Mode, NestedBlock, Schema, Type};
use super::value::Value;

/// What a page is made of, besides the schema.
pub struct Page<'a> {
    /// The title: the type's name, or the provider's.
    pub title: &'a str,
    /// An example in HCL; none where empty.
    pub example: &'a str,
    /// How an existing object is imported, in Markdown; no such section where empty.
    pub import: &'a str,
}

/// The page of a resource type or of the provider.
pub fn page(page: &Page<'_>, schema: &Schema) -> String {
    let Page { title, example, import } = page;
    let description = &schema.block.description;
    let first = description.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let mut text = format!("---\npage_title: \"{title}\"\ndescription: |-\n  {first}\n---\n\n");
    text.push_str("<!-- Generated from the declarations in src/ by `make docs`: change those. -->\n\n");
    let _ = write!(text, "# {title}\n\n{description}\n");
    if !example.is_empty() {
        let _ = write!(text, "\n## Example\n\n```hcl\n{}\n```\n", example.trim_end());
    }
    let computed = |a: &&Attribute| a.mode == Mode::Computed;
    text.push_str("\n## Arguments\n\n");
    arguments(&mut text, &schema.block, "");
    if schema.block.attributes.iter().any(|a| computed(&a)) {
        text.push_str("\n## Attributes\n\nBesides the arguments, these are set by the provider:\n\n");
        for attribute in schema.block.attributes.iter().filter(computed) {
            text.push_str(&line(attribute));
        }
    }
    nested(&mut text, &schema.block, "");
    if !import.is_empty() {
        let _ = write!(text, "\n## Import\n\n{}\n", import.trim_end());
    }
    text
}

/// The lines of a block: attributes, then the blocks in it; what is required comes first.
fn arguments(text: &mut String, block: &Block, path: &str) {
    let written = || block.attributes.iter().filter(|a| a.mode != Mode::Computed);
    for attribute in written().filter(|a| is_required(a)) {
        text.push_str(&line(attribute));
    }
    for block in block.blocks.iter().filter(|b| is_required_block(b)) {
        text.push_str(&block_line(block, path));
    }
    for attribute in written().filter(|a| !is_required(a)) {
        text.push_str(&line(attribute));
    }
    for block in block.blocks.iter().filter(|b| !is_required_block(b)) {
        text.push_str(&block_line(block, path));
    }
}

/// A section for every block, in the order of the schema, the outer ones first.
fn nested(text: &mut String, block: &Block, path: &str) {
    for inner in &block.blocks {
        let path = below(path, &inner.name);
        let _ = write!(text, "\n### `{path}`\n\n");
        arguments(text, &inner.block, &path);
        nested(text, &inner.block, &path);
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn is_required(attribute: &Attribute) -> bool {
    attribute.mode == Mode::Required || attribute.required_by_validate
}

fn is_required_block(block: &NestedBlock) -> bool {
    block.min_items > 0 || block.required_by_validate
}

fn line(attribute: &Attribute) -> String {
    let mode = match attribute.mode {
        _ if is_required(attribute) => ", required",
        Mode::Required | Mode::Optional => ", optional",
        Mode::OptionalComputed => ", optional, computed",
        Mode::Computed => "",
    };
    let sensitive = if attribute.sensitive { ", sensitive" } else { "" };
    let replaces = if attribute.requires_replace { ", a change replaces the object" } else { "" };
    let mut sentences = vec![one_line(&attribute.description)];
    if let Some(default) = &attribute.default {
        sentences.push(format!("Default: {}.", literal(default)));
    }
    if let Some(default) = &attribute.server_default {
        sentences.push(format!("The API server's default: {}.", literal(default)));
    }
    sentences.extend(bounds(&attribute.constraints, &attribute.ty));
    if let (Type::List(element) | Type::Map(element), Some(constraints)) = (&attribute.ty, &attribute.constraints.elements) {
        sentences.extend(bounds(constraints, element).into_iter().map(|bound| format!("Each one: {}", lower(&bound))));
    }
    if attribute.set {
        sentences.push("The order does not matter.".to_owned());
    }
    let Attribute { name, ty, .. } = attribute;
    format!("- `{name}` ({}{mode}{sensitive}{replaces}): {}\n", type_name(ty), sentences.join(" "))
}

fn block_line(block: &NestedBlock, path: &str) -> String {
    let required = if is_required_block(block) { "required" } else { "optional" };
    let count = match (block.min_items, block.max_items) {
        (_, 1) => String::new(),
        (_, 0) => ", repeated".to_owned(),
        (_, most) => format!(", at most {most}"),
    };
    let path = below(path, &block.name);
    // as the registries make anchors of headings
    let anchor: String = path.chars().filter(|c| *c != '.').collect();
    format!("- [`{}`](#{anchor}) (block{count}, {required}): {}\n", block.name, one_line(&block.block.description))
}

/// What a value must keep to, a sentence each.
fn bounds(constraints: &Constraints, ty: &Type) -> Vec<String> {
    let Constraints { format, pattern, one_of, minimum, maximum, min_length, max_length, keys, elements: _ } = constraints;
    let mut sentences = Vec::new();
    if !one_of.is_empty() {
        sentences.push(format!("One of {}.", one_of.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ")));
    }
    sentences.extend(range(*minimum, *maximum, ""));
    let unit = match ty {
        Type::List(_) => " elements",
        Type::Map(_) => " entries",
        _ => " characters",
    };
    match (min_length, max_length) {
        (Some(1), None) => sentences.push("Not empty.".to_owned()),
        (least, most) => sentences.extend(range(*least, *most, unit)),
    }
    if let Some(format) = format {
        sentences.push(format!("Format: {}.", format.name.replace('_', " ")));
    }
    if let Some(pattern) = pattern {
        sentences.push(format!("Matches `{pattern}`."));
    }
    if let Some(keys) = keys {
        sentences.push(format!("Format of the keys: {}.", keys.name.replace('_', " ")));
    }
    sentences
}

fn range<N: std::fmt::Display>(least: Option<N>, most: Option<N>, unit: &str) -> Option<String> {
    match (least, most) {
        (Some(least), Some(most)) => Some(format!("From {least} to {most}{unit}.")),
        (Some(least), None) => Some(format!("At least {least}{unit}.")),
        (None, Some(most)) => Some(format!("At most {most}{unit}.")),
        (None, None) => None,
    }
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::String => "string".to_owned(),
        Type::Number => "number".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::List(element) => format!("list of {}", plural(element)),
        Type::Map(element) => format!("map of {}", plural(element)),
        Type::Object(attributes) => {
            let attributes: Vec<String> = attributes.iter().map(|(name, ty)| format!("`{name}` {}", type_name(ty))).collect();
            format!("object of {}", attributes.join(", "))
        }
        Type::Dynamic => "any".to_owned(),
    }
}

fn plural(ty: &Type) -> String {
    match ty {
        Type::String | Type::Number | Type::Bool => format!("{}s", type_name(ty)),
        Type::List(element) => format!("lists of {}", plural(element)),
        Type::Map(element) => format!("maps of {}", plural(element)),
        Type::Object(_) | Type::Dynamic => type_name(ty).replacen("object", "objects", 1),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text:?}`"),
        Value::Bool(b) => format!("`{b}`"),
        Value::Number(n) => format!("`{n}`"),
        Value::List(items) => format!("`[{}]`", items.iter().map(literal).collect::<Vec<_>>().join(", ").replace('`', "")),
        Value::Null | Value::Unknown(_) | Value::Map(_) => "empty".to_owned(),
    }
}

/// A sentence, to go on within another.
fn lower(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;

    /// A house.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "a declaration, walked as JSON schema")]
    struct House {
        /// Its street.
        #[schemars(length(max = 9), extend("x-tofu" = {"requires_replace": true}))]
        street: String,
        /// Its colour,
        /// if it has one.
        #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "default": "white"}))]
        colour: Option<String>,
        /// Its age in years.
        #[schemars(extend("x-tofu" = {"computed": true}))]
        age: i64,
        /// Its rooms.
        rooms: Option<Vec<Room>>,
    }

    /// A room.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "a declaration, walked as JSON schema")]
    struct Room {
        /// Its area.
        #[schemars(range(min = 1, max = 100))]
        area: i64,
    }

    #[test]
    fn everything_that_is_declared_is_told() {
        let text = page(&Page { title: "x_house", example: "x {}\n", import: "By street." }, &Schema::of::<House>(0, &[]));
        for line in [
            "# x_house\n\nA house.\n",
            "```hcl\nx {}\n```\n",
            "- `street` (string, required, a change replaces the object): Its street. At most 9 characters.\n",
            "- `colour` (string, optional, computed): Its colour, if it has one. Default: `\"white\"`.\n",
            "- [`rooms`](#rooms) (block, repeated, optional): Its rooms.\n",
            "## Attributes\n\nBesides the arguments, these are set by the provider:\n\n- `age` (number): Its age in years.\n",
            "### `rooms`\n\n- `area` (number, required): Its area. From 1 to 100.\n",
            "## Import\n\nBy street.\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}");
        }
    }
}
