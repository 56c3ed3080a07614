//! `{{ cluster_name }}` and `{{ ext_account_id }}`: known only when applied, so state keeps the text.

use crate::provider::Cluster;
use crate::tofu::schema::Text;
use crate::tofu::value::Value;

/// The words that may stand between the braces.
pub const WORDS: [&str; 2] = ["cluster_name", "ext_account_id"];

/// What the words stand for in one cluster.
#[derive(Clone, Debug)]
pub struct Placeholders {
    /// `{{ cluster_name }}`
    pub cluster_name: String,
    /// `{{ ext_account_id }}`
    pub ext_account_id: String,
}

impl Placeholders {
    /// What they stand for in a cluster.
    pub fn of(cluster: &Cluster) -> Self {
        Placeholders { cluster_name: cluster.name.clone(), ext_account_id: cluster.account_id.clone() }
    }

    /// The text with the known words replaced; an unknown word stays as it is.
    pub fn resolve(&self, text: &str) -> String {
        let mut resolved = String::new();
        let mut rest = text;
        while let Some((before, word, after)) = next(rest) {
            resolved.push_str(before);
            match word.trim() {
                "cluster_name" => resolved.push_str(&self.cluster_name),
                "ext_account_id" => resolved.push_str(&self.ext_account_id),
                _ => resolved.push_str(&rest[before.len()..rest.len() - after.len()]),
            }
            rest = after;
        }
        resolved.push_str(rest);
        resolved
    }
}

/// Whether the text has a known placeholder.
///
/// # Errors
/// In [`Text::Placeholders`], the known words where it has another.
pub fn check(kind: Text, text: &str) -> Result<bool, String> {
    let mut found = false;
    let mut rest = text;
    while let Some((_, word, after)) = next(rest) {
        match (WORDS.contains(&word.trim()), kind) {
            (true, _) => found = true,
            (false, Text::Lenient | Text::Plain) => {}
            (false, Text::Placeholders) => {
                return Err(format!("text whose placeholders are {{{{ cluster_name }}}} or {{{{ ext_account_id }}}}, not {{{{{word}}}}}"));
            }
        }
        rest = after;
    }
    Ok(found)
}

/// Whether the text is final: it has no placeholder whose value is known only when applied.
pub fn is_literal(text: &str) -> bool {
    check(Text::Lenient, text) != Ok(true)
}

/// The text that can be judged now: it is known, and final.
pub fn literal(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| is_literal(text))
}

/// What stands before the next placeholder, its word, and what follows.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find("{{")?;
    let length = text[start + 2..].find("}}")?;
    Some((&text[..start], &text[start + 2..start + 2 + length], &text[start + 2 + length + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_are_replaced_and_others_kept() {
        let p = Placeholders { cluster_name: "demo".into(), ext_account_id: "123456789012".into() };
        assert_eq!(p.resolve("{{ cluster_name }}-node"), "demo-node");
        assert_eq!(p.resolve("{{ext_account_id}}-private*/{{ cluster_name }}"), "123456789012-private*/demo");
        assert_eq!(p.resolve("{{ other }} {{"), "{{ other }} {{");
    }

    #[test]
    fn unknown_words_are_refused_except_where_lenient() {
        assert_eq!(check(Text::Placeholders, "plain"), Ok(false));
        assert_eq!(check(Text::Placeholders, "{{ cluster_name }}"), Ok(true));
        assert!(check(Text::Placeholders, "{{ account }}").is_err_and(|e| e.contains("ext_account_id")));
        assert_eq!(check(Text::Lenient, "{{ ds }}"), Ok(false));
    }
}
