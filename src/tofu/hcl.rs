//! HCL of values along their schema, laid out as the client's `fmt` leaves it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::path::Path;
use super::schema::{Attribute, Block, Mode};
use super::value::Value;

/// A list or a map that does not fit into this many columns has a line for each element.
const COLUMNS: usize = 100;

/// What to write in the place of an attribute's value, e.g. a reference; `None` writes the value.
pub type Expressions<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// A top-level block: `head` (`resource "type" "label"`), and what the value says that the client would not fill in by itself.
/// Left out are null, what only the provider sets, and computed values that equal their default.
pub fn block(head: &str, schema: &Block, value: &Value, expressions: Expressions<'_>) -> String {
    let mut out = String::new();
    Body { out: &mut out, expressions }.block(head, schema, value, &Path::root(), 0);
    out
}

/// Text as a quoted template that stands for nothing but itself.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' | '%' if chars.peek() == Some(&'{') => {
                let _ = write!(out, "{c}{c}");
            }
            c if is_unprintable(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A resource's label made of an object's name: unique among those `taken`, to which it is added.
pub fn label(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut label: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        label.insert(0, '_');
    }
    let numbered = (2..).map(|n| format!("{label}_{n}"));
    let unique = std::iter::once(label.clone()).chain(numbered).find(|candidate| !taken.contains(candidate)).unwrap_or(label);
    taken.insert(unique.clone());
    unique
}

/// Control characters, and what would change how the text is read where it stands.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

struct Body<'a> {
    out: &'a mut String,
    expressions: Expressions<'a>,
}

impl Body<'_> {
    fn block(&mut self, head: &str, schema: &Block, value: &Value, path: &Path, depth: usize) {
        let indent = "  ".repeat(depth);
        let _ = write!(self.out, "{indent}{head} {{");
        let start = self.out.len();
        self.attributes(schema, value, path, depth + 1);
        for nested in &schema.blocks {
            for (i, item) in value.attr(&nested.name).items().iter().enumerate() {
                self.out.push_str(if self.out.len() == start { "\n" } else { "\n\n" });
                let path = path.child(&nested.name).index(i);
                self.block(&nested.name, &nested.block, item, &path, depth + 1);
                // the end of a line is written by what follows
                self.out.truncate(self.out.trim_end().len());
            }
        }
        self.out.push_str(&if self.out.len() == start { "}\n".to_owned() } else { format!("\n{indent}}}\n") });
    }

    /// Those of one line first, aligned; then each of several lines by itself.
    fn attributes(&mut self, schema: &Block, value: &Value, path: &Path, depth: usize) {
        let mut written: Vec<&Attribute> = schema.attributes.iter().filter(|a| is_written(a, value.attr(&a.name))).collect();
        written.sort_by_key(|a| (!a.requires_replace, &a.name));
        let text = |a: &Attribute| {
            let value = value.attr(&a.name);
            let own = (self.expressions)(&path.child(&a.name));
            (a.name.clone(), own.unwrap_or_else(|| heredoc(value, depth).unwrap_or_else(|| expression(value, depth, a.name.len()))))
        };
        let (short, tall): (Vec<_>, Vec<_>) = written.into_iter().map(text).partition(|(_, text)| !text.contains('\n'));
        let mut groups: Vec<String> = tall.into_iter().map(|entry| lines(&[entry], depth)).collect();
        if !short.is_empty() {
            groups.insert(0, lines(&short, depth));
        }
        if !groups.is_empty() {
            self.out.push('\n');
            self.out.push_str(&groups.join("\n\n"));
        }
    }
}

fn is_written(attribute: &Attribute, value: &Value) -> bool {
    let filled_in = || [&attribute.default, &attribute.server_default].into_iter().any(|default| default.as_ref() == Some(value));
    match (attribute.mode, value) {
        (Mode::Computed, _) | (_, Value::Null | Value::Unknown(_)) => false,
        (Mode::OptionalComputed, _) => !filled_in(),
        (Mode::Required | Mode::Optional, _) => true,
    }
}

/// `key = value` lines. Neighbours of one line each are aligned.
fn lines(entries: &[(String, String)], depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let is_tall = |(_, value): &(String, String)| value.contains('\n');
    let mut lines = Vec::new();
    for chain in entries.chunk_by(|a, b| is_tall(a) == is_tall(b)) {
        let width = chain.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
        for entry @ (key, value) in chain {
            let width = if is_tall(entry) { key.len() } else { width };
            lines.push(format!("{indent}{key:width$} = {value}"));
        }
    }
    lines.join("\n")
}

/// A value's expression. `taken` columns of its first line are the key's.
fn expression(value: &Value, depth: usize, taken: usize) -> String {
    let indent = "  ".repeat(depth);
    let room = COLUMNS.saturating_sub(indent.len() + taken + 3);
    match value {
        Value::Null | Value::Unknown(_) => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::List(items) => {
            let flat = flat(value);
            if items.is_empty() || flat.len() <= room {
                return flat;
            }
            let items: String = items.iter().map(|item| format!("{indent}  {},\n", expression(item, depth + 1, 0))).collect();
            format!("[\n{items}{indent}]")
        }
        Value::Map(entries) => {
            let flat = flat(value);
            // `fmt` aligns by what a terminal shows, which for other scripts is not the number of characters
            if entries.is_empty() || flat.len() <= room || !entries.keys().all(|key| key.is_ascii()) {
                return flat;
            }
            let entries: Vec<(String, String)> = keyed(entries).map(|(k, v)| (k.clone(), expression(v, depth + 1, k.len()))).collect();
            format!("{{\n{}\n{indent}}}", lines(&entries, depth + 1))
        }
    }
}

/// A value's expression on one line.
fn flat(value: &Value) -> String {
    match value {
        Value::List(items) => format!("[{}]", items.iter().map(flat).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Map(entries) => {
            format!("{{ {} }}", keyed(entries).map(|(key, value)| format!("{key} = {}", flat(value))).collect::<Vec<_>>().join(", "))
        }
        other => expression(other, 0, 0),
    }
}

fn keyed(entries: &BTreeMap<String, Value>) -> impl Iterator<Item = (String, &Value)> {
    entries.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (self::key(key), value))
}

/// Words that are no names where a key stands.
const KEYWORDS: [&str; 4] = ["for", "null", "true", "false"];

fn key(key: &str) -> String {
    let is_name = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !KEYWORDS.contains(&key);
    if is_name { key.to_owned() } else { quoted(key) }
}

/// Text of several lines as it is; `None` for anything else, and for text with characters that must be escaped.
fn heredoc(value: &Value, depth: usize) -> Option<String> {
    let text = value.as_str()?;
    let several = text.trim_end_matches('\n').contains('\n');
    if !several || text.chars().any(|c| is_unprintable(c) && c != '\n' && c != '\t') {
        return None;
    }
    let mut marker = "EOT".to_owned();
    while text.lines().any(|line| line.trim() == marker) {
        marker.push('_');
    }
    let body = text.replace("${", "$${").replace("%{", "%%{");
    Some(match body.ends_with('\n') {
        true => format!("<<{marker}\n{body}{marker}"),
        // the last line of a heredoc always ends
        false => format!("chomp(<<{marker}\n{body}\n{marker}\n{})", "  ".repeat(depth)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;
    use schemars::JsonSchema;

    /// A house.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "a declaration, walked as JSON schema")]
    struct House {
        #[schemars(extend("x-tofu" = {"requires_replace": true}))]
        street: String,
        #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "default": "white"}))]
        colour: Option<String>,
        #[schemars(extend("x-tofu" = {"computed": true}))]
        age: i64,
        note: Option<String>,
        bells: Option<BTreeMap<String, String>>,
        names: Option<Vec<String>>,
        rooms: Option<Vec<Room>>,
    }

    /// A room.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "a declaration, walked as JSON schema")]
    struct Room {
        area: Option<i64>,
        for_guests: Option<bool>,
    }

    fn house(attributes: &[(&str, Value)]) -> String {
        let value = Value::object(attributes.iter().cloned());
        block("resource \"x_house\" \"a\"", &Schema::of::<House>(0, &[]).block, &value, &|_| None)
    }

    #[test]
    fn a_block_is_laid_out_as_fmt_does() {
        let room = |area: i64| Value::object([("area", Value::from(area)), ("for_guests", Value::from(true))]);
        let text = house(&[
            ("street", Value::from("High")),
            ("colour", Value::from("white")),
            ("age", Value::from(3)),
            ("note", Value::from("one\n  ${two}\n")),
            ("bells", Value::object([("front", Value::from("ding")), ("a.b", Value::from("dong"))])),
            ("rooms", Value::List(vec![room(12), Value::object([("area", Value::Null)])])),
        ]);
        assert_eq!(
            text,
            r#"resource "x_house" "a" {
  street = "High"
  bells  = { "a.b" = "dong", front = "ding" }

  note = <<EOT
one
  $${two}
EOT

  rooms {
    area       = 12
    for_guests = true
  }

  rooms {}
}
"#
        );
    }

    #[test]
    fn what_is_too_long_has_a_line_for_each_element() {
        let long = "x".repeat(60);
        let names = Value::List(vec![Value::from(long.clone()), Value::from(long.clone())]);
        let bells = Value::object([("a", Value::from(long.clone())), ("bc", Value::from(long.clone()))]);
        let text = house(&[("names", names), ("bells", bells)]);
        assert_eq!(
            text,
            format!(
                "resource \"x_house\" \"a\" {{\n  bells = {{\n    a  = \"{long}\"\n    bc = \"{long}\"\n  }}\n\n  names = [\n    \"{long}\",\n    \"{long}\",\n  ]\n}}\n"
            )
        );
    }

    #[test]
    fn text_stands_for_itself() {
        for (text, written) in [
            ("a\"b\\c\td", r#""a\"b\\c\td""#),
            ("${x} %{y} $x $$", r#""$${x} %%{y} $x $$""#),
            ("bell \u{7}, line\n", r#""bell \u0007, line\n""#),
        ] {
            assert_eq!(quoted(text), written);
        }
        assert_eq!(heredoc(&Value::from("one\r\ntwo\n"), 1), None, "a line's end would be made another one");
        assert_eq!(heredoc(&Value::from("a\nEOT\nb"), 1).as_deref(), Some("chomp(<<EOT_\na\nEOT\nb\nEOT_\n  )"));
    }

    #[test]
    fn labels_are_identifiers_and_unique() {
        let mut taken = BTreeSet::new();
        let labels = ["a-b", "a.b", "a-b-2", "a_b", "4th", "for"].map(|name| label(name, &mut taken));
        assert_eq!(labels, ["a_b", "a_b_2", "a_b_2_2", "a_b_3", "_4th", "for"]);
    }
}
