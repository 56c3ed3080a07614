//! What the client shows its user: errors and warnings, each at its attribute.

use super::path::Path;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The operation failed.
    Error,
    /// The operation goes on.
    Warning,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// One line: action and object, or what is wrong.
    pub summary: String,
    /// The value, the reason, and what would be right.
    pub detail: String,
    /// The attribute, where there is one.
    pub path: Option<Path>,
}

/// Messages in the order in which they arose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds an error; `path` may be a [`Path`] or `None`.
    pub fn error(&mut self, path: impl Into<Option<Path>>, summary: impl Into<String>, detail: impl Into<String>) {
        self.add(Severity::Error, path.into(), summary.into(), detail.into());
    }

    /// Adds a warning; `path` may be a [`Path`] or `None`.
    pub fn warning(&mut self, path: impl Into<Option<Path>>, summary: impl Into<String>, detail: impl Into<String>) {
        self.add(Severity::Warning, path.into(), summary.into(), detail.into());
    }

    /// Whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// Takes over all messages of another list.
    pub fn extend(&mut self, other: Diagnostics) {
        self.0.extend(other.0);
    }

    fn add(&mut self, severity: Severity, path: Option<Path>, summary: String, detail: String) {
        self.0.push(Diagnostic { severity, summary, detail, path });
    }
}
