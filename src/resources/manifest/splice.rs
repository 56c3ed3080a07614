//! New values in the user's own YAML text, which otherwise stays as it is, comments included.

use std::collections::BTreeMap;

use libyaml_safer::{EventData, Parser, SequenceStyle};
use serde_json::Value as Json;

use crate::helm::yaml;

/// Writes scalars over those at the same places; `None` where the text has one of them only through an alias or a merge. What follows a
/// block scalar may come out as part of it: the caller looks.
pub(super) fn splice(text: &str, changes: &[(String, Json)]) -> Option<String> {
    let spans = std::panic::catch_unwind(|| spans(text)).ok()??; // as in yaml::parse_all
    let mut spliced = text.to_owned();
    let mut edits: Vec<((usize, usize), String)> = vec![];
    for (path, value) in changes {
        let scalar = |value: &Json| yaml::write(value).ok().map(|text| text.trim_end().to_owned());
        let new = match value {
            Json::Array(items) => format!("[{}]", items.iter().map(scalar).collect::<Option<Vec<_>>>()?.join(", ")),
            value => scalar(value)?,
        };
        edits.push((*spans.get(path)?, new));
    }
    edits.sort_unstable();
    for ((start, end), new) in edits.into_iter().rev() {
        spliced.get(start..end)?;
        spliced.replace_range(start..end, &new);
    }
    Some(spliced)
}

/// Where each scalar and each list in brackets of the first document stands, in bytes.
fn spans(text: &str) -> Option<BTreeMap<String, (usize, usize)>> {
    let ended = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
    let mut bytes = ended.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut spans = BTreeMap::new();
    // open collections: their path, and for a mapping the key that waits for its value, for a list the next index
    let mut open: Vec<(String, Option<usize>, Option<String>)> = vec![];
    let mut brackets: Vec<Option<usize>> = vec![];
    loop {
        let event = parser.parse().ok()?;
        let place = match open.last_mut() {
            Some((path, Some(_), _)) if matches!(event.data, EventData::SequenceEnd) => path.clone(),
            Some((path, Some(next), _)) => {
                *next += 1;
                format!("{path}[{}]", *next - 1)
            }
            Some((path, None, key)) => match (key.take(), &event.data) {
                (Some(key), _) => format!("{path}.{key}"),
                (None, EventData::Scalar { value, .. }) => {
                    *key = Some(value.clone());
                    continue;
                }
                (None, EventData::MappingEnd) => path.clone(),
                (None, _) => return None,
            },
            None => String::new(),
        };
        let (start, end) = (usize::try_from(event.start_mark.index).ok()?, usize::try_from(event.end_mark.index).ok()?);
        match event.data {
            EventData::Scalar { .. } => drop(spans.insert(place, (start, end))),
            EventData::MappingStart { .. } => open.push((place, None, None)),
            EventData::SequenceStart { style, .. } => {
                brackets.push((style == SequenceStyle::Flow).then_some(start));
                open.push((place, Some(0), None));
            }
            EventData::SequenceEnd => {
                if let Some(start) = brackets.pop().flatten() {
                    spans.insert(place, (start, end));
                }
                open.pop();
            }
            EventData::MappingEnd => drop(open.pop()),
            EventData::Alias { .. } => {}
            EventData::DocumentEnd { .. } | EventData::StreamEnd => return Some(spans),
            EventData::StreamStart { .. } | EventData::DocumentStart { .. } => {}
        }
    }
}
