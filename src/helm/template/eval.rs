//! Runs parsed templates.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, Number, Parser, PipeNode, Pos, SmolStr};

use super::value::Val;
use super::{check, format, functions};

/// Templates that include one another deeper, or loop more often, are taken for endless.
const MAX_DEPTH: usize = 100;
const MAX_TURNS: usize = 1_000_000;

type Outcome<T> = Result<T, String>;

/// Every template of a chart, by name.
#[derive(Clone, Default)]
pub struct Engine {
    templates: HashMap<String, Rc<Template>>,
    depth: Rc<Cell<usize>>,
    turns: Rc<Cell<usize>>,
}

/// A template, and the text that it stands in, for positions.
struct Template {
    name: String,
    body: ListNode,
    source: Rc<Source>,
}

struct Source {
    file: String,
    text: String,
}

impl Source {
    fn error(&self, offset: usize, message: &str) -> String {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}: {message}", self.file)
    }
}

/// What a list of nodes ends with.
enum Flow {
    On,
    Break,
    Continue,
}

impl Engine {
    /// Parses a file: it is a template of its own name, and whatever it defines.
    pub fn add_file(&mut self, file: &str, text: &str) -> Outcome<()> {
        let source = Rc::new(Source { file: file.to_owned(), text: text.to_owned() });
        check::balance(text).map_err(|(offset, message)| source.error(offset, &message))?;
        let parser = Parser::with_name(Some(file), text, "{{", "}}").map_err(|e| e.to_string())?;
        let (body, defines) = parser.parse().map_err(|e| e.to_string())?;
        let own = (file.to_owned(), body);
        for (name, body) in defines.into_iter().map(|d| (d.name.to_string(), d.body)).chain([own]) {
            check::names(&body).map_err(|(pos, message)| source.error(pos.offset, &message))?;
            self.templates.insert(name.clone(), Rc::new(Template { name, body, source: source.clone() }));
        }
        Ok(())
    }

    /// Renders a file.
    pub fn file(&self, name: &str, dot: &Val) -> Outcome<String> {
        let template = self.templates.get(name).cloned().ok_or_else(|| format!("no template {name:?}"))?;
        self.run(&template, dot)
    }

    fn run(&self, template: &Template, dot: &Val) -> Outcome<String> {
        if self.depth.get() >= MAX_DEPTH {
            return Err(format!("templates include one another more than {MAX_DEPTH} levels deep"));
        }
        self.depth.set(self.depth.get() + 1);
        let mut run = Run { engine: self, template, variables: vec![("$".to_owned(), dot.clone())], out: String::new() };
        let done = run.list(&template.body, dot);
        let out = run.out;
        self.depth.set(self.depth.get() - 1);
        done.map(|_| out)
    }
}

/// One template being run.
struct Run<'e> {
    engine: &'e Engine,
    template: &'e Template,
    variables: Vec<(String, Val)>,
    out: String,
}

impl Run<'_> {
    /// An error at a node: file, line, column and the template's name.
    fn fail(&self, pos: Pos, message: &str) -> String {
        self.template.source.error(pos.offset, &format!("executing {:?}: {message}", self.template.name))
    }

    fn list(&mut self, list: &ListNode, dot: &Val) -> Outcome<Flow> {
        for node in &list.nodes {
            match self.node(node, dot)? {
                Flow::On => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Val) -> Outcome<Flow> {
        match node {
            Node::List(list) => return self.list(list, dot),
            Node::Text(text) => self.out.push_str(&text.text),
            Node::Action(action) => {
                let value = self.pipe(&action.pipe, dot)?;
                if action.pipe.decl.is_empty() {
                    self.out.push_str(&format::print(&value));
                }
            }
            Node::If(branch) => return self.branch(branch, dot, false),
            Node::With(branch) => return self.branch(branch, dot, true),
            Node::Range(branch) => return self.range(branch, dot),
            Node::Template(call) => {
                let argument = call.pipe.as_ref().map_or(Ok(Val::Nil), |pipe| self.pipe(pipe, dot))?;
                let text = self.include(call.pos, &call.name, &argument)?;
                self.out.push_str(&text);
            }
            Node::Define(_) => {}
            Node::Break(_) => return Ok(Flow::Break),
            Node::Continue(_) => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn branch(&mut self, branch: &BranchNode, dot: &Val, with: bool) -> Outcome<Flow> {
        let mark = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let flow = match (value.truth(), &branch.else_body) {
            (true, _) => self.list(&branch.body, if with { &value } else { dot }),
            (false, Some(otherwise)) => self.list(otherwise, dot),
            (false, None) => Ok(Flow::On),
        };
        self.variables.truncate(mark);
        flow
    }

    fn range(&mut self, branch: &BranchNode, dot: &Val) -> Outcome<Flow> {
        let mark = self.variables.len();
        let value = self.commands(&branch.pipe, dot)?;
        let turns: Vec<(Val, Val)> = match &value {
            Val::Nil => vec![],
            Val::List(list) => list.iter().enumerate().map(|(i, v)| (Val::Int(i as i64), v.clone())).collect(),
            Val::Map(map) => map.borrow().iter().map(|(k, v)| (Val::str(k), v.clone())).collect(),
            Val::Int(count) if *count <= MAX_TURNS as i64 => (0..*count).map(|i| (Val::Int(i), Val::Int(i))).collect(),
            other => return Err(self.fail(branch.pos, &format!("range can't iterate over {}", format::display(other)))),
        };
        self.engine.turns.set(self.engine.turns.get() + turns.len());
        if self.engine.turns.get() > MAX_TURNS {
            return Err(self.fail(branch.pos, "the templates loop too often"));
        }
        let empty = turns.is_empty();
        for (index, item) in turns {
            match (branch.pipe.decl.as_slice(), branch.pipe.is_assign) {
                ([], _) => {}
                ([one], assign) => self.bind(one, item.clone(), assign),
                ([first, second, ..], assign) => {
                    self.bind(first, index, assign);
                    self.bind(second, item.clone(), assign);
                }
            }
            let flow = self.list(&branch.body, &item)?;
            self.variables.truncate(mark);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        match &branch.else_body {
            Some(otherwise) if empty => self.list(otherwise, dot),
            _ => Ok(Flow::On),
        }
    }

    /// Declares a variable, or sets the innermost one of that name.
    fn bind(&mut self, name: &str, value: Val, assign: bool) {
        match self.variables.iter_mut().rev().find(|(n, _)| assign && n == name) {
            Some((_, slot)) => *slot = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipe(&mut self, pipe: &PipeNode, dot: &Val) -> Outcome<Val> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.decl {
            self.bind(name, value.clone(), pipe.is_assign);
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &PipeNode, dot: &Val) -> Outcome<Val> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Val::Nil))
    }

    /// One command; `piped` is what the one before yields, its last argument.
    fn command(&mut self, command: &CommandNode, dot: &Val, piped: Option<Val>) -> Outcome<Val> {
        let [first, rest @ ..] = command.args.as_slice() else { return Ok(Val::Nil) };
        if let Expr::Identifier(pos, name) = first {
            return self.function(*pos, name, rest, dot, piped);
        }
        let (receiver, fields) = match first {
            Expr::Field(_, fields) => (dot.clone(), fields.as_slice()),
            Expr::Variable(pos, name, fields) => (self.variable(*pos, name)?, fields.as_slice()),
            Expr::Chain(_, inner, fields) => (self.expr(inner, dot)?, fields.as_slice()),
            other => (self.expr(other, dot)?, &[] as &[_]),
        };
        if let Some((method, path)) = fields.split_last() {
            let receiver = self.walk(first.pos(), receiver, fields, 0..path.len())?;
            if let (Val::Struct(s), "Has") = (&receiver, method.as_str())
                && let Some(versions) = &s.api_versions
            {
                let args = self.args(rest, dot, piped)?;
                return match args.as_slice() {
                    [Val::Str(version)] => Ok(Val::Bool(versions.has(version))),
                    _ => Err(self.fail(first.pos(), "wrong arguments for Has: want one string")),
                };
            }
            if rest.is_empty() && piped.is_none() {
                return self.walk(first.pos(), receiver, fields, path.len()..fields.len());
            }
            return Err(self.fail(first.pos(), &format!("{method} has arguments but cannot be invoked as function")));
        }
        if !rest.is_empty() || piped.is_some() {
            return Err(self.fail(first.pos(), "can't give argument to non-function"));
        }
        match first {
            Expr::Nil(pos) => Err(self.fail(*pos, "nil is not a command")),
            _ => Ok(receiver),
        }
    }

    /// Takes the steps `part` of a path.
    fn walk(&self, pos: Pos, mut value: Val, fields: &[SmolStr], part: std::ops::Range<usize>) -> Outcome<Val> {
        for index in part {
            value = value.field(&fields[index]).map_err(|e| {
                let path: Vec<&str> = fields[..=index].iter().map(|f| f.as_str()).collect();
                self.fail(pos, &format!("at <.{}>: {e}", path.join(".")))
            })?;
        }
        Ok(value)
    }

    fn variable(&self, pos: Pos, name: &str) -> Outcome<Val> {
        let found = self.variables.iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| value.clone()).ok_or_else(|| self.fail(pos, &format!("undefined variable {name:?}")))
    }

    fn expr(&mut self, expr: &Expr, dot: &Val) -> Outcome<Val> {
        match expr {
            Expr::Dot(_) => Ok(dot.clone()),
            Expr::String(_, text) => Ok(Val::str(text)),
            Expr::Bool(_, b) => Ok(Val::Bool(*b)),
            Expr::Nil(_) => Ok(Val::Nil),
            Expr::Number(_, Number::Int(i)) => Ok(Val::Int(*i)),
            Expr::Number(_, Number::Float(f)) => Ok(Val::Float(*f)),
            Expr::Number(pos, Number::Uint(_)) => Err(self.fail(*pos, "integer overflow")),
            Expr::Pipe(_, pipe) => self.pipe(pipe, dot),
            Expr::Identifier(pos, name) => self.function(*pos, name, &[], dot, None),
            Expr::Field(..) | Expr::Variable(..) | Expr::Chain(..) => {
                self.command(&CommandNode { pos: expr.pos(), args: vec![expr.clone()] }, dot, None)
            }
        }
    }

    fn args(&mut self, args: &[Expr], dot: &Val, piped: Option<Val>) -> Outcome<Vec<Val>> {
        let mut values = args.iter().map(|arg| self.expr(arg, dot)).collect::<Outcome<Vec<_>>>()?;
        values.extend(piped);
        Ok(values)
    }

    fn function(&mut self, pos: Pos, name: &str, args: &[Expr], dot: &Val, piped: Option<Val>) -> Outcome<Val> {
        if matches!(name, "and" | "or") {
            return self.short_circuit(pos, name, args, dot, piped);
        }
        let values = self.args(args, dot, piped)?;
        let called = |e: String| self.fail(pos, &format!("error calling {name}: {e}"));
        match (name, values.as_slice()) {
            ("include", [Val::Str(template), data]) => self.include(pos, template, data).map(Val::str),
            ("tpl", [Val::Str(text), data]) => self.tpl(text, data).map(Val::str).map_err(called),
            ("include" | "tpl", [other, _]) => Err(called(format!("wrong type for value; expected string; got {}", other.type_name()))),
            ("include" | "tpl", args) => Err(called(format!("wrong number of args: want 2 got {}", args.len()))),
            (_, args) => functions::call(name, args).map_err(called),
        }
    }

    /// `and` and `or` yield the deciding argument and leave the later ones alone.
    fn short_circuit(&mut self, pos: Pos, name: &str, args: &[Expr], dot: &Val, piped: Option<Val>) -> Outcome<Val> {
        let mut last = None;
        for arg in args {
            let value = self.expr(arg, dot)?;
            if value.truth() == (name == "or") {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| self.fail(pos, &format!("wrong number of args for {name}: want at least 1 got 0")))
    }

    fn include(&self, pos: Pos, name: &str, data: &Val) -> Outcome<String> {
        let template = self.engine.templates.get(name).cloned();
        let template = template.ok_or_else(|| self.fail(pos, &format!("template {name:?} not defined")))?;
        self.engine.run(&template, data)
    }

    /// A string that a user wrote into the values, as a template; it sees the chart's named templates.
    fn tpl(&self, text: &str, data: &Val) -> Outcome<String> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let mut engine = self.engine.clone();
        let name = "the value given to tpl";
        engine.add_file(name, text)?;
        Ok(engine.file(name, data)?.replace("<no value>", ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(text: &str) -> Outcome<String> {
        let mut engine = Engine::default();
        engine.add_file("defs", "{{ define \"d\" }}[{{ . }}]{{ end }}{{ define \"loop\" }}{{ include \"loop\" . }}{{ end }}")?;
        engine.add_file("t", text)?;
        let dot =
            json!({"a": {"b": [1, 2.5, "x"], "n": null, "z": 0, "s": "s"}, "m": {"y": 2, "x": 1}, "t": "{{ .a.s }}{{ include \"d\" 5 }}"});
        engine.file("t", &Val::from_json(&dot))
    }

    #[test]
    fn templates_render_as_go_renders_them() {
        let cases = [
            ("{{ range $i, $v := .a.b }}{{ $i }}={{ $v }};{{ end }}", "0=1;1=2.5;2=x;"),
            ("{{ range $k, $v := .m }}{{ $k }}{{ $v }}{{ end }}", "x1y2"),
            ("{{ range .a.none }}x{{ else }}none{{ end }}", "none"),
            ("{{ $x := 1 }}{{ range .a.b }}{{ $x = . }}{{ end }}{{ $x }}", "x"),
            ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
            ("{{ with .a.n }}x{{ else with .a.s }}{{ . }}{{ else }}y{{ end }}", "s"),
            ("{{ if .a.z }}x{{ else if eq .a.s \"s\" }}y{{ end }}", "y"),
            ("a {{- /* c */ -}} b", "ab"),
            ("{{ (dict \"k\" (dict \"l\" 5)).k.l }}", "5"),
            ("{{ or .a.n .a.z \"d\" }}{{ and 1 0 .a.n.x }}", "d0"),
            ("{{ \"x\" | printf \"%s-%s\" \"y\" }}", "y-x"),
            ("{{ $_ := set .m \"q\" .a.s }}{{ .m.q }}{{ range $v := .m }}{{ $v }}{{ end }}", "ss12"),
            ("{{ tpl .t . }}", "s[5]"),
            ("{{ .a.n }}|{{ .none }}", "<no value>|<no value>"),
            ("{{ range .a.b }}{{ if eq (kindOf .) \"string\" }}{{ break }}{{ end }}{{ . }},{{ end }}", "1,2.5,"),
            ("{{ range .a.b }}{{ $.a.s }}{{ continue }}x{{ end }}", "sss"),
            ("{{ `raw {{ \"x\" }}` }}", "raw {{ \"x\" }}"),
            ("{{ template \"d\" .a.s }}{{ block \"e\" .a.z }}<{{ . }}>{{ end }}", "[s]<0>"),
            ("{{ 1234567.0 }} {{ 100000000 }} {{ len .a.b }}", "1.234567e+06 100000000 3"),
            ("{{ not (eq .a.n nil) }}{{ ne 1 2 }}{{ index .a.b 0 }}{{ ternary 1 2 true }}", "falsetrue11"),
            ("{{ range $i := 3 }}{{ $i }}{{ end }}", "012"),
        ];
        for (text, want) in cases {
            assert_eq!(render(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn errors_name_what_and_where() {
        let cases = [
            ("\n {{ .a.n.x }}", "t:2:5: executing \"t\": at <.a.n.x>: nil pointer evaluating interface {}.x"),
            ("{{ .a.s.x }}", "can't evaluate field x in type interface {}"),
            ("{{ lookup \"v1\" }}", "t:1:4: function \"lookup\" is not supported"),
            ("{{ $x }}", "undefined variable \"$x\""),
            ("{{ if .a }}", "t:1:1: {{if}} has no {{end}}"),
            ("{{ end }}", "unexpected {{end}}"),
            ("{{ required \"want it\" .a.n }}", "error calling required: want it"),
            ("{{ trunc .a.z \"x\" }}", "error calling trunc: wrong type for value; expected int; got float64"),
            ("{{ eq .a.z 0 }}", "incompatible types for comparison"),
            ("{{ include \"nope\" . }}", "template \"nope\" not defined"),
            ("{{ include \"loop\" . }}", "levels deep"),
            ("{{ .a.s \"x\" }}", "s has arguments but cannot be invoked as function"),
            ("{{ tpl 5 . }}", "expected string; got int"),
            ("{{ tpl \"{{ nope }}\" . }}", "function \"nope\" is not supported"),
            ("{{ range 5000000 }}{{ end }}", "can't iterate over"),
            ("{{ hasKey .a.n \"x\" }}", "invalid value; expected map[string]interface {}"),
        ];
        for (text, want) in cases {
            let error = render(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
