//! Whether a value may stand where another was planned: what was known stays, what was unknown keeps to its refinements.

use karpenter::tofu::path::Path;
use karpenter::tofu::schema::Block;
use karpenter::tofu::value::{Refinements, Value};

use super::refinements::{self, Known};
use super::rules::{Violation, show};

/// The client's comparison of a planned object with the final one.
pub fn compatible(rule: &'static str, block: &Block, planned: &Value, actual: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    object(rule, block, planned, actual, &Path::root(), &mut found);
    found
}

fn object(rule: &'static str, block: &Block, planned: &Value, actual: &Value, path: &Path, found: &mut Vec<Violation>) {
    match (planned.is_null(), actual.is_null()) {
        (true, true) => return,
        (true, false) => return found.push(Violation::new(rule, path, "was absent, but is now present")),
        (false, true) => return found.push(Violation::new(rule, path, "was present, but is now absent")),
        (false, false) => {}
    }
    for attribute in &block.attributes {
        let (planned, actual) = (planned.attr(&attribute.name), actual.attr(&attribute.name));
        if planned != actual {
            value(rule, planned, actual, &path.child(&attribute.name), found);
        }
    }
    for nested in &block.blocks {
        let path = path.child(&nested.name);
        // an unknown block may turn out as any number of them
        let (Value::List(planned), Value::List(actual)) = (planned.attr(&nested.name), actual.attr(&nested.name)) else { continue };
        if planned.len() != actual.len() {
            found.push(Violation::new(rule, &path, format!("{} blocks became {}", planned.len(), actual.len())));
            continue;
        }
        for (i, (planned, actual)) in planned.iter().zip(actual).enumerate() {
            object(rule, &nested.block, planned, actual, &path.index(i), found);
        }
    }
}

fn value(rule: &'static str, planned: &Value, actual: &Value, path: &Path, found: &mut Vec<Violation>) {
    let mut wrong = |path: &Path, message: String| found.push(Violation::new(rule, path, message));
    match (planned, actual) {
        (Value::Unknown(refinements), actual) => {
            if !includes(refinements, actual) {
                wrong(path, format!("{} is not what the unknown value was promised to be", show(actual)));
            }
        }
        (Value::Null, Value::Null) => {}
        (planned, Value::Null) => wrong(path, format!("was {}, but is now null", show(planned))),
        (Value::Null, actual) => wrong(path, format!("was null, but is now {}", show(actual))),
        (_, Value::Unknown(_)) => wrong(path, "was known, but is now unknown".to_owned()),
        (Value::List(planned), Value::List(actual)) => {
            if planned.len() != actual.len() {
                wrong(path, format!("{} elements became {}", planned.len(), actual.len()));
            }
            for (i, (planned, actual)) in planned.iter().zip(actual).enumerate() {
                value(rule, planned, actual, &path.index(i), found);
            }
        }
        (Value::Map(planned), Value::Map(actual)) => {
            for (key, planned) in planned {
                match actual.get(key) {
                    Some(actual) => value(rule, planned, actual, &path.key(key), found),
                    None => found.push(Violation::new(rule, &path.key(key), "the element has vanished")),
                }
            }
            for key in actual.keys().filter(|key| !planned.contains_key(*key)) {
                found.push(Violation::new(rule, &path.key(key), "a new element has appeared"));
            }
        }
        (planned, actual) if planned == actual => {}
        (planned, actual) => wrong(path, format!("was {}, but is now {}", show(planned), show(actual))),
    }
}

/// Whether a value keeps to what was known of an unknown one.
fn includes(refinements: &Refinements, actual: &Value) -> bool {
    refinements::read(refinements).iter().all(|known| match (known, actual) {
        (_, Value::Unknown(_)) => true,
        (Known::Null(is), actual) => *is == actual.is_null(),
        (_, Value::Null) => true,
        (Known::Prefix(prefix), Value::String(text)) => text.starts_with(prefix),
        (Known::LeastNumber(least), Value::Number(n)) => n.to_string().parse::<f64>().is_ok_and(|n| n >= *least),
        (Known::MostNumber(most), Value::Number(n)) => n.to_string().parse::<f64>().is_ok_and(|n| n <= *most),
        (Known::LeastLength(least), Value::List(items)) => items.len() >= *least,
        (Known::LeastLength(least), Value::Map(items)) => items.len() >= *least,
        (Known::MostLength(most), Value::List(items)) => items.len() <= *most,
        (Known::MostLength(most), Value::Map(items)) => items.len() <= *most,
        _ => false,
    })
}
