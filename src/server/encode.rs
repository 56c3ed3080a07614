//! The framework's terms in the protocol's.

use crate::plugin::proto::tfplugin5 as proto;
use crate::tofu::diagnostics::{Diagnostic, Diagnostics, Severity};
use crate::tofu::msgpack;
use crate::tofu::path::{Path, Step};
use crate::tofu::schema::{Attribute, Block, Mode, NestedBlock, Schema, Type};
use crate::tofu::value::Value;

pub fn schema(schema: &Schema) -> proto::Schema {
    proto::Schema { version: schema.version, block: Some(block(&schema.block)) }
}

fn block(block: &Block) -> proto::schema::Block {
    proto::schema::Block {
        version: 0,
        attributes: block.attributes.iter().map(attribute).collect(),
        block_types: block.blocks.iter().map(nested_block).collect(),
        description: block.description.clone(),
        description_kind: proto::StringKind::Markdown.into(),
        deprecated: false,
    }
}

fn attribute(attribute: &Attribute) -> proto::schema::Attribute {
    proto::schema::Attribute {
        name: attribute.name.clone(),
        r#type: attribute.ty.to_json().to_string().into_bytes(),
        description: attribute.description.clone(),
        required: attribute.mode == Mode::Required,
        optional: matches!(attribute.mode, Mode::Optional | Mode::OptionalComputed),
        computed: matches!(attribute.mode, Mode::Computed | Mode::OptionalComputed),
        sensitive: attribute.sensitive,
        description_kind: proto::StringKind::Markdown.into(),
        deprecated: false,
        write_only: false,
    }
}

fn nested_block(nested: &NestedBlock) -> proto::schema::NestedBlock {
    proto::schema::NestedBlock {
        type_name: nested.name.clone(),
        block: Some(block(&nested.block)),
        nesting: proto::schema::nested_block::NestingMode::List.into(),
        min_items: nested.min_items,
        max_items: nested.max_items,
    }
}

pub fn dynamic_value(value: &Value, ty: &Type) -> proto::DynamicValue {
    proto::DynamicValue { msgpack: msgpack::encode(value, ty), json: vec![] }
}

pub fn diagnostics(diagnostics: Diagnostics) -> Vec<proto::Diagnostic> {
    let encode = |Diagnostic { severity, summary, detail, path }| proto::Diagnostic {
        severity: match severity {
            Severity::Error => proto::diagnostic::Severity::Error.into(),
            Severity::Warning => proto::diagnostic::Severity::Warning.into(),
        },
        summary,
        detail,
        attribute: path.map(attribute_path),
    };
    diagnostics.0.into_iter().map(encode).collect()
}

pub fn attribute_path(path: Path) -> proto::AttributePath {
    use proto::attribute_path::step::Selector;
    let selector = |step| match step {
        Step::Attribute(name) => Selector::AttributeName(name),
        Step::Index(index) => Selector::ElementKeyInt(index as i64),
        Step::Key(key) => Selector::ElementKeyString(key),
    };
    let step = |step| proto::attribute_path::Step { selector: Some(selector(step)) };
    proto::AttributePath { steps: path.0.into_iter().map(step).collect() }
}
