//! The XML of AWS' answers: elements and text, without namespaces, attributes, or anything else that AWS never sends.

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its own text.
    pub text: String,
    /// Its elements.
    pub children: Vec<Element>,
}

impl Element {
    /// All elements below a path of names.
    pub fn below(&self, path: &[&str]) -> Vec<&Element> {
        match path {
            [] => vec![self],
            [name, rest @ ..] => self.children.iter().filter(|child| child.name == *name).flat_map(|child| child.below(rest)).collect(),
        }
    }

    /// The text of the first element below a path; empty where there is none.
    pub fn text(&self, path: &[&str]) -> &str {
        self.below(path).first().map_or("", |element| element.text.as_str())
    }
}

/// The root element; `None` for what is no such XML.
pub fn parse(text: &str) -> Option<Element> {
    let mut open: Vec<Element> = vec![Element::default()];
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        let (tag, after) = tag[1..].split_once('>')?;
        open.last_mut()?.text.push_str(&unescaped(before));
        rest = after;
        if tag.starts_with(['?', '!']) {
            continue;
        }
        match tag.strip_prefix('/') {
            Some(name) => {
                let closed = open.pop().filter(|element| element.name == name.trim())?;
                open.last_mut()?.children.push(closed);
            }
            None => {
                let empty = tag.ends_with('/');
                let name = tag.trim_end_matches('/').split_whitespace().next()?;
                let element = Element { name: name.to_owned(), ..Element::default() };
                if empty { open.last_mut()?.children.push(element) } else { open.push(element) }
            }
        }
    }
    match open.as_mut_slice() {
        [document] => document.children.pop(),
        _ => None,
    }
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_by_their_path() {
        let root =
            parse("<?xml version=\"1.0\"?>\n<R xmlns=\"x\"><set><item><k>a &amp; b</k><none/></item><item><k>c</k></item></set></R>")
                .unwrap();
        assert_eq!(root.below(&["set", "item"]).iter().map(|item| item.text(&["k"])).collect::<Vec<_>>(), ["a & b", "c"]);
        assert_eq!(root.text(&["set", "nothing"]), "");
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        for text in ["", "no xml", "<a><b></a>", "<a><b>", "<a"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
