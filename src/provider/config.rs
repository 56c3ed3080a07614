//! The provider block: its declaration, and how it is read when some of it is not known yet.

mod aws;
mod kubernetes;
mod validate;

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

pub use aws::{AssumeRole, DefaultTags, Endpoints, Registry, WebIdentity};
pub use kubernetes::{Exec, Kubernetes};
pub use validate::validate;

use super::ignore_tags::IgnoreTags;
use crate::tofu::convert;
use crate::tofu::schema::{Format, Schema};
use crate::tofu::value::Value;

/// Manages Karpenter on Amazon EKS. `cluster_name` alone suffices: endpoint, CA, token, account, partition and region follow from it.
#[derive(Clone, Default, Deserialize, JsonSchema)]
pub struct ProviderConfig {
    /// Name or ARN of the EKS cluster. Every resource can name another one. An ARN's region counts before `region`.
    pub cluster_name: Option<String>,
    /// AWS region. Default: that of the AWS configuration.
    pub region: Option<String>,
    /// Region in which roles are assumed and the account is asked for. Default: `region`. Tokens are for the cluster's region always.
    pub sts_region: Option<String>,
    /// Profile of the shared AWS files. Credentials in the environment do not count where it is set here.
    pub profile: Option<String>,
    /// Files in the place of `~/.aws/config`; of what is said twice, the last counts.
    pub shared_config_files: Option<Vec<String>>,
    /// Files in the place of `~/.aws/credentials`; of what is said twice, the last counts.
    pub shared_credentials_files: Option<Vec<String>>,
    /// Access key. Better left to the environment, a profile or a role.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub access_key: Option<String>,
    /// Secret key of `access_key`.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub secret_key: Option<String>,
    /// Session token of `access_key`, where that is temporary.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub token: Option<String>,
    /// Accounts that may be worked in: with credentials of any other, nothing is read or written.
    #[schemars(inner(regex(pattern = r"^[0-9]{12}$")))]
    pub allowed_account_ids: Option<Vec<String>>,
    /// Accounts that must not be worked in.
    #[schemars(inner(regex(pattern = r"^[0-9]{12}$")))]
    pub forbidden_account_ids: Option<Vec<String>>,
    /// PEM file of the certificate authorities to trust for AWS, in the place of the system's.
    pub custom_ca_bundle: Option<String>,
    /// Proxy for calls of AWS by `http`, as URL; a user and password may be in it. Loopback addresses are reached without.
    #[schemars(regex(pattern = r"^https?://[^/?#\s]+/?$"), extend("x-tofu" = {"sensitive": true}))]
    pub http_proxy: Option<String>,
    /// Proxy for calls of AWS by `https`, as URL; a user and password may be in it. Loopback addresses are reached without.
    #[schemars(regex(pattern = r"^https?://[^/?#\s]+/?$"), extend("x-tofu" = {"sensitive": true}))]
    pub https_proxy: Option<String>,
    /// Hosts that AWS is reached at without a proxy: names, domains with a leading dot, addresses, CIDR blocks, with commas between.
    pub no_proxy: Option<String>,
    /// Use FIPS endpoints of AWS.
    pub use_fips_endpoint: Option<bool>,
    /// Use endpoints of AWS that have IPv4 and IPv6.
    pub use_dualstack_endpoint: Option<bool>,
    /// Retries of an AWS call that is throttled or fails on the server's side. Default: 7.
    #[schemars(range(max = 100))]
    pub max_retries: Option<u32>,
    /// How AWS calls are retried; `adaptive` also slows down where AWS throttles. Default: `standard`.
    pub retry_mode: Option<RetryMode>,
    /// Role to assume with the credentials so far. Repeated, each one is assumed with the credentials of the one before.
    pub assume_role: Option<Vec<AssumeRole>>,
    /// Role to assume with a token of an identity provider, for instance of the CI. Roles of `assume_role` come after it.
    pub assume_role_with_web_identity: Option<WebIdentity>,
    /// Role that only signs the cluster's token, as `aws eks get-token --role-arn` does: AWS is called without it. It is assumed with
    /// the credentials that AWS is called with; repeated, each one with the credentials of the one before.
    pub cluster_assume_role: Option<Vec<AssumeRole>>,
    /// Tags for every AWS object that this provider makes. They never reach a node class: a changing tag would replace every node.
    pub default_tags: Option<DefaultTags>,
    /// Tags that others put on what this provider made.
    pub ignore_tags: Option<IgnoreTags>,
    /// Endpoints of AWS services, for instance of VPC endpoints. `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>` count, too.
    pub endpoints: Option<Endpoints>,
    /// Credentials of a registry that charts are pulled from. The public registry needs none.
    pub registry: Option<Vec<Registry>>,
    /// How to reach the Kubernetes API where EKS does not say it right, e.g. through a tunnel. What is set here, or in the variables below
    /// where this block is written (it may be empty), wins; the rest comes from EKS. It is about the cluster that `cluster_name` here says, not
    /// about another one that a resource names.
    pub kubernetes: Option<Kubernetes>,
}

/// How calls are retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RetryMode {
    /// With exponential backoff.
    Standard,
    /// And with a rate limit on the client's side.
    Adaptive,
}

static FORMATS: &[Format] = &[Format {
    name: "session_duration",
    check: |text| match seconds(text) {
        Some(s) if (900..=43_200).contains(&s) => Ok(()),
        _ => Err("a duration between 15m and 12h, e.g. \"1h30m\"".to_owned()),
    },
    canonical: |text| text.to_owned(),
}];

/// The provider block's schema.
pub fn schema() -> Schema {
    Schema::of::<ProviderConfig>(0, FORMATS)
}

/// A provider block, and the names of its arguments and blocks that are not wholly known.
#[derive(Clone, Default)]
pub struct Read {
    /// What is known.
    pub config: ProviderConfig,
    /// What is not.
    pub unknown: BTreeSet<String>,
}

/// Reads the block. An argument or a block with anything unknown in it counts as unknown as a whole.
pub fn read(schema: &Schema, config: &Value) -> Read {
    let unknown: BTreeSet<String> = config.entries().filter(|(_, v)| !v.is_wholly_known()).map(|(k, _)| k.clone()).collect();
    // an empty list is as good as none: a module's variable is often empty for who does not use it
    let says = |k: &String, v: &Value| !unknown.contains(k) && *v != Value::List(vec![]);
    let known = Value::object(config.entries().filter(|(k, v)| says(k, v)).map(|(k, v)| (k.clone(), v.clone())));
    // Everything at the top is optional, and the client has checked the types.
    let config = serde_json::from_value(convert::expand(&schema.block, &known)).unwrap_or_default();
    Read { config, unknown }
}

/// A duration such as `1h30m`, `90m`, `5400s`.
pub fn duration(text: &str) -> Option<Duration> {
    seconds(text).map(Duration::from_secs)
}

fn seconds(text: &str) -> Option<u64> {
    let (mut total, mut digits) = (0u64, String::new());
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = digits.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(total)?;
        digits.clear();
    }
    (digits.is_empty() && !text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(entries: &[(&str, Value)]) -> Value {
        Value::List(vec![Value::object(entries.iter().cloned())])
    }

    #[test]
    fn an_empty_list_is_as_good_as_none() {
        let empty = Value::List(vec![]);
        let names = ["allowed_account_ids", "forbidden_account_ids", "shared_config_files", "shared_credentials_files"];
        let Read { config, unknown } = read(&schema(), &Value::object(names.map(|name| (name, empty.clone()))));
        assert!(unknown.is_empty() && config.allowed_account_ids.is_none() && config.forbidden_account_ids.is_none());
        assert!(config.shared_config_files.is_none() && config.shared_credentials_files.is_none());
    }

    #[test]
    fn the_schema_has_blocks_and_hides_secrets() {
        let schema = schema();
        let names: Vec<&str> = schema.block.blocks.iter().map(|b| b.name.as_str()).collect();
        let expected = [
            "assume_role",
            "assume_role_with_web_identity",
            "cluster_assume_role",
            "default_tags",
            "endpoints",
            "ignore_tags",
            "kubernetes",
            "registry",
        ];
        assert_eq!(names, expected);
        let sensitive = |block: &str, name: &str| match block {
            "" => schema.block.attribute(name).unwrap().sensitive,
            block => schema.block.nested(block).unwrap().block.attribute(name).unwrap().sensitive,
        };
        for (block, name) in [
            ("", "access_key"),
            ("", "secret_key"),
            ("", "token"),
            ("", "https_proxy"),
            ("assume_role_with_web_identity", "web_identity_token"),
            ("kubernetes", "token"),
            ("kubernetes", "client_key"),
            ("kubernetes", "password"),
            ("kubernetes", "proxy_url"),
            ("registry", "password"),
        ] {
            assert!(sensitive(block, name), "{block}.{name}");
        }
        assert_eq!(schema.block.nested("assume_role").unwrap().max_items, 0, "a list");
        assert_eq!(schema.block.nested("kubernetes").unwrap().block.nested("exec").unwrap().max_items, 1);
    }

    #[test]
    fn what_is_unknown_is_named_and_the_rest_is_read() {
        let config = Value::object([
            ("cluster_name", Value::from("demo")),
            ("region", Value::unknown()),
            ("retry_mode", Value::from("adaptive")),
            ("kubernetes", block(&[("host", Value::unknown()), ("token", Value::from("t"))])),
            ("assume_role", block(&[("role_arn", Value::from("arn:aws:iam::111122223333:role/x"))])),
        ]);
        let read = read(&schema(), &config);
        assert_eq!(read.config.cluster_name.as_deref(), Some("demo"));
        assert_eq!(read.config.retry_mode, Some(RetryMode::Adaptive));
        assert_eq!(read.config.assume_role.unwrap()[0].role_arn, "arn:aws:iam::111122223333:role/x");
        assert!(read.config.region.is_none() && read.config.kubernetes.is_none());
        assert_eq!(read.unknown.into_iter().collect::<Vec<_>>(), ["kubernetes", "region"]);
    }

    #[test]
    fn durations_are_those_of_go_in_whole_seconds() {
        assert_eq!((seconds("1h30m"), seconds("900s"), seconds("15m")), (Some(5400), Some(900), Some(900)));
        assert_eq!((seconds(""), seconds("5"), seconds("1d"), seconds("m")), (None, None, None, None));
    }
}
