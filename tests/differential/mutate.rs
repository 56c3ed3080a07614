//! Mutations: one thing left out, added, doubled, emptied, out of range, misspelt, or put where it does not belong.

use karpenter::tofu::schema::{Attribute, Block, Constraints, NestedBlock, Type};
use karpenter::tofu::value::{Number, Value};

use super::generate::{self, below, is_spec, is_spec_block};
use super::random::Random;
use super::words::{BAD, LENGTHS, NUMBERS, good, nearly};

/// Changes one thing somewhere in a block.
pub fn mutate(block: &Block, path: &str, value: &mut Value, random: &mut Random) {
    let attributes: Vec<&Attribute> = block.attributes.iter().filter(|a| is_spec(a, path)).collect();
    let blocks: Vec<&NestedBlock> = block.blocks.iter().filter(|b| is_spec_block(b, path)).collect();
    let present: Vec<&NestedBlock> = blocks.iter().copied().filter(|b| !value.attr(&b.name).items().is_empty()).collect();
    // mostly inside what is there: that is where most fields are
    if !present.is_empty() && random.percent(if path.is_empty() { 65 } else { 45 }) {
        let nested = random.one_of(&present);
        let mut items = value.attr(&nested.name).items().to_vec();
        let at = random.below(items.len());
        mutate(&nested.block, &below(path, &nested.name), &mut items[at], random);
        return value.set(&nested.name, Value::List(items));
    }
    match random.below(attributes.len() + blocks.len()) {
        at if at < attributes.len() => {
            let attribute = attributes[at];
            let mutated = mutated(attribute, &below(path, &attribute.name), value.attr(&attribute.name), random);
            value.set(&attribute.name, mutated);
        }
        at => {
            let nested = blocks[at - attributes.len()];
            let items = repeated(nested, &below(path, &nested.name), value.attr(&nested.name).items(), random);
            value.set(&nested.name, Value::List(items));
        }
    }
}

fn repeated(nested: &NestedBlock, path: &str, items: &[Value], random: &mut Random) -> Vec<Value> {
    let mut items = items.to_vec();
    let at = random.below(items.len());
    let new = generate::block(&nested.block, path, random);
    match random.below(6) {
        0 => items.clear(),
        1 if !items.is_empty() => drop(items.remove(at)),
        2 if !items.is_empty() && !nested.single => items.push(items[at].clone()),
        3 if !nested.single && nested.max_items > 0 && random.percent(30) => {
            let most = usize::try_from(nested.max_items).unwrap() + random.below(2);
            items.resize(most, new);
        }
        4 => items = vec![Value::object::<String>([])],
        _ if nested.single => items = vec![new],
        _ => items.push(new),
    }
    items
}

fn mutated(attribute: &Attribute, path: &str, value: &Value, random: &mut Random) -> Value {
    match random.below(10) {
        0 | 1 if path != "name" => Value::Null,
        2 | 3 => generate::attribute_value(attribute, path, random),
        _ => worse(&attribute.ty, &attribute.constraints, path, value, random),
    }
}

/// A value that may be wrong.
fn worse(ty: &Type, constraints: &Constraints, path: &str, value: &Value, random: &mut Random) -> Value {
    let plain = Constraints::default();
    let elements = constraints.elements.as_deref().unwrap_or(&plain);
    let inside = if path.ends_with("[]") { path.to_owned() } else { format!("{path}[]") };
    match ty {
        Type::String => text(path, random),
        Type::Bool => Value::from(random.percent(50)),
        Type::Number => match random.below(12) {
            0 => Value::Number(Number::Decimal("1.5".to_owned())),
            1 => Value::Number(Number::Decimal("9223372036854775808".to_owned())),
            2 => Value::from(constraints.maximum.unwrap_or(0) + 1),
            3 => Value::from(constraints.minimum.unwrap_or(0) - 1),
            _ => Value::from(*random.one_of(NUMBERS)),
        },
        Type::List(element) => {
            let mut items = value.items().to_vec();
            let at = random.below(items.len());
            match random.below(8) {
                0 => items.clear(),
                1 if !items.is_empty() => drop(items.remove(at)),
                2 if !items.is_empty() => items.push(items[at].clone()),
                3 if !items.is_empty() => items[at] = worse(element, elements, &inside, &items[at], random),
                4 if random.percent(20) => items.push(Value::Null),
                5 if random.percent(20) => items.resize(51, worse(element, elements, &inside, &Value::Null, random)),
                6 => items.push(Value::from(*random.one_of(good(&inside)))),
                _ => items.push(worse(element, elements, &inside, &Value::Null, random)),
            }
            Value::List(items)
        }
        Type::Map(element) => {
            let mut entries: Vec<(String, Value)> = value.entries().map(|(k, v)| (k.clone(), v.clone())).collect();
            let at = random.below(entries.len());
            let keys = format!("{path}{{}}");
            let key = match (random.percent(40), text(&keys, random)) {
                (false, Value::String(bad)) => bad,
                _ => (*random.one_of(good(&keys))).to_owned(),
            };
            match random.below(8) {
                0 => entries.clear(),
                1 if !entries.is_empty() => drop(entries.remove(at)),
                2 if !entries.is_empty() => entries[at].0 = key,
                3 if !entries.is_empty() => entries[at].1 = worse(element, elements, &inside, &entries[at].1, random),
                4 if random.percent(20) => entries.push((key, Value::Null)),
                5 if random.percent(20) => entries.extend((0..101).map(|i| (format!("key-{i}"), sample(element, &inside)))),
                _ => entries.push((key, sample(element, &inside))),
            }
            Value::object(entries)
        }
        Type::Object(_) | Type::Dynamic => panic!("{path}: no argument of a spec has such a type"),
    }
}

fn sample(ty: &Type, path: &str) -> Value {
    let text = Value::from(good(path)[0]);
    if matches!(ty, Type::List(_)) { Value::List(vec![text]) } else { text }
}

/// A bad text, a text that is good elsewhere, or a long one.
fn text(path: &str, random: &mut Random) -> Value {
    if !nearly(path).is_empty() && random.percent(60) {
        return Value::from(*random.one_of(nearly(path)));
    }
    const ELSEWHERE: [&str; 12] = [
        "limits[]",
        "disruption.consolidate_after",
        "disruption.budget.nodes",
        "disruption.budget.schedule",
        "template.requirement.key",
        "template.taint.time_added",
        "ami_selector_term.alias",
        "ami_selector_term.id",
        "block_device_mapping.ebs.volume_size",
        "kubelet.eviction_hard{}",
        "kubelet.eviction_hard[]",
        "kubelet.kube_reserved{}",
    ];
    let length = *random.one_of(LENGTHS);
    let elsewhere = *random.one_of(&ELSEWHERE);
    match random.below(10) {
        0 => Value::from("x".repeat(length)),
        1 => Value::from(format!("{}.com/x", "a".repeat(length))),
        2 | 3 => Value::from(*random.one_of(good(elsewhere))),
        _ => Value::from(*random.one_of(BAD)),
    }
}

/// Puts an unknown value, or a text with a placeholder, in the place of something random; false where it chose nothing.
pub fn obscure(value: &mut Value, random: &mut Random) -> bool {
    let inside = random.percent(75);
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            let at = random.below(entries.len());
            let (key, entry) = entries.iter_mut().nth(at).unwrap();
            (key != "name" || !matches!(entry, Value::String(_))) && (inside && obscure(entry, random) || hide(entry, random))
        }
        Value::List(items) if !items.is_empty() => {
            let at = random.below(items.len());
            inside && obscure(&mut items[at], random) || hide(&mut items[at], random)
        }
        _ => false,
    }
}

fn hide(value: &mut Value, random: &mut Random) -> bool {
    let was_set = !value.is_null();
    *value = match value {
        Value::String(_) if random.percent(50) => Value::from("{{ cluster_name }}"),
        _ => Value::unknown(),
    };
    was_set
}
