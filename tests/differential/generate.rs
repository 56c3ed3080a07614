//! Random specs of a kind as HCL has them, by walking its schema; mostly valid ones.

use karpenter::tofu::schema::{Attribute, Block, Constraints, Mode, NestedBlock, Type};
use karpenter::tofu::value::Value;

use super::random::Random;
use super::words::good;

/// A spec whose single values are good; what they are together is for [`super::coherence`].
pub fn object(block: &Block, random: &mut Random) -> Value {
    let mut value = self::block(block, "", random);
    value.set("name", Value::from("case"));
    value
}

/// The arguments of the API object: neither computed ones, nor those about the provider's own work, nor its other spelling.
pub fn is_spec(attribute: &Attribute, path: &str) -> bool {
    let of_object = !path.is_empty() || attribute.json.first().is_some_and(|first| first == "spec" || first == "metadata");
    of_object && attribute.mode != Mode::Computed && attribute.name != "extra"
}

/// Whether a block is part of the API object.
pub fn is_spec_block(nested: &NestedBlock, path: &str) -> bool {
    !path.is_empty() || nested.json.first().is_some_and(|first| first == "spec")
}

/// The path of something below a block.
pub fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// One block.
pub fn block(block: &Block, path: &str, random: &mut Random) -> Value {
    let mut value = Value::object::<String>([]);
    for attribute in block.attributes.iter().filter(|a| is_spec(a, path)) {
        let needed = attribute.mode == Mode::Required || attribute.required_by_validate;
        if needed || random.percent(35) {
            value.set(&attribute.name, attribute_value(attribute, &below(path, &attribute.name), random));
        }
    }
    for nested in block.blocks.iter().filter(|b| is_spec_block(b, path)) {
        let needed = nested.required_by_validate || nested.min_items > 0;
        let count = match (needed || random.percent(55), nested.single) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 1 + random.below(3),
        };
        let path = below(path, &nested.name);
        let items = (0..count).map(|_| self::block(&nested.block, &path, random)).collect();
        value.set(&nested.name, Value::List(items));
    }
    value
}

/// A good value of an attribute.
pub fn attribute_value(attribute: &Attribute, path: &str, random: &mut Random) -> Value {
    value(&attribute.ty, &attribute.constraints, path, random)
}

fn value(ty: &Type, constraints: &Constraints, path: &str, random: &mut Random) -> Value {
    let plain = Constraints::default();
    let elements = constraints.elements.as_deref().unwrap_or(&plain);
    match ty {
        Type::String if !constraints.one_of.is_empty() => Value::from(random.one_of(&constraints.one_of).clone()),
        Type::String => Value::from(*random.one_of(good(path))),
        Type::Bool => Value::from(random.percent(50)),
        Type::Number => {
            let least = constraints.minimum.unwrap_or(1);
            let most = constraints.maximum.unwrap_or(least + 200);
            Value::from(match random.below(4) {
                0 => least,
                1 => most,
                _ => random.between(least, most),
            })
        }
        // an element of a map of lists is described by the map's path
        Type::List(element) => {
            let path = if path.ends_with("[]") { path.to_owned() } else { format!("{path}[]") };
            Value::List((0..random.below(4)).map(|_| value(element, elements, &path, random)).collect())
        }
        Type::Map(element) => {
            let (keys, items) = (good(&format!("{path}{{}}")), format!("{path}[]"));
            let entries = (0..random.below(4)).map(|_| (*random.one_of(keys), value(element, elements, &items, random)));
            Value::object(entries.collect::<Vec<_>>())
        }
        Type::Object(_) | Type::Dynamic => panic!("{path}: no argument of a spec has such a type"),
    }
}
