//! Documentation of a schema, as Markdown that the registries show. Pure: what the declarations say, in order.

use std::fmt::Write as _;

use super::schema::{Attribute, Block, Constraints, Mode, NestedBlock, Outdates, Schema, Since, Type};
use super::value::Value;

/// What a page is made of, besides the schema.
pub struct Page<'a> {
    /// The title: the type's name, or the provider's.
    pub title: &'a str,
    /// An example in HCL; none where empty.
    pub example: &'a str,
    /// Further sections, by title, in Markdown.
    pub sections: &'a [(&'a str, String)],
    /// Whose versions `since` counts, e.g. `Karpenter`.
    pub product: &'a str,
    /// What a change may outdate, e.g. `nodes`.
    pub made: &'a str,
    /// How an existing object is imported, in Markdown; no such section where empty.
    pub import: &'a str,
}

/// The page of a resource type or of the provider.
pub fn page(page: &Page<'_>, schema: &Schema) -> String {
    let Page { title, example, sections, product: _, made: _, import } = page;
    let description = &schema.block.description;
    let first = description.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let mut text = format!("---\npage_title: \"{title}\"\ndescription: |-\n  {first}\n---\n\n");
    text.push_str("<!-- Generated from the declarations in src/ by `make docs`: change those. -->\n\n");
    let _ = write!(text, "# {title}\n\n{description}\n");
    if !example.is_empty() {
        let _ = write!(text, "\n## Example\n\n```hcl\n{}\n```\n", example.trim_end());
    }
    for (title, section) in *sections {
        let _ = write!(text, "\n## {title}\n\n{}\n", section.trim_end());
    }
    let computed = |a: &&Attribute| a.mode == Mode::Computed;
    text.push_str("\n## Arguments\n\n");
    arguments(&mut text, page, &schema.block, "", Outdates::None);
    if schema.block.attributes.iter().any(|a| computed(&a)) {
        text.push_str("\n## Attributes\n\nBesides the arguments, these are set by the provider:\n\n");
        for attribute in schema.block.attributes.iter().filter(computed) {
            text.push_str(&line(page, attribute, attribute.outdates));
        }
    }
    nested(&mut text, page, &schema.block, "");
    if !import.is_empty() {
        let _ = write!(text, "\n## Import\n\n{}\n", import.trim_end());
    }
    text
}

/// The lines of a block: attributes, then the blocks in it; what is required comes first. What a change outdates is said where it
/// is not what the block itself says (`outer`).
fn arguments(text: &mut String, page: &Page<'_>, block: &Block, path: &str, outer: Outdates) {
    let written = || block.attributes.iter().filter(|a| a.mode != Mode::Computed);
    for required in [true, false] {
        for attribute in written().filter(|a| is_required(a) == required) {
            text.push_str(&line(page, attribute, outer));
        }
        for block in block.blocks.iter().filter(|b| is_required_block(b) == required) {
            text.push_str(&block_line(page, block, path, outer));
        }
    }
}

/// A section for every block, in the order of the schema, the outer ones first.
fn nested(text: &mut String, page: &Page<'_>, block: &Block, path: &str) {
    for inner in &block.blocks {
        let path = below(path, &inner.name);
        let _ = write!(text, "\n### `{path}`\n\n");
        arguments(text, page, &inner.block, &path, inner.outdates);
        nested(text, page, &inner.block, &path);
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

fn line(page: &Page<'_>, attribute: &Attribute, outer: Outdates) -> String {
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
    sentences.extend(bounds(page, &attribute.since, &attribute.constraints, &attribute.ty));
    if let (Type::List(element) | Type::Map(element), Some(constraints)) = (&attribute.ty, &attribute.constraints.elements) {
        let (constraints, element) = match (element.as_ref(), &constraints.elements) {
            (Type::List(inner), Some(of_inner)) => (of_inner, inner),
            _ => (constraints, element),
        };
        sentences
            .extend(bounds(page, &Since::default(), constraints, element).into_iter().map(|bound| format!("Each one: {}", lower(&bound))));
    }
    if attribute.set {
        sentences.push("The order does not matter.".to_owned());
    }
    sentences.extend(since(page, &attribute.since, &attribute.constraints.one_of));
    sentences.extend(outdated(page, attribute.outdates, outer));
    let Attribute { name, ty, .. } = attribute;
    format!("- `{name}` ({}{mode}{sensitive}{replaces}): {}\n", type_name(ty), sentences.join(" "))
}

fn block_line(page: &Page<'_>, block: &NestedBlock, path: &str, outer: Outdates) -> String {
    let required = if is_required_block(block) { "required" } else { "optional" };
    let count = match (block.min_items, block.max_items) {
        (_, 1) => String::new(),
        (_, 0) => ", repeated".to_owned(),
        (_, most) => format!(", at most {most}"),
    };
    let path = below(path, &block.name);
    // as the registries make anchors of headings
    let anchor: String = path.chars().filter(|c| *c != '.').collect();
    let mut sentences = vec![one_line(&block.block.description)];
    if let Some(default) = &block.server_default {
        sentences.push(format!("The API server's default: `{default}`."));
    }
    sentences.extend(since(page, &block.since, &[]));
    sentences.extend(outdated(page, block.outdates, outer));
    format!("- [`{}`](#{anchor}) (block{count}, {required}): {}\n", block.name, sentences.join(" "))
}

/// Which version brought it, and values that are not listed with theirs already.
fn since(page: &Page<'_>, since: &Since, listed: &[String]) -> Vec<String> {
    let Since { field, values } = since;
    let mut sentences: Vec<String> = field.iter().map(|version| format!("Needs {} {version} or newer.", page.product)).collect();
    let later: Vec<String> =
        values.iter().filter(|(value, _)| !listed.contains(value)).map(|(v, since)| format!("`{v}` ({since})")).collect();
    if !later.is_empty() {
        sentences.push(format!("These need at least that version of {}: {}.", page.product, later.join(", ")));
    }
    sentences
}

fn outdated(page: &Page<'_>, outdates: Outdates, outer: Outdates) -> Option<String> {
    match outdates {
        same if same == outer => None,
        Outdates::All => Some(format!("A change rolls all {}.", page.made)),
        Outdates::Some => Some(format!("A change rolls the {} that no longer fit.", page.made)),
        Outdates::None => Some(format!("Only new {} see a change.", page.made)),
    }
}

/// What a value must keep to, a sentence each.
fn bounds(page: &Page<'_>, since: &Since, constraints: &Constraints, ty: &Type) -> Vec<String> {
    let Constraints { format, pattern, one_of, minimum, maximum, min_length, max_length, keys, elements: _ } = constraints;
    let mut sentences = Vec::new();
    if !one_of.is_empty() {
        let one = |one: &String| match since.values.get(one) {
            Some(version) => format!("`{one}` ({} {version} or newer)", page.product),
            None => format!("`{one}`"),
        };
        sentences.push(format!("One of {}.", one_of.iter().map(one).collect::<Vec<_>>().join(", ")));
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
        #[schemars(extend("x-tofu" = {"outdates": "all", "since": "2.0"}))]
        rooms: Option<Vec<Room>>,
        /// Its roof.
        #[schemars(extend("x-tofu" = {"outdates": "some", "since_values": {"Green": "3.1"}}))]
        roof: Option<Roof>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "a declaration, walked as JSON schema")]
    enum Roof {
        Flat,
        Green,
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
        let sections = [("By hand", "Lay bricks.\n".to_owned())];
        let text = page(
            &Page { title: "x_house", example: "x {}\n", sections: &sections, product: "Town", made: "tenants", import: "By street." },
            &Schema::of::<House>(0, &[]),
        );
        for line in [
            "# x_house\n\nA house.\n",
            "```hcl\nx {}\n```\n",
            "- `street` (string, required, a change replaces the object): Its street. At most 9 characters.\n",
            "- `colour` (string, optional, computed): Its colour, if it has one. Default: `\"white\"`.\n",
            "## By hand\n\nLay bricks.\n",
            "- [`rooms`](#rooms) (block, repeated, optional): Its rooms. Needs Town 2.0 or newer. A change rolls all tenants.\n",
            "- `roof` (string, optional): Its roof. One of `Flat`, `Green` (Town 3.1 or newer). A change rolls the tenants that no longer fit.\n",
            "## Attributes\n\nBesides the arguments, these are set by the provider:\n\n- `age` (number): Its age in years.\n",
            "### `rooms`\n\n- `area` (number, required): Its area. From 1 to 100.\n",
            "## Import\n\nBy street.\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}");
        }
    }
}
