//! What the client proposes before it asks for a plan: the configuration, and computed values as they were.

use karpenter::tofu::schema::{Block, Mode};
use karpenter::tofu::value::Value;

/// `proposed_new_state` of a plan request.
pub fn proposed_new(block: &Block, prior: &Value, config: &Value) -> Value {
    if config.is_null() || config.is_unknown() {
        return prior.clone();
    }
    let attributes = block.attributes.iter().map(|attribute| {
        let computed = matches!(attribute.mode, Mode::Computed | Mode::OptionalComputed);
        let (prior, config) = (prior.attr(&attribute.name), config.attr(&attribute.name));
        (attribute.name.clone(), if computed && config.is_null() { prior.clone() } else { config.clone() })
    });
    let blocks = block.blocks.iter().map(|nested| {
        let before = prior.attr(&nested.name).items();
        let proposed = match config.attr(&nested.name) {
            // blocks correspond by index; one without a predecessor is taken as configured
            Value::List(items) => Value::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| before.get(i).map_or_else(|| item.clone(), |prior| proposed_new(&nested.block, prior, item)))
                    .collect(),
            ),
            other => other.clone(),
        };
        (nested.name.clone(), proposed)
    });
    Value::object(attributes.chain(blocks))
}
