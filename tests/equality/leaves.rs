//! Leaves of values, by path.

use karpenter::tofu::path::Path;
use karpenter::tofu::schema::{Block, Mode};
use karpenter::tofu::value::Value;

use super::random::Random;

/// Paths of attributes and of blocks that are not the same in both.
pub fn differing(block: &Block, a: &Value, b: &Value) -> Vec<String> {
    let mut found = vec![];
    collect(block, a, b, &Path::root(), &mut found);
    found
}

fn collect(block: &Block, a: &Value, b: &Value, path: &Path, found: &mut Vec<String>) {
    for attribute in block.attributes.iter().filter(|x| a.attr(&x.name) != b.attr(&x.name)) {
        found.push(path.child(&attribute.name).to_string());
    }
    for nested in &block.blocks {
        let (path, old, new) = (path.child(&nested.name), a.attr(&nested.name).items(), b.attr(&nested.name).items());
        if old.len() != new.len() {
            found.push(path.to_string());
            continue;
        }
        for (i, (old, new)) in old.iter().zip(new).enumerate() {
            collect(&nested.block, old, new, &path.index(i), found);
        }
    }
}

/// `config` with one attribute, set in both, as `other` has it; its path.
pub fn exchange_one(block: &Block, config: &Value, other: &Value, random: &mut Random) -> Option<(Value, String)> {
    let mut candidates = vec![];
    common(block, config, other, &Path::root(), &mut vec![], &mut candidates);
    let (path, steps) = candidates.get(random.below(candidates.len()))?;
    Some((exchanged(config, other, steps), path.clone()))
}

/// Names and indices, one after another.
type Steps = Vec<(String, usize)>;

fn common(block: &Block, a: &Value, b: &Value, path: &Path, steps: &mut Steps, candidates: &mut Vec<(String, Steps)>) {
    for attribute in block.attributes.iter().filter(|x| x.mode != Mode::Computed && !x.requires_replace) {
        let (old, new) = (a.attr(&attribute.name), b.attr(&attribute.name));
        if !old.is_null() && !new.is_null() && old != new {
            let mut steps = steps.clone();
            steps.push((attribute.name.clone(), 0));
            candidates.push((path.child(&attribute.name).to_string(), steps));
        }
    }
    for nested in block.blocks.iter().filter(|n| n.name != "timeouts") {
        let pairs = a.attr(&nested.name).items().iter().zip(b.attr(&nested.name).items());
        for (i, (old, new)) in pairs.enumerate() {
            steps.push((nested.name.clone(), i));
            common(&nested.block, old, new, &path.child(&nested.name).index(i), steps, candidates);
            steps.pop();
        }
    }
}

fn exchanged(config: &Value, other: &Value, steps: &[(String, usize)]) -> Value {
    let mut changed = config.clone();
    match steps {
        [(name, _)] => changed.set(name, other.attr(name).clone()),
        [(name, i), rest @ ..] => {
            let mut items = config.attr(name).items().to_vec();
            items[*i] = exchanged(&items[*i], &other.attr(name).items()[*i], rest);
            changed.set(name, Value::List(items));
        }
        [] => {}
    }
    changed
}
