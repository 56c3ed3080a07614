//! What a command of `tofu` left: its exit code, diagnostics, and plan.

use serde::Deserialize;
use serde_json::Value;

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its arguments.
    pub command: String,
    /// The exit code; -1 for a signal.
    pub code: i32,
    /// What `-json` reported, without the warning about development overrides.
    pub diagnostics: Vec<Diagnostic>,
    /// As printed.
    pub stdout: String,
    /// As printed.
    pub stderr: String,
}

impl Outcome {
    /// With the diagnostics that `-json` printed.
    pub fn new(command: String, code: i32, stdout: String, stderr: String) -> Outcome {
        Outcome { command, code, diagnostics: diagnostics(&stdout), stdout, stderr }
    }

    /// Fails the test unless the command succeeded.
    #[track_caller]
    pub fn ok(self) -> Outcome {
        assert!(self.code == 0, "{} ended with {}:\n{}{}\n{}", self.command, self.code, self.told(), self.stderr, self.rest());
        self
    }

    /// Fails the test unless the command failed with a diagnostic.
    #[track_caller]
    pub fn err(self) -> Outcome {
        assert!(self.code == 1, "{} ended with {}, not with an error:\n{}", self.command, self.code, self.told());
        self
    }

    /// The errors.
    pub fn errors(&self) -> Vec<&Diagnostic> {
        self.diagnostics.iter().filter(|d| d.severity == "error").collect()
    }

    /// The warnings.
    pub fn warnings(&self) -> Vec<&Diagnostic> {
        self.diagnostics.iter().filter(|d| d.severity == "warning").collect()
    }

    fn told(&self) -> String {
        self.diagnostics.iter().map(|d| format!("{} at {} {}: {}\n", d.severity, d.place(), d.address, d.text())).collect()
    }

    fn rest(&self) -> &str {
        if self.diagnostics.is_empty() { &self.stdout } else { "" }
    }
}

/// One diagnostic of `-json` output.
#[derive(Clone, Debug, Deserialize)]
pub struct Diagnostic {
    /// `error` or `warning`.
    pub severity: String,
    /// Its first line.
    pub summary: String,
    /// The rest.
    #[serde(default)]
    pub detail: String,
    /// The resource's address.
    #[serde(default)]
    pub address: String,
    /// Where in the configuration.
    #[serde(default)]
    pub range: Value,
    /// The configuration's text there.
    #[serde(default)]
    pub snippet: Value,
}

impl Diagnostic {
    /// Summary and detail.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.summary, self.detail)
    }

    /// `main.tf:12`, or nothing.
    pub fn place(&self) -> String {
        match (self.range["filename"].as_str(), self.range["start"]["line"].as_u64()) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            _ => String::new(),
        }
    }

    /// The line of the configuration that it points at, trimmed.
    pub fn code(&self) -> &str {
        self.snippet["code"].as_str().unwrap_or_default().trim()
    }
}

/// A plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the command ended: 0 is an empty plan, 2 a plan with changes.
    pub outcome: Outcome,
    /// `show -json` of it; null where it failed or `-json` told of no change, move or import.
    pub json: Value,
}

impl Plan {
    /// Fails the test unless there is a plan.
    #[track_caller]
    pub fn ok(mut self) -> Plan {
        if self.outcome.code == 2 {
            self.outcome.code = 0;
            self.outcome = self.outcome.ok();
            self.outcome.code = 2;
        } else {
            self.outcome = self.outcome.ok();
        }
        self
    }

    /// Fails the test unless the plan changes nothing, by its exit code and by its content.
    #[track_caller]
    pub fn empty(self) -> Plan {
        let plan = self.ok();
        assert!(
            plan.outcome.code == 0 && plan.changes().is_empty(),
            "not empty: {:?}\n{:#}",
            plan.changes(),
            plan.json["resource_changes"]
        );
        plan
    }

    /// `ADDRESS: ACTIONS` of everything that is not a no-op, sorted, e.g. `karpenter_nodepool.a: delete, create`.
    pub fn changes(&self) -> Vec<String> {
        let changes = self.json["resource_changes"].as_array().cloned().unwrap_or_default();
        let words =
            |c: &Value| c["change"]["actions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        let address = |c: &Value| c["address"].as_str().unwrap_or_default().to_owned();
        let mut lines: Vec<String> =
            changes.iter().map(|c| (address(c), words(c))).filter(|c| c.1 != "no-op").map(|(a, w)| format!("{a}: {w}")).collect();
        lines.sort();
        lines
    }

    /// The `change` of one resource: actions, before, after, after_unknown, replace_paths.
    pub fn change(&self, address: &str) -> Value {
        let changes = self.json["resource_changes"].as_array().cloned().unwrap_or_default();
        changes.into_iter().find(|c| c["address"] == address).map_or(Value::Null, |c| c["change"].clone())
    }
}

/// The diagnostics in `-json` output: one object of `validate`, or one message a line.
fn diagnostics(stdout: &str) -> Vec<Diagnostic> {
    let parse = |value: &Value| serde_json::from_value::<Diagnostic>(without_nulls(value)).expect("a diagnostic");
    let whole: Value = serde_json::from_str(stdout).unwrap_or_default();
    let found: Vec<Diagnostic> = match whole["diagnostics"].as_array() {
        Some(all) => all.iter().map(parse).collect(),
        None => {
            let messages = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            messages.filter(|m| m["type"] == "diagnostic").map(|m| parse(&m["diagnostic"])).collect()
        }
    };
    found.into_iter().filter(|d| !d.summary.contains("development overrides")).collect()
}

fn without_nulls(value: &Value) -> Value {
    let fields = value.as_object().cloned().unwrap_or_default();
    Value::Object(fields.into_iter().filter(|(_, v)| !v.is_null()).collect())
}
