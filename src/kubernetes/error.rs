//! Kubernetes errors, classified by status and reason.

use std::error::Error as StdError;

use kube::core::Status;
use regex_lite::Regex;

use crate::error::Cause;
use crate::{Error, Kind};

/// Our error of a call. The action is a verb and the object: `apply NodePool "trino-xsmall"`.
pub fn from_kube(action: impl Into<String>, error: kube::Error) -> Error {
    let action = action.into();
    match error {
        kube::Error::Api(status) => from_status(action, &status).caused_by(kube::Error::Api(status)),
        // Errors of our own layer, e.g. of the credential chain, come through as they are.
        kube::Error::Service(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(inner) => unanswered(action, kube::Error::Service(inner)),
        },
        // Its text holds what the program printed, which may be a token.
        kube::Error::Auth(error) => Error::new(Kind::Unauthorized, action, credential_plugin(&error))
            .remedy("Run the credential plugin of the provider's `kubernetes` block or of the kubeconfig by hand."),
        error @ kube::Error::RustlsTls(_) => {
            let message = chain(&error);
            Error::new(Kind::Invalid, action, message)
                .remedy("Check the certificates and the key of the provider's `kubernetes` block.")
                .caused_by(error)
        }
        error @ (kube::Error::HyperError(_) | kube::Error::ReadEvents(_)) => unanswered(action, error),
        error => Error::new(Kind::Other, action, chain(&error)).caused_by(error),
    }
}

/// Whether a [`Kind::NotFound`] means that the API server does not know the kind at all: its CRD is missing. Then there is no
/// object either, but one cannot be made.
pub fn is_kind_missing(error: &Error) -> bool {
    match error.source.as_deref().and_then(|e| e.downcast_ref()) {
        // The API server answers with a Status that names an object only where it knows the kind.
        Some(kube::Error::Api(status)) => status.code == 404 && status.details.as_ref().is_none_or(|d| d.name.is_empty()),
        _ => false,
    }
}

fn from_status(action: String, status: &Status) -> Error {
    let message = status.message.trim();
    let undeclared = undeclared(message);
    let kind = match (status.reason.as_str(), status.code) {
        _ if !undeclared.is_empty() => Kind::Invalid,
        ("AlreadyExists", _) => Kind::AlreadyExists,
        ("Conflict", _) => Kind::Conflict,
        ("Forbidden", _) if message.contains("exceeded quota") => Kind::Quota,
        ("Invalid" | "BadRequest" | "MethodNotAllowed" | "NotAcceptable" | "UnsupportedMediaType" | "RequestEntityTooLarge", _) => {
            Kind::Invalid
        }
        ("ServerTimeout" | "Timeout" | "TooManyRequests" | "ServiceUnavailable" | "InternalError", _) => Kind::Unavailable,
        (_, 400 | 405 | 406 | 413 | 415 | 422) => Kind::Invalid,
        (_, 401) => Kind::Unauthorized,
        (_, 403) => Kind::Forbidden,
        (_, 404) => Kind::NotFound,
        (_, 409) => Kind::Conflict,
        (_, 429) => Kind::Unavailable,
        (_, code) if code >= 500 => Kind::Unavailable,
        _ => Kind::Other,
    };
    let remedy = match kind {
        Kind::Unauthorized => {
            "The cluster does not accept this identity: give its IAM role or user an access entry, e.g. with the policy AmazonEKSClusterAdminPolicy, or check the credentials in the provider's `kubernetes` block."
        }
        Kind::Forbidden => "Give this identity the permission, by an access policy of its access entry or by RBAC.",
        Kind::Unavailable => "The API server was busy, or failed, for longer than this provider tries: apply again.",
        Kind::NotFound => "It was deleted meanwhile, or what it belongs to is not there yet: apply again.",
        Kind::Conflict => "Somebody else changed it at the same time: apply again.",
        _ => "",
    };
    let text = match (status.code, message) {
        (401, "" | "Unauthorized") => "the API server refuses the credentials (401 Unauthorized)".to_owned(),
        (code, "") => format!("the API server answered {code}"),
        // Not JSON but plain text: the path is unknown to the API server.
        (404, _) if status.details.as_ref().is_none_or(|d| d.name.is_empty()) => {
            "the API server does not know this kind of object".to_owned()
        }
        (_, message) => message.to_owned(),
    };
    let mut error = Error::new(kind, action, text).remedy(remedy);
    let stated = status.details.iter().flat_map(|d| &d.causes).map(|c| Cause { field: c.field.clone(), message: c.message.clone() });
    error.causes = stated.chain(undeclared).collect();
    error
}

/// The fields of a server-side apply that the schema does not have, or has with another type. They come as text in a 500:
/// `failed to create typed patch object (...): .spec.foo: field not declared in schema`, one or a list by line.
fn undeclared(message: &str) -> Vec<Cause> {
    if !message.contains("failed to create typed patch object") && !message.contains("field not declared in schema") {
        return vec![];
    }
    let Ok(line) = Regex::new(r"(?:^\s*|\): |: )\.(\S+?): (.+)$") else { return vec![] };
    let causes: Vec<Cause> = message
        .lines()
        .filter_map(|text| line.captures(text))
        .map(|found| Cause { field: found[1].to_owned(), message: found[2].to_owned() })
        .collect();
    match causes.is_empty() {
        true => vec![Cause { field: String::new(), message: message.to_owned() }],
        false => causes,
    }
}

fn unanswered(action: String, error: kube::Error) -> Error {
    let text = chain(&error);
    // A certificate that is refused once is refused always.
    let kind = if text.contains("certificate") { Kind::Invalid } else { Kind::Unavailable };
    let remedy = match kind {
        Kind::Invalid => {
            "Check `cluster_ca_certificate` and `tls_server_name` of the provider's `kubernetes` block, and that no proxy answers instead."
        }
        _ => "Check that the API server can be reached from here: its endpoint may be private, or limited to some addresses.",
    };
    Error::new(kind, action, format!("no answer from the API server: {text}")).remedy(remedy).caused_by(error)
}

fn credential_plugin(error: &kube::client::AuthError) -> String {
    match error {
        kube::client::AuthError::AuthExecRun { cmd: _, out } => {
            let text = String::from_utf8_lossy(&out.stderr);
            format!("the credential plugin failed with {}: {}", out.status, text.trim())
        }
        error => error.to_string(),
    }
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, reason: &str, message: &str) -> Error {
        from_kube(
            "apply x",
            kube::Error::Api(Box::new(Status { code, reason: reason.into(), message: message.into(), ..Status::default() })),
        )
    }

    #[test]
    fn status_and_reason_decide() {
        for (code, reason, expected) in [
            (409, "AlreadyExists", Kind::AlreadyExists),
            (409, "Conflict", Kind::Conflict),
            (422, "Invalid", Kind::Invalid),
            (400, "BadRequest", Kind::Invalid),
            (401, "Unauthorized", Kind::Unauthorized),
            (403, "Forbidden", Kind::Forbidden),
            (404, "NotFound", Kind::NotFound),
            (429, "TooManyRequests", Kind::Unavailable),
            (500, "InternalError", Kind::Unavailable),
            (503, "", Kind::Unavailable),
            (504, "Timeout", Kind::Unavailable),
        ] {
            assert_eq!(status(code, reason, "m").kind, expected, "{code} {reason}");
        }
    }

    #[test]
    fn an_undeclared_field_is_a_validation_error_at_its_field() {
        let message = "failed to create typed patch object (/demo; karpenter.sh/v1, Kind=NodePool): .spec.template.spec.foo: field not declared in schema";
        let error = status(500, "", message);
        assert_eq!(error.kind, Kind::Invalid);
        assert_eq!(error.causes, [Cause { field: "spec.template.spec.foo".into(), message: "field not declared in schema".into() }]);
        let several = "failed to create typed patch object (/demo; karpenter.sh/v1, Kind=NodePool): errors:\n  .spec.a: field not declared in schema\n  .spec.b[0].c: expected string, got &value.valueUnstructured{Value:1}";
        let fields: Vec<String> = status(500, "", several).causes.into_iter().map(|c| c.field).collect();
        assert_eq!(fields, ["spec.a", "spec.b[0].c"]);
    }

    #[test]
    fn a_missing_kind_is_told_from_a_missing_object() {
        assert!(is_kind_missing(&status(404, "Failed to parse error data", "404 page not found\n")));
        let details = kube::core::response::StatusDetails {
            name: "demo".into(),
            group: "karpenter.sh".into(),
            kind: "nodepools".into(),
            uid: String::new(),
            causes: vec![],
            retry_after_seconds: 0,
        };
        let found = Status { code: 404, reason: "NotFound".into(), details: Some(details), ..Status::default() };
        let error = from_kube("read x", kube::Error::Api(Box::new(found)));
        assert_eq!(error.kind, Kind::NotFound);
        assert!(!is_kind_missing(&error));
    }
}
