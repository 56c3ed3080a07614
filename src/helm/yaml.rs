//! YAML as Helm and Kubernetes read and write it: version 1.1's scalars, duplicate keys last-wins, JSON's values.
//!
//! libyaml's scanner and emitter (in safe Rust) decide what is well-formed and how a scalar is quoted, since Go's package is a port
//! of the same code; what a scalar means is decided here.

mod scalar;

use libyaml_safer::{Emitter, Event, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};
use serde_json::{Number, Value};

use self::scalar::{resolve, scalar, timestamp};
use super::Map;

pub use self::scalar::number;

/// Nested deeper than this is refused, and so are aliases that expand to more nodes than this many thousands.
const MAX_DEPTH: usize = 100;
const MAX_NODES: usize = 500_000;

/// The first document of a text; null when it holds none. The error is one line with line and column.
pub fn parse(text: &str) -> Result<Value, String> {
    Ok(parse_all(text)?.into_iter().next().unwrap_or(Value::Null))
}

/// Every document of a text.
pub fn parse_all(text: &str) -> Result<Vec<Value>, String> {
    // the scanner panics when a block scalar ends without a line break; whatever else it trips over must not end the process
    let text = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
    std::panic::catch_unwind(|| compose_all(&text)).unwrap_or_else(|_| Err("the text cannot be scanned as YAML".to_owned()))
}

fn compose_all(text: &str) -> Result<Vec<Value>, String> {
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut composer = Composer { next: Box::new(move || parser.parse().map_err(|e| e.to_string())), anchors: vec![], nodes: 0 };
    let mut documents = vec![];
    loop {
        match composer.event()? {
            EventData::DocumentStart { .. } => {
                composer.anchors.clear();
                let first = composer.event()?;
                documents.push(composer.value(first, 0)?.value);
            }
            EventData::StreamEnd => return Ok(documents),
            _ => {}
        }
    }
}

struct Composer<'p> {
    next: Box<dyn FnMut() -> Result<Event, String> + 'p>,
    anchors: Vec<(String, Node)>,
    nodes: usize,
}

/// A value, and whether it is the merge key `<<`.
#[derive(Clone)]
struct Node {
    value: Value,
    merge: bool,
    size: usize,
}

impl Composer<'_> {
    fn event(&mut self) -> Result<EventData, String> {
        Ok((self.next)()?.data)
    }

    fn value(&mut self, event: EventData, depth: usize) -> Result<Node, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        let before = self.nodes;
        self.nodes += 1;
        let (anchor, value, merge) = match event {
            EventData::Alias { anchor } => {
                let found = self.anchors.iter().rev().find(|(name, _)| *name == anchor).map(|(_, node)| node.clone());
                let node = found.ok_or_else(|| format!("unknown anchor '{anchor}' referenced"))?;
                self.nodes += node.size;
                if self.nodes > MAX_NODES {
                    return Err("aliases expand to too much".to_owned());
                }
                return Ok(node);
            }
            EventData::Scalar { anchor, tag, value, style, .. } => {
                let plain = style == ScalarStyle::Plain;
                (anchor, scalar(tag.as_deref(), &value, plain)?, plain && tag.is_none() && value == "<<")
            }
            EventData::SequenceStart { anchor, .. } => {
                let mut list = vec![];
                loop {
                    match self.event()? {
                        EventData::SequenceEnd => break,
                        event => list.push(self.value(event, depth + 1)?.value),
                    }
                }
                (anchor, Value::Array(list), false)
            }
            EventData::MappingStart { anchor, .. } => (anchor, Value::Object(self.mapping(depth)?), false),
            other => return Err(format!("unexpected {other:?}")),
        };
        let node = Node { value, merge, size: self.nodes - before };
        if let Some(anchor) = anchor {
            self.anchors.push((anchor, node.clone()));
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Result<Map, String> {
        let mut map = Map::new();
        loop {
            let key = match self.event()? {
                EventData::MappingEnd => return Ok(map),
                event => self.value(event, depth + 1)?,
            };
            let event = self.event()?;
            let value = self.value(event, depth + 1)?.value;
            if key.merge {
                merge_key(&mut map, value)?;
            } else {
                map.insert(key_text(key.value)?, value);
            }
        }
    }
}

fn merge_key(map: &mut Map, value: Value) -> Result<(), String> {
    match value {
        Value::Object(from) => map.extend(from),
        // the first of several wins
        Value::Array(list) => list.into_iter().rev().try_for_each(|from| match from {
            Value::Object(from) => {
                map.extend(from);
                Ok(())
            }
            _ => Err("map merge requires map or sequence of maps as the value"),
        })?,
        _ => return Err("map merge requires map or sequence of maps as the value".to_owned()),
    }
    Ok(())
}

fn key_text(key: Value) -> Result<String, String> {
    match key {
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Ok(key.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(format!("{key} cannot be a key")),
    }
}

/// Writes a value as `sigs.k8s.io/yaml` does: sorted keys, block style, quotes wherever a reader could take text for something else.
pub fn write(value: &Value) -> Result<String, String> {
    let mut out = vec![];
    let mut emitter = Emitter::new();
    emitter.set_output(&mut out);
    emitter.set_unicode(true);
    emitter.set_width(-1);
    let mut events = vec![Event::stream_start(libyaml_safer::Encoding::Utf8), Event::document_start(None, &[], true)];
    write_events(value, &mut events);
    events.push(Event::document_end(true));
    events.push(Event::stream_end());
    for event in events {
        emitter.emit(event).map_err(|e| e.to_string())?;
    }
    emitter.flush().map_err(|e| e.to_string())?;
    drop(emitter);
    let text = String::from_utf8(out).map_err(|e| e.to_string())?;
    Ok(text.strip_suffix("...\n").map(str::to_owned).unwrap_or(text))
}

fn write_events(value: &Value, events: &mut Vec<Event>) {
    let mut scalar = |text: &str, style| events.push(Event::scalar(None, None, text, true, true, style));
    match value {
        Value::Null => scalar("null", ScalarStyle::Plain),
        Value::Bool(b) => scalar(if *b { "true" } else { "false" }, ScalarStyle::Plain),
        Value::Number(n) => scalar(&number_text(n), ScalarStyle::Plain),
        Value::String(text) if text.contains('\n') => scalar(text, ScalarStyle::Literal),
        Value::String(text) if reads_as_text(text) => scalar(text, ScalarStyle::Plain),
        Value::String(text) => scalar(text, ScalarStyle::DoubleQuoted),
        Value::Array(list) => {
            let style = if list.is_empty() { SequenceStyle::Flow } else { SequenceStyle::Block };
            events.push(Event::sequence_start(None, None, true, style));
            list.iter().for_each(|item| write_events(item, events));
            events.push(Event::sequence_end());
        }
        Value::Object(map) => {
            let style = if map.is_empty() { MappingStyle::Flow } else { MappingStyle::Block };
            events.push(Event::mapping_start(None, None, true, style));
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for key in keys {
                write_events(&Value::String(key.clone()), events);
                write_events(&map[key.as_str()], events);
            }
            events.push(Event::mapping_end());
        }
    }
}

fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => super::template::format::float(float),
        _ => number.to_string(),
    }
}

fn reads_as_text(text: &str) -> bool {
    // 1.1 has numbers of base 60 (1:20), 1.2 has none of 1.1's yes and no: whatever begins like a number with a colon is quoted
    let base60 = text.contains(':') && text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit());
    text != "<<" && text != "=" && !timestamp(text) && !base60 && matches!(resolve(text), Ok(Value::String(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn anchors_merge_keys_and_documents() {
        let text = "base: &b {x: 1, z: 2}\nuse: {<<: *b, z: 3}\nagain: *b\n---\n- 1\n---\n";
        let all = parse_all(text).unwrap();
        assert_eq!(all, [json!({"base": {"x": 1, "z": 2}, "use": {"x": 1, "z": 3}, "again": {"x": 1, "z": 2}}), json!([1]), json!(null)]);
        let bomb = (1..30).fold("a0: &a0 x\n".to_owned(), |s, i| format!("{s}a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1));
        assert!(parse(&bomb).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn block_scalars_need_no_last_line_break() {
        assert_eq!(parse("a: |\n  text").unwrap(), json!({"a": "text\n"}));
        assert_eq!(parse("a: \"x\ny\"").unwrap(), json!({"a": "x y"}), "a quoted scalar continued at column 0");
    }

    #[test]
    fn what_is_written_reads_back() {
        let tricky = [
            "true",
            "y",
            "null",
            "~",
            "1",
            "1.0",
            "0x1",
            "1e3",
            "2020-01-01",
            "12:30:45",
            "",
            " x",
            "x ",
            "a: b",
            "a #b",
            "- x",
            "{{ x }}",
            "[a]",
            "*a",
            "&a",
            "!x",
            "%x",
            "@x",
            "`x`",
            "'",
            "\"",
            "a\nb",
            "a\nb\n",
            "\n",
            "a \n b",
            "\ta",
            "ü",
            "\u{1F600}",
            "\u{7}",
            "<<",
            "=",
            ".inf",
            "0o7",
            "1_0",
            "#",
            "?",
            ":",
            "-",
            "a:",
            "|",
            ">",
            "  lead\nx",
            "trail  \nx\n\n",
        ];
        let value =
            json!({"list": tricky.to_vec(), "map": {"b": [], "a": {}, "n": [1, 1.5, 1e30, 1e-7, u64::MAX]}, "1": true, "yes": null});
        let text = write(&value).unwrap();
        assert_eq!(parse(&text).unwrap(), value, "{text}");
        assert_eq!(write(&json!({"b": "yes", "a": ["x", {"k": 1}]})).unwrap(), "a:\n- x\n- k: 1\nb: \"yes\"\n");
        assert_eq!(write(&json!("x")).unwrap(), "x\n");
    }
}
