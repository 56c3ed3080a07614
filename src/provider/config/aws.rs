//! Blocks of the provider block that are about AWS and its registry.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// A role to assume.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct AssumeRole {
    /// ARN of the role.
    #[schemars(regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$"))]
    pub role_arn: String,
    /// Name of the session, as CloudTrail shows it. Default: `terraform-provider-karpenter`.
    #[schemars(regex(pattern = r"^[\w+=,.@-]{2,64}$"))]
    pub session_name: Option<String>,
    /// What the role's trust policy may ask for.
    pub external_id: Option<String>,
    /// How long the session lasts, e.g. `1h30m`, between 15 minutes and 12 hours.
    #[schemars(extend("x-tofu" = {"format": "session_duration"}))]
    pub duration: Option<String>,
    /// IAM policy, as JSON, that the session is limited to.
    pub policy: Option<String>,
    /// ARNs of managed policies that the session is limited to.
    #[schemars(length(max = 10))]
    pub policy_arns: Option<Vec<String>>,
    /// Session tags.
    #[schemars(length(max = 50))]
    pub tags: Option<BTreeMap<String, String>>,
    /// Keys of the session tags that sessions assumed from this one keep.
    pub transitive_tag_keys: Option<Vec<String>>,
    /// Who is behind the session, as CloudTrail keeps it through all roles that follow.
    #[schemars(regex(pattern = r"^[\w+=,.@-]{2,64}$"))]
    pub source_identity: Option<String>,
}

/// A role to assume with a token of an identity provider. No Debug: it must not reach a log.
#[derive(Clone, Default, Deserialize, JsonSchema)]
pub struct WebIdentity {
    /// ARN of the role.
    #[schemars(regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$"))]
    pub role_arn: Option<String>,
    /// The token. Better in a file.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub web_identity_token: Option<String>,
    /// File with the token; it is read again whenever the session is renewed.
    pub web_identity_token_file: Option<String>,
    /// Name of the session, as CloudTrail shows it. Default: `terraform-provider-karpenter`.
    #[schemars(regex(pattern = r"^[\w+=,.@-]{2,64}$"))]
    pub session_name: Option<String>,
    /// How long the session lasts, e.g. `1h30m`, between 15 minutes and 12 hours.
    #[schemars(extend("x-tofu" = {"format": "session_duration"}))]
    pub duration: Option<String>,
    /// IAM policy, as JSON, that the session is limited to.
    pub policy: Option<String>,
    /// ARNs of managed policies that the session is limited to.
    #[schemars(length(max = 10))]
    pub policy_arns: Option<Vec<String>>,
}

/// Tags of AWS objects.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct DefaultTags {
    /// Tags; those of a resource win.
    pub tags: Option<BTreeMap<String, String>>,
}

/// URLs of AWS services.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Endpoints {
    /// Amazon EKS.
    #[schemars(regex(pattern = r"^https?://[^/?#\s]+/?$"))]
    pub eks: Option<String>,
    /// IAM.
    #[schemars(regex(pattern = r"^https?://[^/?#\s]+/?$"))]
    pub iam: Option<String>,
    /// Amazon SQS.
    #[schemars(regex(pattern = r"^https?://[^/?#\s]+/?$"))]
    pub sqs: Option<String>,
    /// Amazon EventBridge.
    #[schemars(regex(pattern = r"^https?://[^/?#\s]+/?$"))]
    pub eventbridge: Option<String>,
    /// AWS STS. Tokens for the cluster are signed for the regional host nevertheless.
    #[schemars(regex(pattern = r"^https?://[^/?#\s]+/?$"))]
    pub sts: Option<String>,
}

/// Credentials of a registry. No Debug: it must not reach a log.
#[derive(Clone, Deserialize, JsonSchema)]
pub struct Registry {
    /// What they are good for: a host or the start of a repository's URL, e.g. `oci://registry.example.com/charts`. The longest that fits
    /// counts.
    #[schemars(regex(pattern = r"^(oci://)?[A-Za-z0-9.-]+(:[0-9]+)?(/[^\s?#]*)?$"))]
    pub url: String,
    /// User name.
    pub username: String,
    /// Password or access token.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub password: String,
}

impl Registry {
    /// Which of `all` is for a repository such as `oci://registry.example.com/charts/karpenter`, if any is.
    pub fn of<'a>(all: &'a [Registry], repository: &str) -> Option<&'a Registry> {
        let place = |url: &str| format!("{}/", url.strip_prefix("oci://").unwrap_or(url).trim_end_matches('/'));
        let wanted = place(repository);
        all.iter().filter(|registry| wanted.starts_with(&place(&registry.url))).max_by_key(|registry| place(&registry.url).len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_url_that_fits_has_the_credentials() {
        let of = |url: &str| Registry { url: url.into(), username: url.into(), password: String::new() };
        let all = [of("registry.example.com"), of("oci://registry.example.com/charts/"), of("other.example.com:5000")];
        let found = |repository| Registry::of(&all, repository).map(|r| r.username.as_str());
        assert_eq!(found("oci://registry.example.com/charts/karpenter"), Some("oci://registry.example.com/charts/"));
        assert_eq!(found("oci://registry.example.com/chartsx"), Some("registry.example.com"));
        assert_eq!(found("oci://registry.example.com.evil/charts"), None);
        assert_eq!(found("oci://other.example.com/charts"), None);
    }
}
