//! What the parser lets pass: unbalanced blocks, unknown functions, undeclared variables.

use gotmpl::parse::{Expr, ListNode, Node, PipeNode, Pos};

use super::functions;

/// Words that open a block.
const OPENERS: &[&str] = &["if", "with", "range", "define", "block"];

/// Checks that every block is closed, and that `else` and `end` belong to one. The error is a byte offset and a sentence.
pub fn balance(source: &str) -> Result<(), (usize, String)> {
    let mut open: Vec<(&str, usize, bool)> = vec![];
    let mut at = 0;
    while let Some(start) = source[at..].find("{{").map(|i| i + at) {
        let (words, end) = action(source, start)?;
        // a word ends before a dot: Karpenter 1.0 has `{{ if.Values`
        let word = words.trim_start();
        let first = &word[..word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len())];
        match first {
            "end" => drop(open.pop().ok_or((start, "unexpected {{end}}".to_owned()))?),
            "else" => match open.last_mut() {
                Some((opener @ ("if" | "with" | "range"), _, seen)) if !*seen => {
                    let chained = words.split_whitespace().nth(1);
                    if chained.is_some_and(|word| word != *opener || *opener == "range") {
                        return Err((start, "unexpected word after else".to_owned()));
                    }
                    *seen = chained.is_none();
                }
                _ => return Err((start, "unexpected {{else}}".to_owned())),
            },
            word if OPENERS.contains(&word) => {
                if word == "define" && !open.is_empty() {
                    return Err((start, "unexpected {{define}} inside a block".to_owned()));
                }
                open.push((OPENERS.iter().find(|o| **o == word).copied().unwrap_or_default(), start, false));
            }
            _ => {}
        }
        at = end;
    }
    match open.pop() {
        Some((word, start, _)) => Err((start, format!("{{{{{word}}}}} has no {{{{end}}}}"))),
        None => Ok(()),
    }
}

/// The words of an action, its strings blanked, and where it ends.
fn action(source: &str, start: usize) -> Result<(String, usize), (usize, String)> {
    let inner = &source[start + 2..];
    let skipped =
        if inner.starts_with("- ") || inner.starts_with("-\n") || inner.starts_with("-\t") || inner.starts_with("-\r") { 1 } else { 0 };
    if inner[skipped..].trim_start().starts_with("/*") {
        let close = inner.find("*/").ok_or((start, "unclosed comment".to_owned()))?;
        let end = inner[close..].find("}}").ok_or((start, "unclosed comment".to_owned()))?;
        return Ok((String::new(), start + 2 + close + end + 2));
    }
    let mut words = String::new();
    let mut quote = None;
    let mut escaped = false;
    for (index, c) in inner.char_indices().skip(skipped) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(q) => match c {
                '\\' if q != '`' => escaped = true,
                c if c == q => quote = None,
                _ => {}
            },
            None if matches!(c, '"' | '`' | '\'') => {
                quote = Some(c);
                words.push(' ');
            }
            None if inner[index..].starts_with("}}") => {
                let words = words.strip_suffix('-').map(str::to_owned).unwrap_or(words);
                return Ok((words, start + 2 + index + 2));
            }
            None => words.push(c),
        }
    }
    Err((start, "unclosed action".to_owned()))
}

/// Checks a body's functions and variables. The error is a position and a sentence.
pub fn names(body: &ListNode) -> Result<(), (Pos, String)> {
    list(body, &mut vec!["$".to_owned()])
}

type Scope = Vec<String>;

fn list(body: &ListNode, scope: &mut Scope) -> Result<(), (Pos, String)> {
    for node in &body.nodes {
        match node {
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
            Node::List(inner) => list(inner, scope)?,
            Node::Action(action) => pipe(&action.pipe, scope)?,
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                let outer = scope.len();
                pipe(&branch.pipe, scope)?;
                let declared = scope.len();
                list(&branch.body, scope)?;
                scope.truncate(declared);
                if let Some(otherwise) = &branch.else_body {
                    list(otherwise, scope)?;
                }
                scope.truncate(outer);
            }
            Node::Template(template) => {
                if let Some(argument) = &template.pipe {
                    pipe(argument, scope)?;
                }
            }
            Node::Define(define) => list(&define.body, &mut vec!["$".to_owned()])?,
        }
    }
    Ok(())
}

fn pipe(pipe_: &PipeNode, scope: &mut Scope) -> Result<(), (Pos, String)> {
    for command in &pipe_.commands {
        command.args.iter().try_for_each(|arg| expr(arg, scope))?;
    }
    for name in &pipe_.decl {
        if pipe_.is_assign && !scope.iter().any(|n| n.as_str() == name.as_str()) {
            return Err((pipe_.pos, format!("undefined variable {name:?}")));
        }
        if !pipe_.is_assign {
            scope.push(name.to_string());
        }
    }
    Ok(())
}

fn expr(expression: &Expr, scope: &mut Scope) -> Result<(), (Pos, String)> {
    match expression {
        Expr::Variable(pos, name, _) if !scope.iter().any(|n| n.as_str() == name.as_str()) => {
            Err((*pos, format!("undefined variable {:?}", name.as_str())))
        }
        Expr::Identifier(pos, name) if !functions::known(name) => {
            Err((*pos, format!("function {:?} is not supported: Karpenter's charts do not use it", name.as_str())))
        }
        Expr::Pipe(_, inner) => pipe(inner, scope),
        Expr::Chain(_, inner, _) => expr(inner, scope),
        Expr::Dot(_)
        | Expr::Field(..)
        | Expr::Variable(..)
        | Expr::Identifier(..)
        | Expr::String(..)
        | Expr::Number(..)
        | Expr::Bool(..)
        | Expr::Nil(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_must_balance() {
        for good in [
            "",
            "{{ if .a }}{{ else if .b }}{{ else }}{{ end }}",
            "{{- /* {{ if }} */ -}}",
            "{{ \"{{ end }}\" }}",
            "{{`}}{{ end`}}",
            "{{ with .a }}{{ else with .b }}{{ end }}",
            "{{ define \"x\" }}{{ range .a }}{{ end }}{{ end }}",
            "{{ '\\'' }}",
            "}} {{- end_ -}}",
            "{{ if.a }}{{ end }}",
        ] {
            assert_eq!(balance(good), Ok(()), "{good}");
        }
        for bad in [
            "{{ end }}",
            "{{ if .a }}",
            "{{ else }}",
            "{{ if .a }}{{ else }}{{ else }}{{ end }}",
            "{{ if .a }}{{ end }}{{ end }}",
            "{{ .a",
            "{{ if .a }}{{ define \"x\" }}{{ end }}{{ end }}",
            "{{/* x",
            "{{ if .a }}{{ else }}{{ else if .b }}{{ end }}",
        ] {
            assert!(balance(bad).is_err(), "{bad}");
        }
    }
}
