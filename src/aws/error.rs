//! AWS errors, classified by their code: messages change, codes are the contract.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::{Error, Kind};

/// Our error of an SDK call. The action is the permission's name, with the object where there is one:
/// `iam:CreateRole demo-karpenter-controller`.
pub fn from_sdk<E, R>(action: impl Into<String>, error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let action = action.into();
    match &error {
        SdkError::ServiceError(context) => {
            let (code, message) = (context.err().code().unwrap_or_default(), context.err().message().unwrap_or_default());
            from_code(action, code, message).caused_by(error)
        }
        SdkError::TimeoutError(_) => Error::new(Kind::Unavailable, action, "AWS did not answer in time").caused_by(error),
        SdkError::ResponseError(_) => Error::new(Kind::Unavailable, action, "the answer cannot be read").caused_by(error),
        // Missing credentials, too, come as a failure to build or to send the request.
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
            if let Some(found) = credentials_error(&action, &error) {
                return found;
            }
            let unsent = matches!(&error, SdkError::DispatchFailure(_));
            let (kind, what) = if unsent { (Kind::Unavailable, "could not be sent") } else { (Kind::Invalid, "could not be built") };
            Error::new(kind, action, format!("the request {what}: {}", chain(&error))).caused_by(error)
        }
        _ => Error::new(Kind::Other, action, chain(&error)).caused_by(error),
    }
}

/// Our error of a credential chain that gave none.
pub fn from_credentials(action: &str, error: CredentialsError) -> Error {
    credentials_error(action, &error).unwrap_or_else(|| Error::new(Kind::Unauthorized, action, chain(&error))).caused_by(error)
}

/// What a code means to callers. Codes come with and without the suffix `Exception`, by the service's protocol.
pub fn kind(code: &str) -> Kind {
    let code = code.rsplit(['#', '.']).next().unwrap_or_default();
    match code.strip_suffix("Exception").unwrap_or(code) {
        "NoSuchEntity" | "ResourceNotFound" | "QueueDoesNotExist" | "NonExistentQueue" | "NotFound" => Kind::NotFound,
        "EntityAlreadyExists" | "ResourceInUse" | "ResourceAlreadyExists" | "QueueNameExists" | "QueueAlreadyExists" => Kind::AlreadyExists,
        "AccessDenied" | "UnauthorizedOperation" | "NotAuthorized" | "AuthorizationError" => Kind::Forbidden,
        "ExpiredToken"
        | "InvalidClientTokenId"
        | "UnrecognizedClient"
        | "SignatureDoesNotMatch"
        | "InvalidAccessKeyId"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "RequestExpired"
        | "InvalidSignature"
        | "AuthFailure"
        | "OptInRequired" => Kind::Unauthorized,
        "LimitExceeded" | "ResourceLimitExceeded" | "ServiceQuotaExceeded" | "OverLimit" | "PolicyLengthExceeded" => Kind::Quota,
        "Throttling"
        | "Throttled"
        | "RequestThrottled"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "ServiceUnavailable"
        | "ServiceFailure"
        | "InternalFailure"
        | "InternalError"
        | "InternalServerError"
        | "Internal"
        | "Server"
        | "RequestTimeout"
        | "QueueDeletedRecently" => Kind::Unavailable,
        "DeleteConflict" | "ConcurrentModification" | "EntityTemporarilyUnmodifiable" | "ResourcePropagationDelay" | "InvalidRequest" => {
            Kind::Conflict
        }
        "Validation"
        | "ValidationError"
        | "InvalidParameter"
        | "InvalidParameterValue"
        | "InvalidInput"
        | "MalformedPolicyDocument"
        | "InvalidEventPattern"
        | "InvalidAttributeName"
        | "InvalidAttributeValue"
        | "InvalidArn"
        | "UnsupportedOperation"
        | "UnmodifiableEntity"
        | "MissingParameter" => Kind::Invalid,
        _ => Kind::Other,
    }
}

/// Our error of a code and a message. The action starts with the permission's name.
pub fn from_code(action: String, code: &str, message: &str) -> Error {
    // QueueDoesNotExist arrives as AWS.SimpleQueueService.NonExistentQueue from servers of the older protocol.
    let kind = kind(code);
    let permission = action.split_whitespace().next().unwrap_or_default();
    let remedy = match kind {
        Kind::Forbidden => format!("The identity that this provider runs as needs the permission {permission}; a permissions boundary, a session policy or a service control policy can take it away, too."),
        Kind::Unauthorized => "AWS refuses the credentials: renew them (for instance `aws sso login`), or check AWS_PROFILE and the provider's `profile` and `assume_role`.".to_owned(),
        Kind::Quota => "A quota of the account is used up, or the object is at its limit: raise the quota or remove what is no longer needed.".to_owned(),
        Kind::Unavailable => "AWS was busy, or failed, for longer than this provider tries: apply again.".to_owned(),
        Kind::NotFound => "It was deleted meanwhile, or was made seconds ago and is not known everywhere yet: apply again.".to_owned(),
        Kind::Conflict => "Another change is under way, or something still depends on it: apply again.".to_owned(),
        _ => String::new(),
    };
    let text = match (code, message) {
        ("", "") => "AWS gave no reason".to_owned(),
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    Error::new(kind, action, text).remedy(remedy)
}

/// Looks below an error for credentials that are missing, or for a role that could not be assumed.
fn credentials_error(action: &str, error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        // a role of the provider block that was not assumed
        if let Some(ours) = error.downcast_ref::<Error>() {
            return Some(ours.again());
        }
        // a role of the profile or of the environment
        if let Some(refused) = error.downcast_ref::<AssumeRoleError>() {
            let (code, message) = (refused.code().unwrap_or_default(), refused.message().unwrap_or_default());
            return Some(from_code("sts:AssumeRole".to_owned(), code, message));
        }
        if let Some(refused) = error.downcast_ref::<AssumeRoleWithWebIdentityError>() {
            let (code, message) = (refused.code().unwrap_or_default(), refused.message().unwrap_or_default());
            return Some(from_code("sts:AssumeRoleWithWebIdentity".to_owned(), code, message));
        }
        match error.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::CredentialsNotLoaded(_)) => {
                return Some(Error::new(Kind::NoCredentials, action, "no AWS credentials found").remedy(
                    "Set AWS_PROFILE or the provider's `profile`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is attached.",
                ));
            }
            Some(CredentialsError::InvalidConfiguration(_)) => {
                return Some(
                    Error::new(Kind::Invalid, action, chain(error))
                        .remedy("Check AWS_PROFILE, the provider's `profile` and the AWS configuration files."),
                );
            }
            _ => {}
        }
        next = error.source();
    }
    None
}

/// The messages of an error and of what caused it, each said once.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        next = error.source();
    }
    text
}

/// Forbids retries where a quota is used up: the SDK takes `LimitExceededException` for throttling.
#[derive(Clone, Copy, Debug)]
pub struct QuotaIsFinal;

impl ClassifyRetry for QuotaIsFinal {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(response) = context.response().filter(|r| r.status().is_client_error()) else {
            return RetryAction::NoActionIndicated;
        };
        // The parsed error is of one type per operation, so the code is read from the answer again.
        let header = response.headers().get("x-amzn-query-error").or_else(|| response.headers().get("x-amzn-errortype"));
        let body = response.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
        let code = header.map(|h| h.split([';', ':']).next().unwrap_or_default().to_owned()).or_else(|| code_in(&body));
        match code.is_some_and(|code| kind(&code) == Kind::Quota) {
            true => RetryAction::RetryForbidden,
            false => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "quota is final"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

/// The error code of a body in AWS' JSON or XML.
fn code_in(body: &str) -> Option<String> {
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(body) {
        let code = ["__type", "code", "Code"].iter().find_map(|key| json.get(key)?.as_str())?;
        return Some(code.to_owned());
    }
    let (_, rest) = body.split_once("<Code>")?;
    Some(rest.split_once("</Code>")?.0.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide() {
        for (code, expected) in [
            ("NoSuchEntity", Kind::NotFound),
            ("ResourceNotFoundException", Kind::NotFound),
            ("AWS.SimpleQueueService.NonExistentQueue", Kind::NotFound),
            ("com.amazonaws.sqs#QueueDoesNotExist", Kind::NotFound),
            ("EntityAlreadyExists", Kind::AlreadyExists),
            ("ResourceInUseException", Kind::AlreadyExists),
            ("AccessDenied", Kind::Forbidden),
            ("AccessDeniedException", Kind::Forbidden),
            ("ExpiredToken", Kind::Unauthorized),
            ("ExpiredTokenException", Kind::Unauthorized),
            ("UnrecognizedClientException", Kind::Unauthorized),
            ("SignatureDoesNotMatch", Kind::Unauthorized),
            ("LimitExceeded", Kind::Quota),
            ("LimitExceededException", Kind::Quota),
            ("ResourceLimitExceededException", Kind::Quota),
            ("ThrottlingException", Kind::Unavailable),
            ("RequestLimitExceeded", Kind::Unavailable),
            ("ServiceUnavailableException", Kind::Unavailable),
            ("MalformedPolicyDocument", Kind::Invalid),
            ("InvalidParameterException", Kind::Invalid),
            ("DeleteConflict", Kind::Conflict),
            ("ConcurrentModificationException", Kind::Conflict),
            ("SomethingNew", Kind::Other),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
    }

    #[test]
    fn a_refusal_names_the_permission() {
        let error = from_code("iam:CreateRole demo-karpenter-controller".into(), "AccessDenied", "User is not authorized");
        assert_eq!(error.kind, Kind::Forbidden);
        assert!(error.remedy.contains("permission iam:CreateRole;"), "{}", error.remedy);
    }

    #[test]
    fn the_code_is_found_in_either_protocol() {
        assert_eq!(code_in(r#"{"__type":"LimitExceededException","message":"x"}"#).as_deref(), Some("LimitExceededException"));
        assert_eq!(code_in("<ErrorResponse><Error><Code>LimitExceeded</Code></Error></ErrorResponse>").as_deref(), Some("LimitExceeded"));
        assert_eq!(code_in("bad gateway"), None);
    }

    #[test]
    fn absent_credentials_are_found_below_other_errors() {
        let error = from_credentials("eks:DescribeCluster demo", CredentialsError::not_loaded("nothing there"));
        assert_eq!(error.kind, Kind::NoCredentials);
        let error = from_credentials("x", CredentialsError::provider_error(CredentialsError::not_loaded("nothing there")));
        assert_eq!(error.kind, Kind::NoCredentials);
    }
}
