//! Random configurations of a schema: mostly valid by its constraints, sometimes garbage, with parts made unknown on request.

use karpenter::resources::placeholders;
use karpenter::tofu::diagnostics::{Diagnostics, Severity};
use karpenter::tofu::path::{Path, Step};
use karpenter::tofu::schema::{Attribute, Block, Constraints, Mode, NestedBlock, Type};
use karpenter::tofu::validate;
use karpenter::tofu::value::{Number, Value};

use super::random::Random;
use super::refinements;
use super::samples::{CLUSTERS, GARBAGE, NUMBERS, TEXTS};

/// A schema prepared for generating.
pub struct Generator {
    attributes: Vec<(Attribute, Shape)>,
    blocks: Vec<(NestedBlock, Generator)>,
}

/// What values of an attribute may be, with the sample texts that its constraints admit.
struct Shape {
    ty: Type,
    texts: Vec<&'static str>,
    keys: Vec<&'static str>,
    bounds: (i64, i64),
    lengths: (usize, usize),
    element: Option<Box<Shape>>,
}

/// How much of a configuration is set, wrong, and unknown.
#[derive(Clone, Copy)]
pub struct Taste {
    /// An optional thing is set once in so many times.
    pub set: usize,
    /// A value is garbage once in so many times; 0 never.
    pub garbage: usize,
}

impl Generator {
    /// Prepares a block.
    pub fn new(block: &Block) -> Generator {
        let attributes = block.attributes.iter().map(|a| (a.clone(), Shape::new(a, &a.ty, &a.constraints)));
        let blocks = block.blocks.iter().map(|b| (b.clone(), Generator::new(&b.block)));
        Generator { attributes: attributes.collect(), blocks: blocks.collect() }
    }

    /// A configuration: every attribute and block of the type, computed ones null.
    pub fn config(&self, taste: Taste, random: &mut Random) -> Value {
        let mut config = Value::object(Vec::<(String, Value)>::new());
        for (attribute, shape) in &self.attributes {
            config.set(&attribute.name, attribute_value(attribute, shape, taste, random));
        }
        for (nested, inner) in &self.blocks {
            config.set(&nested.name, inner.nested(nested, taste, random));
        }
        config
    }

    fn nested(&self, nested: &NestedBlock, taste: Taste, random: &mut Random) -> Value {
        let least = nested.min_items.max(i64::from(nested.required_by_validate)) as usize;
        let most = if nested.max_items == 0 { 3 } else { nested.max_items.min(3) as usize };
        let count = if least > 0 || random.once_in(taste.set) { random.between(1, most as i64) as usize } else { 0 };
        Value::List((0..count.max(least)).map(|_| self.config(taste, random)).collect())
    }

    /// The configuration with some attributes and blocks made anew.
    pub fn change(&self, config: &Value, taste: Taste, random: &mut Random) -> Value {
        let mut changed = config.clone();
        for (attribute, shape) in &self.attributes {
            if random.once_in(12) {
                changed.set(&attribute.name, attribute_value(attribute, shape, taste, random));
            }
        }
        for (nested, inner) in &self.blocks {
            let items = config.attr(&nested.name).items();
            let value = match random.below(12) {
                0 => inner.nested(nested, taste, random),
                1 => {
                    let mut items = items.to_vec();
                    random.shuffle(&mut items);
                    Value::List(items)
                }
                2 if items.len() > 1 => Value::List(items[1..].to_vec()),
                _ => Value::List(items.iter().map(|item| inner.change(item, taste, random)).collect()),
            };
            changed.set(&nested.name, value);
        }
        changed
    }

    /// The configuration with parts of it unknown, for which it is one possible outcome.
    pub fn forget(&self, config: &Value, random: &mut Random) -> Value {
        let mut partly = config.clone();
        for (attribute, _) in self.attributes.iter().filter(|(a, _)| a.mode != Mode::Computed) {
            let known = config.attr(&attribute.name);
            partly.set(&attribute.name, forget_value(known, random));
        }
        for (nested, inner) in &self.blocks {
            let items = config.attr(&nested.name).items();
            let block = if random.once_in(14) {
                // whether there are such blocks is known to be a list, more is not
                Value::Unknown(refinements::of(config.attr(&nested.name), random))
            } else {
                Value::List(items.iter().map(|item| inner.forget(item, random)).collect())
            };
            partly.set(&nested.name, block);
        }
        partly
    }

    /// Makes anew, or takes out, what errors are about, until none is left; `None` where that does not succeed soon.
    pub fn repair(&self, mut config: Value, check: &dyn Fn(&Value) -> Diagnostics, random: &mut Random) -> Option<Value> {
        for _ in 0..12 {
            let errors: Vec<_> = check(&config).0.into_iter().filter(|d| d.severity == Severity::Error).collect();
            if errors.is_empty() {
                return Some(config);
            }
            // paths shift when elements go: from the end
            for path in errors.iter().rev().filter_map(|error| error.path.as_ref()) {
                self.mend(&mut config, &path.0, random);
            }
        }
        None
    }

    fn mend(&self, value: &mut Value, path: &[Step], random: &mut Random) {
        let taste = Taste { set: 2, garbage: 0 };
        let Some((Step::Attribute(name), rest)) = path.split_first() else { return };
        if let Some((attribute, shape)) = self.attributes.iter().find(|(a, _)| a.name == *name) {
            let anew = if value.attr(name).is_null() || random.once_in(3) { shape.value(taste, random) } else { Value::Null };
            let required = attribute.mode == Mode::Required || attribute.required_by_validate || name == "name";
            value.set(name, if required && anew.is_null() { shape.value(taste, random) } else { anew });
        }
        if let Some((nested, inner)) = self.blocks.iter().find(|(b, _)| b.name == *name) {
            let mut items = value.attr(name).items().to_vec();
            match rest.split_first() {
                Some((Step::Index(i), rest)) if *i < items.len() && !rest.is_empty() && !random.once_in(4) => {
                    inner.mend(&mut items[*i], rest, random)
                }
                Some((Step::Index(i), _)) if *i < items.len() && random.once_in(2) => {
                    items.remove(*i);
                }
                _ => items = inner.nested(nested, taste, random).items().to_vec(),
            }
            value.set(name, Value::List(items));
        }
    }
}

/// The configuration with what a path leads to, or the nearest thing that can be, made unknown.
pub fn forget_at(value: &Value, path: &[Step]) -> Value {
    match (path.split_first(), value) {
        (Some((Step::Attribute(name), rest)), Value::Map(entries)) if entries.contains_key(name) => {
            let mut value = value.clone();
            let below = &entries[name];
            // a block's element cannot be unknown, nor a map's key: then all of them are
            let new = match rest {
                [Step::Index(_), Step::Attribute(_), ..] => forget_at(below, rest),
                _ => Value::unknown(),
            };
            value.set(name, new);
            value
        }
        (Some((Step::Index(i), rest)), Value::List(items)) if *i < items.len() => {
            let mut items = items.clone();
            items[*i] = forget_at(&items[*i], rest);
            Value::List(items)
        }
        _ => Value::unknown(),
    }
}

/// Whether one path is another, or leads below it.
pub fn is_within(path: &Path, outer: &Path) -> bool {
    path.0.starts_with(&outer.0)
}

fn attribute_value(attribute: &Attribute, shape: &Shape, taste: Taste, random: &mut Random) -> Value {
    let required = attribute.mode == Mode::Required || attribute.required_by_validate;
    match attribute.mode {
        Mode::Computed => Value::Null,
        // it excludes all others: the backend makes the good ones, of whole configurations
        _ if attribute.name == "manifest" => {
            if taste.garbage == 3 && random.once_in(20) {
                text(&GARBAGE, random)
            } else {
                Value::Null
            }
        }
        _ if attribute.name == "cluster_name" && random.once_in(taste.set) => text(&CLUSTERS, random),
        _ if attribute.name == "cluster_name" => Value::Null,
        _ if required || random.once_in(taste.set) => shape.value(taste, random),
        _ => Value::Null,
    }
}

fn forget_value(known: &Value, random: &mut Random) -> Value {
    if random.once_in(if known.is_null() { 40 } else { 12 }) {
        return Value::Unknown(refinements::of(known, random));
    }
    match known {
        Value::List(items) => Value::List(items.iter().map(|item| forget_value(item, random)).collect()),
        Value::Map(entries) => Value::Map(entries.iter().map(|(k, v)| (k.clone(), forget_value(v, random))).collect()),
        known => known.clone(),
    }
}

impl Shape {
    fn new(attribute: &Attribute, ty: &Type, constraints: &Constraints) -> Shape {
        let admits = |constraints: Constraints| {
            let attribute = Attribute { ty: Type::String, constraints, name: "it".into(), ..attribute.clone() };
            let block = Block { attributes: vec![attribute], ..Block::default() };
            move |text: &&str| validate::validate(&block, &Value::object([("it", Value::from(*text))]), &placeholders::check).0.is_empty()
        };
        let none = Constraints::default();
        let element = match ty {
            Type::List(element) | Type::Map(element) => Some((element, constraints.elements.as_deref().unwrap_or(&none))),
            _ => None,
        };
        let mut texts: Vec<&str> = TEXTS.iter().copied().filter(admits(constraints.clone())).collect();
        texts.extend(constraints.one_of.iter().map(|text| -> &'static str { text.clone().leak() }));
        Shape {
            ty: ty.clone(),
            texts,
            keys: TEXTS.iter().copied().filter(admits(Constraints { format: constraints.keys, ..Constraints::default() })).collect(),
            bounds: (constraints.minimum.unwrap_or(0), constraints.maximum.unwrap_or(200)),
            lengths: (constraints.min_length.unwrap_or(0), constraints.max_length.unwrap_or(3).min(3)),
            element: element.map(|(ty, constraints)| Box::new(Shape::new(attribute, ty, constraints))),
        }
    }

    fn value(&self, taste: Taste, random: &mut Random) -> Value {
        let garbage = taste.garbage > 0 && random.once_in(taste.garbage);
        match (&self.ty, &self.element) {
            (Type::Bool, _) => Value::from(random.once_in(2)),
            (Type::Number, _) if garbage => Value::Number(Number::parse(random.pick(&NUMBERS).unwrap()).unwrap()),
            (Type::Number, _) => Value::from(random.between(self.bounds.0, self.bounds.1)),
            (Type::String, _) => text(if garbage { &GARBAGE } else { &self.texts }, random),
            (Type::List(_), Some(element)) => {
                let count = random.between(self.lengths.0 as i64, self.lengths.1 as i64);
                Value::List(
                    (0..count).map(|_| if garbage && random.once_in(3) { Value::Null } else { element.value(taste, random) }).collect(),
                )
            }
            (Type::Map(_), Some(element)) => {
                let count = random.between(self.lengths.0 as i64, self.lengths.1 as i64);
                let entry = |random: &mut Random| {
                    let key = if garbage { random.pick(&GARBAGE) } else { random.pick(&self.keys) };
                    let value = if garbage && random.once_in(3) { Value::Null } else { element.value(taste, random) };
                    (key.map(|key| (*key).to_owned()).unwrap_or_default(), value)
                };
                Value::object((0..count).map(|_| entry(random)).collect::<Vec<_>>())
            }
            _ => Value::Null,
        }
    }
}

fn text(texts: &[&'static str], random: &mut Random) -> Value {
    random.pick(texts).map_or(Value::from("x"), |text| Value::from(*text))
}
