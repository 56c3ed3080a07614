//! The one error of everything that does I/O. It becomes diagnostics only where a resource answers the client.

use tofu::diagnostics::{Diagnostic, Diagnostics, Severity};
use tofu::path::Path;

/// What went wrong, as far as callers decide by it. AWS errors are classified by code, Kubernetes' by status and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The object does not exist (and the answer is authoritative).
    NotFound,
    /// An object of that name exists already.
    AlreadyExists,
    /// Another field manager owns what we would change, or a precondition failed.
    Conflict,
    /// It is still used and stays for now; nothing went wrong.
    InUse,
    /// Authenticated, but not allowed.
    Forbidden,
    /// The credentials or the token were refused.
    Unauthorized,
    /// No credentials in the AWS chain at all.
    NoCredentials,
    /// The provider's or the resource's configuration is not known yet.
    ConfigUnknown,
    /// The request is invalid and will stay so: never retried.
    Invalid,
    /// A quota is used up: never retried.
    Quota,
    /// A deadline passed.
    Timeout,
    /// Throttled, 5xx or no connection: worth a retry inside the operation's deadline.
    Unavailable,
    /// Anything else.
    Other,
}

/// An error with the action and the object that it concerns, e.g. `create role "demo-karpenter-controller": ...`.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {message}")]
pub struct Error {
    /// What callers decide by.
    pub kind: Kind,
    /// Action and object, lower case: `iam:CreateRole demo-karpenter-controller`, `apply NodePool "trino-xsmall"`.
    pub action: String,
    /// What the server said, or what is wrong.
    pub message: String,
    /// What to do about it, a sentence; empty where there is nothing better to say than the message.
    pub remedy: String,
    /// Fields that the server named, each with its message: `spec.weight`, `must be at most 100`.
    pub causes: Vec<Cause>,
    /// The attribute that it is about, where one is.
    pub path: Option<Path>,
    /// Where it came from.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// One field that an API server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Path in the API object, e.g. `spec.template.spec.requirements[0].key`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Error {
    /// An error with neither remedy, causes nor path; set those on the value.
    pub fn new(kind: Kind, action: impl Into<String>, message: impl Into<String>) -> Self {
        Error { kind, action: action.into(), message: message.into(), remedy: String::new(), causes: vec![], path: None, source: None }
    }

    /// With a sentence on what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// With the attribute that it is about.
    #[must_use]
    pub fn at(mut self, path: Path) -> Self {
        self.path = Some(path);
        self
    }

    /// The same error once more, for another who waited for the same call; its source stays with the first.
    #[must_use]
    pub fn again(&self) -> Error {
        let Error { kind, action, message, remedy, causes, path, source: _ } = self;
        Error {
            kind: *kind,
            action: action.clone(),
            message: message.clone(),
            remedy: remedy.clone(),
            causes: causes.clone(),
            path: path.clone(),
            source: None,
        }
    }

    /// With its cause kept.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl From<Error> for Diagnostics {
    /// Summary: the action; detail: message, causes, remedy.
    fn from(error: Error) -> Self {
        let mut detail = error.message;
        for cause in &error.causes {
            detail.push_str(&format!("\n  {}: {}", cause.field, cause.message));
        }
        if !error.remedy.is_empty() {
            detail.push_str(&format!("\n\n{}", error.remedy));
        }
        Diagnostics(vec![Diagnostic {
            severity: Severity::Error,
            summary: format!("could not {}", error.action),
            detail,
            path: error.path,
        }])
    }
}
