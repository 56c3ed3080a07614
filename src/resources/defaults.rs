//! What the API server fills in.

use serde_json::Value as Json;

use crate::tofu::convert;
use crate::tofu::schema::Block;
use crate::tofu::value::Value;

/// Import has no configuration to go by: a block that wholly equals the API server's default is left out.
pub(super) fn leave_out_defaults(block: &Block, state: &mut Value) {
    for nested in &block.blocks {
        let mut items = state.attr(&nested.name).items().to_vec();
        items.iter_mut().for_each(|item| leave_out_defaults(&nested.block, item));
        let by_default = match &nested.server_default {
            Some(default) => {
                *default == Json::Array(items.iter().map(|item| convert::expand(&nested.block, &filled_in(&nested.block, item))).collect())
            }
            None => nested.single && !nested.min_items.is_positive() && items.iter().all(|item| is_default(&nested.block, item)),
        };
        state.set(&nested.name, Value::List(if by_default { vec![] } else { items }));
    }
}

/// The block as the API server has it: a manifest may leave out what is filled in.
fn filled_in(block: &Block, item: &Value) -> Value {
    let mut filled = item.clone();
    for attribute in block.attributes.iter().filter(|a| item.attr(&a.name).is_null()) {
        filled.set(&attribute.name, attribute.server_default.clone().unwrap_or_default());
    }
    filled
}

/// Whether a block has nothing but what the API server fills in.
fn is_default(block: &Block, item: &Value) -> bool {
    let mut written = block.attributes.iter().filter(|a| !item.attr(&a.name).is_null()).peekable();
    written.peek().is_some()
        && written.all(|a| a.server_default.as_ref() == Some(item.attr(&a.name)))
        && block.blocks.iter().all(|b| item.attr(&b.name).items().is_empty())
}

/// What is filled in at a place of the object, given as keys.
pub(super) fn default_at(block: &Block, path: &[String]) -> Option<Json> {
    if let Some(attribute) = block.attributes.iter().find(|a| a.json == path) {
        return convert::to_json(attribute.server_default.as_ref()?);
    }
    let nested = block.blocks.iter().find(|b| path.starts_with(&b.json))?;
    let rest = &path[nested.json.len()..];
    match (&nested.server_default, rest) {
        (Some(default), []) if !nested.single => Some(default.clone()),
        (Some(default), rest) if nested.single && convert::at(&default[0], rest).is_some() => convert::at(&default[0], rest).cloned(),
        (_, []) => None,
        (_, rest) => default_at(&nested.block, rest),
    }
}
