//! Between the client's values and JSON objects, along a schema: [`expand`] towards the API, [`project`] back, [`settle`] after
//! an apply.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::schema::{Attribute, Block, Mode, NestedBlock, Text, Type};
use super::value::{Number, Value};

/// The API's object of a block's value. Null and unknown are left out; a single block is an object, a repeated one a list.
pub fn expand(block: &Block, value: &Value) -> Json {
    let mut object = Json::Object(Map::new());
    for attribute in &block.attributes {
        if let Some(json) = to_json(value.attr(&attribute.name)) {
            put(&mut object, &attribute.json, json);
        }
    }
    for nested in &block.blocks {
        let items: Vec<Json> = value.attr(&nested.name).items().iter().map(|item| expand(&nested.block, item)).collect();
        match (nested.single, items.into_iter()) {
            (true, mut items) => items.next().into_iter().for_each(|item| put(&mut object, &nested.json, item)),
            (false, items) if items.len() > 0 => put(&mut object, &nested.json, Json::Array(items.collect())),
            (false, _) => {}
        }
    }
    object
}

/// Plain JSON of a value; `None` for null and unknown.
pub fn to_json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Null | Value::Unknown(_) => return None,
        Value::Bool(b) => Json::Bool(*b),
        Value::Number(Number::Int(n)) => Json::from(*n),
        Value::Number(Number::Decimal(digits)) => digits.parse::<f64>().map_or_else(|_| Json::from(digits.clone()), Json::from),
        Value::String(text) => Json::from(text.clone()),
        Value::List(items) => Json::Array(items.iter().filter_map(to_json).collect()),
        Value::Map(entries) => Json::Object(entries.iter().filter_map(|(k, v)| Some((k.clone(), to_json(v)?))).collect()),
    })
}

/// A value of the given type from plain JSON; what does not fit is null. A number where text is asked for (an int-or-string)
/// becomes its digits.
pub fn from_json(ty: &Type, json: &Json) -> Value {
    match (ty, json) {
        (Type::Bool, Json::Bool(b)) => Value::Bool(*b),
        (Type::Number, Json::Number(n)) => number(n),
        (Type::String, Json::String(text)) => Value::from(text.clone()),
        (Type::String, Json::Number(n)) => Value::from(n.to_string()),
        (Type::String, Json::Bool(b)) => Value::from(b.to_string()),
        (Type::List(element), Json::Array(items)) => Value::List(items.iter().map(|item| from_json(element, item)).collect()),
        (Type::Map(element), Json::Object(entries)) => {
            Value::Map(entries.iter().map(|(k, v)| (k.clone(), from_json(element, v))).collect())
        }
        (Type::Object(fields), Json::Object(entries)) => {
            Value::object(fields.iter().map(|(name, ty)| (name.clone(), entries.get(name).map_or(Value::Null, |v| from_json(ty, v)))))
        }
        _ => Value::Null,
    }
}

fn number(n: &serde_json::Number) -> Value {
    Value::Number(n.as_i64().map_or_else(|| Number::Decimal(n.to_string()), Number::Int))
}

/// How a live object is seen through what the state holds.
pub struct Projection<'a> {
    /// What a text with placeholders stands for.
    pub resolve: &'a dyn Fn(&str) -> String,
    /// Nothing is known of what the user wrote: take all that is there.
    pub import: bool,
}

/// A block's value as it is live: text that equals what `prior` says stays as it was written, what `prior` leaves out stays out
/// (it belongs to whoever set it), a unknown value becomes the live one.
pub fn project(block: &Block, prior: &Value, live: &Json, cx: &Projection<'_>) -> Value {
    let attributes = block.attributes.iter().map(|attribute| {
        let live = at(live, &attribute.json);
        (attribute.name.clone(), project_attribute(attribute, prior.attr(&attribute.name), live, cx))
    });
    let blocks = block.blocks.iter().map(|nested| {
        let live = at(live, &nested.json);
        (nested.name.clone(), project_nested(nested, prior.attr(&nested.name), live, cx))
    });
    Value::object(attributes.chain(blocks))
}

fn project_attribute(attribute: &Attribute, prior: &Value, live: Option<&Json>, cx: &Projection<'_>) -> Value {
    let live_value = || live.map_or(Value::Null, |json| from_json(&attribute.ty, json));
    match prior {
        _ if attribute.mode == Mode::Computed && live.is_none() => prior.clone(),
        Value::Unknown(_) => live_value(),
        Value::Null if cx.import || matches!(attribute.mode, Mode::Computed | Mode::OptionalComputed) => live_value(),
        Value::Null => Value::Null,
        prior => match live {
            None if is_absent(attribute, prior) => prior.clone(),
            None => Value::Null,
            Some(json) => project_value(attribute, prior, &from_json(&attribute.ty, json), cx),
        },
    }
}

/// Whether a value says no more than leaving it out.
fn is_absent(attribute: &Attribute, value: &Value) -> bool {
    match value {
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::Bool(false) => true,
        value => attribute.server_default.as_ref() == Some(value),
    }
}

fn project_value(attribute: &Attribute, prior: &Value, live: &Value, cx: &Projection<'_>) -> Value {
    match (prior, live) {
        (Value::List(old), Value::List(new)) if attribute.set && is_permutation(attribute, old, new, cx) => prior.clone(),
        (Value::List(old), Value::List(new)) => {
            let item = |(i, item): (usize, &Value)| old.get(i).filter(|o| equal(attribute, o, item, cx)).unwrap_or(item).clone();
            Value::List(new.iter().enumerate().map(item).collect())
        }
        (Value::Map(old), Value::Map(new)) => Value::Map(project_map(attribute, old, new, cx)),
        (prior, live) if equal(attribute, prior, live, cx) => prior.clone(),
        (_, live) => live.clone(),
    }
}

fn project_map(
    attribute: &Attribute,
    old: &BTreeMap<String, Value>,
    new: &BTreeMap<String, Value>,
    cx: &Projection<'_>,
) -> BTreeMap<String, Value> {
    let mut rest = new.clone();
    let mut projected = BTreeMap::new();
    for (key, value) in old {
        if let Some(live) = rest.remove(&resolve(attribute, key, cx)) {
            projected.insert(key.clone(), project_value(attribute, value, &live, cx));
        }
    }
    if !attribute.open || cx.import {
        projected.extend(rest);
    }
    projected
}

fn is_permutation(attribute: &Attribute, old: &[Value], new: &[Value], cx: &Projection<'_>) -> bool {
    let mut rest: Vec<&Value> = new.iter().collect();
    old.len() == new.len()
        && old.iter().all(|o| rest.iter().position(|n| equal(attribute, o, n, cx)).map(|i| rest.swap_remove(i)).is_some())
}

/// Whether two values of an attribute mean the same, element by element.
fn equal(attribute: &Attribute, prior: &Value, live: &Value, cx: &Projection<'_>) -> bool {
    match (prior, live) {
        (Value::String(a), Value::String(b)) => canonical(attribute, &resolve(attribute, a, cx)) == canonical(attribute, b),
        // two of a kind only: the other way round project_value asks here
        (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_)) => project_value(attribute, prior, live, cx) == *prior,
        (a, b) => a == b,
    }
}

fn resolve(attribute: &Attribute, text: &str, cx: &Projection<'_>) -> String {
    match attribute.text {
        Text::Plain => text.to_owned(),
        Text::Placeholders | Text::Lenient => (cx.resolve)(text),
    }
}

fn canonical(attribute: &Attribute, text: &str) -> String {
    let own = &attribute.constraints;
    let format = own.elements.as_ref().map_or(own.format, |e| e.format);
    format.map_or_else(|| text.to_owned(), |f| (f.canonical)(text))
}

fn project_nested(nested: &NestedBlock, prior: &Value, live: Option<&Json>, cx: &Projection<'_>) -> Value {
    let live: Vec<&Json> = match live {
        Some(Json::Array(items)) if !nested.single => items.iter().collect(),
        Some(object @ Json::Object(_)) if nested.single => vec![object],
        _ => vec![],
    };
    let prior = prior.items();
    if prior.is_empty() && !cx.import {
        return Value::List(vec![]);
    }
    if nested.single && live.is_empty() {
        // an empty object and none are the same to the API server
        let empty = Json::Object(Map::new());
        let seen: Vec<Value> = prior.iter().map(|p| project(&nested.block, p, &empty, cx)).collect();
        return Value::List(if seen == prior { seen } else { vec![] });
    }
    let order = if nested.set { pair(nested, prior, &live, cx) } else { (0..live.len()).collect() };
    let item = |(i, at): (usize, &usize)| project_element(nested, prior.get(i).unwrap_or(&Value::Null), live[*at], cx);
    Value::List(order.iter().enumerate().map(item).collect())
}

/// One element. One that the state does not have, or that is another than the state's of that place, is taken whole: what the
/// state leaves out of the one says nothing of the other.
fn project_element(nested: &NestedBlock, prior: &Value, live: &Json, cx: &Projection<'_>) -> Value {
    let whole = Projection { resolve: cx.resolve, import: true };
    match prior {
        Value::Null => project(&nested.block, prior, live, &whole),
        prior => {
            let seen = project(&nested.block, prior, live, cx);
            let same = nested.single || !prior.is_wholly_known() || seen == *prior;
            if same { seen } else { project(&nested.block, prior, live, &whole) }
        }
    }
}

/// The live elements in the order in which the state has their equals; the live order where they do not all match.
fn pair(nested: &NestedBlock, prior: &[Value], live: &[&Json], cx: &Projection<'_>) -> Vec<usize> {
    let mut rest: Vec<usize> = (0..live.len()).collect();
    let mut order = Vec::new();
    for value in prior {
        if let Some(i) = rest.iter().position(|i| project(&nested.block, value, live[*i], cx) == *value) {
            order.push(rest.remove(i));
        }
    }
    if order.len() == prior.len() {
        order.extend(rest);
        return order;
    }
    (0..live.len()).collect()
}

/// What was planned, each unknown replaced by what is there now; `observed` is the live object projected through the plan.
pub fn settle(planned: &Value, observed: &Value) -> Value {
    match planned {
        Value::Unknown(_) => observed.clone(),
        Value::Map(entries) => Value::Map(entries.iter().map(|(k, v)| (k.clone(), settle(v, observed.attr(k)))).collect()),
        Value::List(items) => {
            let seen = observed.items();
            Value::List(items.iter().enumerate().map(|(i, v)| settle(v, seen.get(i).unwrap_or(&Value::Null))).collect())
        }
        known => known.clone(),
    }
}

/// What stands at a path of keys.
pub fn at<'a>(json: &'a Json, path: &[String]) -> Option<&'a Json> {
    path.iter().try_fold(json, |json, key| json.get(key)).filter(|json| !json.is_null())
}

/// Replaces texts of a JSON value, keys among them, where there is a `replacement`.
pub fn replace_texts(json: &mut Json, replacement: &dyn Fn(&str) -> Option<String>) {
    match json {
        Json::String(text) => *text = replacement(text).unwrap_or_else(|| std::mem::take(text)),
        Json::Array(items) => items.iter_mut().for_each(|item| replace_texts(item, replacement)),
        Json::Object(entries) => {
            let replaced = std::mem::take(entries).into_iter().map(|(key, mut value)| {
                replace_texts(&mut value, replacement);
                (replacement(&key).unwrap_or(key), value)
            });
            *entries = replaced.collect();
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// Sets what stands at a path of keys, making the objects on the way.
pub fn put(json: &mut Json, path: &[String], value: Json) {
    let mut place = json;
    for key in path {
        if !place.is_object() {
            *place = Json::Object(Map::new());
        }
        place = &mut place[key.as_str()];
    }
    *place = value;
}
