//! Offline checks of a configuration against its schema's constraints. Unknown values pass.

use std::cell::RefCell;
use std::collections::HashMap;

use regex_lite::Regex;

use super::diagnostics::Diagnostics;
use super::path::Path;
use super::schema::{Attribute, Block, Constraints, Mode, Text};
use super::value::Value;

/// Checks every attribute below a block. Text with placeholders goes to `placeholders` first, which refuses unknown words and
/// says whether there were any; then its final form is not known yet, so no other check applies.
pub fn validate(block: &Block, config: &Value, placeholders: &dyn Fn(Text, &str) -> Result<bool, String>) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    Check { placeholders, diagnostics: &mut diagnostics }.block(block, config, &Path::root());
    diagnostics
}

/// [`validate`] for schemas without placeholders.
pub fn validate_plain(block: &Block, config: &Value) -> Diagnostics {
    validate(block, config, &|_, _| Ok(false))
}

struct Check<'a> {
    placeholders: &'a dyn Fn(Text, &str) -> Result<bool, String>,
    diagnostics: &'a mut Diagnostics,
}

impl Check<'_> {
    fn block(&mut self, block: &Block, config: &Value, path: &Path) {
        for attribute in &block.attributes {
            let path = path.child(&attribute.name);
            match config.attr(&attribute.name) {
                Value::Null if attribute.required_by_validate || attribute.mode == Mode::Required => {
                    self.missing(&path, "argument", &attribute.description)
                }
                value => self.value(attribute, &attribute.constraints, value, &path),
            }
        }
        for nested in &block.blocks {
            let path = path.child(&nested.name);
            let value = config.attr(&nested.name);
            let count = i64::try_from(value.items().len()).unwrap_or(i64::MAX);
            if (nested.required_by_validate || nested.min_items > 0) && !value.is_unknown() && count == 0 {
                self.missing(&path, "block", &nested.block.description);
            }
            if nested.max_items > 0 && count > nested.max_items {
                self.invalid(&path, &format!("{count} blocks"), &format!("at most {}", nested.max_items));
            }
            for (i, item) in value.items().iter().enumerate().filter(|(_, item)| !item.is_unknown()) {
                self.block(&nested.block, item, &path.index(i));
            }
        }
    }

    fn missing(&mut self, path: &Path, what: &str, description: &str) {
        let first = description.lines().next().unwrap_or_default();
        self.diagnostics.error(path.clone(), format!("missing {what} {path}"), format!("{path} is required. {first}"));
    }

    fn value(&mut self, attribute: &Attribute, constraints: &Constraints, value: &Value, path: &Path) {
        let elements = constraints.elements.as_deref();
        match value {
            Value::Null | Value::Unknown(_) | Value::Bool(_) => {}
            Value::Number(number) => {
                if let Err(right) = check_number(constraints, value.as_i64()) {
                    self.invalid(path, &number.to_string(), &right);
                }
            }
            Value::String(text) => self.text(attribute, constraints, text, path),
            Value::List(items) => {
                self.length(constraints, items.len(), "elements", path);
                for (i, item) in items.iter().enumerate() {
                    if !self.is_null(item, &path.index(i)) {
                        self.value(attribute, elements.unwrap_or(&Constraints::default()), item, &path.index(i));
                    }
                }
            }
            Value::Map(entries) => {
                self.length(constraints, entries.len(), "entries", path);
                for (key, item) in entries {
                    let (keys, path) = (Constraints { format: constraints.keys, ..Constraints::default() }, path.key(key));
                    if !self.is_null(item, &path) {
                        self.text(attribute, &keys, key, &path);
                        self.value(attribute, elements.unwrap_or(&Constraints::default()), item, &path);
                    }
                }
            }
        }
    }

    fn text(&mut self, attribute: &Attribute, constraints: &Constraints, text: &str, path: &Path) {
        let placeholders = match attribute.text {
            Text::Plain => Ok(false),
            kind => (self.placeholders)(kind, text),
        };
        match placeholders {
            Ok(true) => {}
            Ok(false) => {
                if let Err(right) = check_text(constraints, text) {
                    self.invalid(path, &shown(attribute, text), &right);
                }
            }
            Err(right) => self.invalid(path, &shown(attribute, text), &right),
        }
    }

    /// Neither a list nor a map of the API has a place for null.
    fn is_null(&mut self, item: &Value, path: &Path) -> bool {
        if item.is_null() {
            let detail = format!("{path} is null. Leave it out, e.g. with a for expression that has an if.");
            self.diagnostics.error(path.clone(), format!("null at {path}"), detail);
        }
        item.is_null()
    }

    fn length(&mut self, constraints: &Constraints, length: usize, what: &str, path: &Path) {
        if let Some(least) = constraints.min_length.filter(|least| length < *least) {
            self.invalid(path, &format!("{length} {what}"), &format!("at least {least} {what}"));
        }
        if let Some(most) = constraints.max_length.filter(|most| length > *most) {
            self.invalid(path, &format!("{length} {what}"), &format!("at most {most} {what}"));
        }
    }

    fn invalid(&mut self, path: &Path, got: &str, right: &str) {
        self.diagnostics.error(path.clone(), format!("invalid value for {path}"), format!("{path} is {got}; it must be {right}."));
    }
}

/// A text as a message may show it.
fn shown(attribute: &Attribute, text: &str) -> String {
    if attribute.sensitive { "a text that is not shown, because it is sensitive".to_owned() } else { format!("{text:?}") }
}

fn check_number(constraints: &Constraints, number: Option<i64>) -> Result<(), String> {
    let Some(number) = number else { return Err("a whole number".to_owned()) };
    let (least, most) = (constraints.minimum.unwrap_or(i64::MIN), constraints.maximum.unwrap_or(i64::MAX));
    if (least..=most).contains(&number) {
        return Ok(());
    }
    Err(match (constraints.minimum, constraints.maximum) {
        (Some(least), Some(most)) => format!("between {least} and {most}"),
        (Some(least), None) => format!("at least {least}"),
        (_, most) => format!("at most {}", most.unwrap_or(i64::MAX)),
    })
}

fn check_text(constraints: &Constraints, text: &str) -> Result<(), String> {
    if !constraints.one_of.is_empty() && !constraints.one_of.iter().any(|one| one == text) {
        return Err(format!("one of {}", constraints.one_of.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(", ")));
    }
    if let Some(format) = constraints.format {
        (format.check)(text)?;
    }
    let length = text.chars().count();
    if let Some(most) = constraints.max_length.filter(|most| length > *most) {
        return Err(format!("at most {most} characters long (it has {length})"));
    }
    if let Some(least) = constraints.min_length.filter(|least| length < *least) {
        return Err(if least == 1 { "not empty".to_owned() } else { format!("at least {least} characters long (it has {length})") });
    }
    match &constraints.pattern {
        Some(pattern) if !matches(pattern, text) => Err(format!("text that matches {pattern}")),
        _ => Ok(()),
    }
}

/// Whether the text matches. Each pattern is compiled once a thread; they are few, and all from declarations.
fn matches(pattern: &str, text: &str) -> bool {
    thread_local!(static COMPILED: RefCell<HashMap<String, Option<Regex>>> = RefCell::new(HashMap::new()));
    COMPILED.with_borrow_mut(|all| {
        let regex = all.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
        regex.as_ref().is_none_or(|regex| regex.is_match(text))
    })
}
