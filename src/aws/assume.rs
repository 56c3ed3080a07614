//! Credentials of a role that is assumed: with other credentials, or with a token of an identity provider.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::operation::assume_role::builders::AssumeRoleFluentBuilder;
use aws_sdk_sts::operation::assume_role_with_web_identity::builders::AssumeRoleWithWebIdentityFluentBuilder;
use aws_sdk_sts::types::{PolicyDescriptorType, Tag};

use super::config::expand_home;
use super::error::from_sdk;
use crate::provider::config::{self, AssumeRole, WebIdentity};
use crate::{Error, Kind};

/// What a session is called where nothing else is said.
const SESSION: &str = "terraform-provider-karpenter";

/// A role assumed with other credentials.
pub struct Assumed {
    request: AssumeRoleFluentBuilder,
    action: String,
}

impl Assumed {
    /// `sdk` says how STS is reached; `path` is where the role stands in the provider block, for messages.
    pub fn new(sdk: aws_sdk_sts::config::Builder, with: SharedCredentialsProvider, role: &AssumeRole, path: &str) -> Self {
        let AssumeRole { role_arn, session_name, external_id, duration, policy, policy_arns, tags, transitive_tag_keys, source_identity } =
            role;
        let tags = tags.as_ref().map(|tags| tags.iter().filter_map(|(k, v)| Tag::builder().key(k).value(v).build().ok()).collect());
        let request = aws_sdk_sts::Client::from_conf(sdk.credentials_provider(with).build())
            .assume_role()
            .role_arn(role_arn)
            .role_session_name(session_name.as_deref().unwrap_or(SESSION))
            .set_external_id(external_id.clone())
            .set_duration_seconds(seconds(duration.as_deref()))
            .set_policy(policy.clone())
            .set_policy_arns(policies(policy_arns.as_deref()))
            .set_tags(tags)
            .set_transitive_tag_keys(transitive_tag_keys.clone())
            .set_source_identity(source_identity.clone());
        Assumed { request, action: format!("sts:AssumeRole {role_arn} (the provider's {path})") }
    }

    async fn session(&self) -> Result<Credentials, Error> {
        let answer = self.request.clone().send().await.map_err(|e| from_sdk(&self.action, e))?;
        credentials(answer.credentials, &self.action)
    }
}

/// A role assumed with a token of an identity provider.
pub struct Federated {
    request: AssumeRoleWithWebIdentityFluentBuilder,
    token: Source,
    action: String,
}

enum Source {
    Text(String),
    File(String),
}

impl Federated {
    /// `sdk` says how STS is reached. What the block leaves out comes from the variables that the SDKs share.
    ///
    /// # Errors
    /// [`Kind::Invalid`] where neither names a role or a token.
    pub fn new(sdk: aws_sdk_sts::config::Builder, block: &WebIdentity) -> Result<Self, Error> {
        let WebIdentity { role_arn, web_identity_token, web_identity_token_file, session_name, duration, policy, policy_arns } = block;
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let missing = |what: &str, name: &str| {
            Error::new(Kind::Invalid, "assume a role with a web identity", format!("there is no {what}"))
                .remedy(format!("Set `{what}` in the provider's `assume_role_with_web_identity` block, or {name}."))
        };
        let role = role_arn.clone().or_else(|| variable("AWS_ROLE_ARN")).ok_or_else(|| missing("role_arn", "AWS_ROLE_ARN"))?;
        let file = || web_identity_token_file.clone().or_else(|| variable("AWS_WEB_IDENTITY_TOKEN_FILE"));
        let token = match web_identity_token {
            Some(text) => Source::Text(text.clone()),
            None => Source::File(file().ok_or_else(|| missing("web_identity_token_file", "AWS_WEB_IDENTITY_TOKEN_FILE"))?),
        };
        let session = session_name.clone().or_else(|| variable("AWS_ROLE_SESSION_NAME"));
        let request = aws_sdk_sts::Client::from_conf(sdk.build())
            .assume_role_with_web_identity()
            .role_arn(&role)
            .role_session_name(session.as_deref().unwrap_or(SESSION))
            .set_duration_seconds(seconds(duration.as_deref()))
            .set_policy(policy.clone())
            .set_policy_arns(policies(policy_arns.as_deref()));
        Ok(Federated { request, token, action: format!("sts:AssumeRoleWithWebIdentity {role}") })
    }

    async fn session(&self) -> Result<Credentials, Error> {
        let token = match &self.token {
            Source::Text(text) => text.clone(),
            Source::File(path) => std::fs::read_to_string(expand_home(path)).map_err(|e| {
                Error::new(Kind::Invalid, &self.action, format!("the token's file {path:?} cannot be read: {e}"))
                    .remedy("Check `web_identity_token_file` of the provider block, and AWS_WEB_IDENTITY_TOKEN_FILE.")
            })?,
        };
        let answer = self.request.clone().web_identity_token(token.trim()).send().await.map_err(|e| from_sdk(&self.action, e))?;
        credentials(answer.credentials, &self.action)
    }
}

fn seconds(duration: Option<&str>) -> Option<i32> {
    duration.and_then(config::duration).and_then(|d| i32::try_from(d.as_secs()).ok())
}

fn policies(arns: Option<&[String]>) -> Option<Vec<PolicyDescriptorType>> {
    Some(arns?.iter().map(|arn| PolicyDescriptorType::builder().arn(arn).build()).collect())
}

fn credentials(answer: Option<aws_sdk_sts::types::Credentials>, action: &str) -> Result<Credentials, Error> {
    let found = answer.ok_or_else(|| Error::new(Kind::Other, action, "STS answered without credentials"))?;
    let expiry = found.expiration.try_into().ok();
    Ok(Credentials::new(found.access_key_id, found.secret_access_key, Some(found.session_token), expiry, "role"))
}

/// A provider's errors are ours, kept whole for whoever reports them.
macro_rules! provides {
    ($name:ident) => {
        impl ProvideCredentials for $name {
            fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
            where
                Self: 'a,
            {
                future::ProvideCredentials::new(async { self.session().await.map_err(CredentialsError::provider_error) })
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.action)
            }
        }
    };
}

provides!(Assumed);
provides!(Federated);
