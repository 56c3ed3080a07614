//! Markdown pages made from the declarations, so that neither can say what the other does not.

use std::fmt::Write as _;

use super::schema::{Attribute, Block, Constraints, Mode, NestedBlock, Schema, Type};

/// The page of a resource type: its description, an example, its arguments, its outputs, how to import it.
pub fn resource(type_name: &str, schema: &Schema, example: &str, import_ids: &[&str]) -> String {
    let mut page = format!("# {type_name}\n\n{}\n\n## Example\n\n```hcl\n{}\n```\n", schema.block.description, example.trim());
    arguments(&mut page, &schema.block, "##", "Arguments");
    outputs(&mut page, &schema.block);
    page.push_str("\n## Import\n\n```hcl\n");
    for id in import_ids {
        let _ = write!(page, "import {{\n  to = {type_name}.example\n  id = \"{id}\"\n}}\n");
    }
    page.push_str("```\n");
    page
}

/// The page of the provider block, which names all resource types.
pub fn provider(name: &str, schema: &Schema, types: &[&str]) -> String {
    let mut page = format!("# The {name} provider\n\n{}\n\nResource types:", schema.block.description);
    for type_name in types {
        let short = type_name.split_once('_').map_or(*type_name, |(_, short)| short);
        let _ = write!(page, " [`{type_name}`](resources/{short}.md)");
    }
    page.push('\n');
    arguments(&mut page, &schema.block, "##", "Arguments of the provider block");
    page
}

fn arguments(page: &mut String, block: &Block, level: &str, title: &str) {
    let mut written: Vec<&Attribute> = block.attributes.iter().filter(|a| a.mode != Mode::Computed).collect();
    written.sort_by_key(|a| (!is_required(a), a.name.clone()));
    let _ = write!(page, "\n{level} {title}\n\n");
    for attribute in written {
        let _ = writeln!(page, "- `{}` ({}) {}", attribute.name, facts(attribute), one_line(&attribute.description));
    }
    for nested in &block.blocks {
        let _ = writeln!(page, "- `{} {{}}` ({}) {}", nested.name, number_of(nested), one_line(&nested.block.description));
    }
    for nested in &block.blocks {
        let deeper = if level.len() < 5 { format!("{level}#") } else { level.to_owned() };
        arguments(page, &nested.block, &deeper, &format!("`{}`", nested.name));
    }
}

fn outputs(page: &mut String, block: &Block) {
    page.push_str("\n## Outputs\n\n");
    for attribute in block.attributes.iter().filter(|a| a.mode == Mode::Computed) {
        let _ = writeln!(page, "- `{}` ({}) {}", attribute.name, type_name(&attribute.ty), one_line(&attribute.description));
    }
}

fn is_required(attribute: &Attribute) -> bool {
    attribute.mode == Mode::Required || attribute.required_by_validate
}

fn number_of(nested: &NestedBlock) -> String {
    let required = if nested.min_items > 0 || nested.required_by_validate { "required" } else { "optional" };
    match nested.max_items {
        1 => format!("block, {required}"),
        0 => format!("any number of blocks, {required}"),
        most => format!("at most {most} blocks, {required}"),
    }
}

/// Type, who sets it, default and bounds.
fn facts(attribute: &Attribute) -> String {
    let mut facts = vec![type_name(&attribute.ty)];
    facts.push(if is_required(attribute) { "required" } else { "optional" }.to_owned());
    for (what, value) in [("default", &attribute.default), ("default of the API server", &attribute.server_default)] {
        facts.extend(value.as_ref().and_then(super::convert::to_json).map(|json| format!("{what} `{json}`")));
    }
    bounds(&attribute.constraints, "", &mut facts);
    facts.extend(attribute.sensitive.then(|| "sensitive".to_owned()));
    facts.extend(attribute.requires_replace.then(|| "a change replaces".to_owned()));
    facts.join(", ")
}

fn bounds(constraints: &Constraints, of: &str, facts: &mut Vec<String>) {
    if !constraints.one_of.is_empty() {
        let all: Vec<String> = constraints.one_of.iter().map(|one| format!("`{one}`")).collect();
        facts.push(format!("{of}one of {}", all.join(", ")));
    }
    match (constraints.minimum, constraints.maximum) {
        (Some(least), Some(most)) => facts.push(format!("{of}{least} to {most}")),
        (Some(least), None) => facts.push(format!("{of}at least {least}")),
        (None, Some(most)) => facts.push(format!("{of}at most {most}")),
        (None, None) => {}
    }
    facts.extend(constraints.max_length.map(|most| format!("{of}length at most {most}")));
    facts.extend(constraints.format.map(|format| format!("{of}format: {}", format.name.replace('_', " "))));
    facts.extend(constraints.keys.map(|format| format!("keys: {}", format.name.replace('_', " "))));
    if let Some(elements) = &constraints.elements {
        bounds(elements, "each ", facts);
    }
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::String => "string".into(),
        Type::Number => "number".into(),
        Type::Bool => "bool".into(),
        Type::List(element) => format!("list of {}", type_name(element)),
        Type::Map(element) => format!("map of {}", type_name(element)),
        Type::Object(fields) => format!("object with {}", fields.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
        Type::Dynamic => "any".into(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
