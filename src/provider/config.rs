//! The provider block: its declaration, its offline checks, and how it is read when some of it is not known yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::ignore_tags::IgnoreTags;
use crate::aws::arn::ClusterRef;
use crate::tofu::convert;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::schema::{Format, Schema};
use crate::tofu::validate::validate_plain;
use crate::tofu::value::Value;

/// Manages Karpenter on Amazon EKS. `cluster_name` alone suffices: endpoint, CA, token, account, partition and region follow from it.
#[derive(Clone, Default, Deserialize, JsonSchema)]
pub struct ProviderConfig {
    /// Name or ARN of the EKS cluster. Every resource can name another one. An ARN's region counts before `region`.
    pub cluster_name: Option<String>,
    /// AWS region. Default: that of the AWS configuration (`AWS_REGION`, profile).
    pub region: Option<String>,
    /// Profile of the shared AWS configuration files. Default: `AWS_PROFILE`.
    pub profile: Option<String>,
    /// Retries of an AWS call that is throttled or fails on the server's side. Default: 7.
    #[schemars(range(max = 100))]
    pub max_retries: Option<u32>,
    /// Role to assume with the credentials of the AWS configuration.
    pub assume_role: Option<AssumeRole>,
    /// Tags for every AWS object that this provider makes. They never reach a node class: a changing tag would replace every node.
    pub default_tags: Option<DefaultTags>,
    /// Tags that others put on what this provider made.
    pub ignore_tags: Option<IgnoreTags>,
    /// Endpoints of AWS services, for instance of VPC endpoints. `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>` count, too.
    pub endpoints: Option<Endpoints>,
    /// Credentials for the registry that charts are pulled from. The public registry needs none.
    pub chart_registry: Option<ChartRegistry>,
    /// How to reach the Kubernetes API where EKS does not say it right, e.g. through a tunnel. What is set here wins, the rest comes from EKS.
    pub kubernetes: Option<Kubernetes>,
}

/// A role to assume.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct AssumeRole {
    /// ARN of the role.
    #[schemars(regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$"))]
    pub role_arn: String,
    /// Name of the session, as CloudTrail shows it.
    #[schemars(regex(pattern = r"^[\w+=,.@-]{2,64}$"))]
    pub session_name: Option<String>,
    /// What the role's trust policy may ask for.
    pub external_id: Option<String>,
    /// How long the session lasts, e.g. `1h30m`, between 15 minutes and 12 hours.
    #[schemars(extend("x-tofu" = {"format": "session_duration"}))]
    pub duration: Option<String>,
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
pub struct ChartRegistry {
    /// User name.
    pub username: String,
    /// Password or access token.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub password: String,
}

/// How to reach the Kubernetes API. No Debug: it must not reach a log.
#[derive(Clone, Default, Deserialize, JsonSchema)]
pub struct Kubernetes {
    /// URL of the API server.
    #[schemars(regex(pattern = r"^https?://[^/?#\s]+(/[^?#\s]*)?$"))]
    pub host: Option<String>,
    /// PEM of the certificate authorities to trust.
    #[schemars(regex(pattern = r"-----BEGIN CERTIFICATE-----"))]
    pub cluster_ca_certificate: Option<String>,
    /// Name that the server's certificate must carry. Default: EKS' host name where `host` is set and the CA is EKS', as for a tunnel.
    pub tls_server_name: Option<String>,
    /// Bearer token.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub token: Option<String>,
    /// PEM of the client's certificate.
    #[schemars(regex(pattern = r"-----BEGIN CERTIFICATE-----"))]
    pub client_certificate: Option<String>,
    /// PEM of the client's private key.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub client_key: Option<String>,
    /// Path of a kubeconfig file.
    pub config_path: Option<String>,
    /// Context of the kubeconfig. Default: its current one. Without `config_path`, of the default kubeconfig.
    pub config_context: Option<String>,
    /// A program that prints credentials, as in a kubeconfig.
    pub exec: Option<Exec>,
}

/// A credential plugin.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Exec {
    /// Version of the ExecCredential, e.g. `client.authentication.k8s.io/v1beta1`.
    #[schemars(regex(pattern = r"^client\.authentication\.k8s\.io/v1(beta1)?$"))]
    pub api_version: String,
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Option<Vec<String>>,
    /// Environment variables on top of this process's.
    pub env: Option<BTreeMap<String, String>>,
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

/// Offline checks.
pub fn validate(schema: &Schema, config: &Value) -> Diagnostics {
    let mut diagnostics = validate_plain(&schema.block, config);
    if let Some(name) = config.attr("cluster_name").as_str()
        && let Err(error) = ClusterRef::parse(name)
    {
        diagnostics.extend(error.at(Path::attribute("cluster_name")).into());
    }
    let kubernetes = config.attr("kubernetes").first();
    let path = Path::attribute("kubernetes").index(0);
    let set = |name: &str| !matches!(kubernetes.attr(name), Value::Null) && kubernetes.attr(name) != &Value::List(vec![]);
    let ways: Vec<&str> = ["token", "client_certificate", "exec"].into_iter().filter(|name| set(name)).collect();
    if let [_, second, ..] = ways[..] {
        let detail = format!("{} exclude each other: the API server takes one identity.", ways.join(" and "));
        diagnostics.error(path.child(second), "conflicting credentials for Kubernetes", detail);
    }
    for (one, other) in [("client_certificate", "client_key"), ("client_key", "client_certificate")] {
        if set(one) && !set(other) {
            diagnostics.error(path.child(one), format!("missing argument {}", path.child(other)), format!("{one} needs {other}."));
        }
    }
    diagnostics
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
    let known = Value::object(config.entries().filter(|(k, _)| !unknown.contains(*k)).map(|(k, v)| (k.clone(), v.clone())));
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
    fn the_schema_has_blocks_and_hides_secrets() {
        let schema = schema();
        let names: Vec<&str> = schema.block.blocks.iter().map(|b| b.name.as_str()).collect();
        assert_eq!(names, ["assume_role", "chart_registry", "default_tags", "endpoints", "ignore_tags", "kubernetes"]);
        let kubernetes = schema.block.nested("kubernetes").unwrap();
        assert!(kubernetes.block.attribute("token").unwrap().sensitive && kubernetes.block.attribute("client_key").unwrap().sensitive);
        assert!(schema.block.nested("chart_registry").unwrap().block.attribute("password").unwrap().sensitive);
        assert_eq!(kubernetes.block.nested("exec").unwrap().max_items, 1);
    }

    #[test]
    fn what_is_unknown_is_named_and_the_rest_is_read() {
        let config = Value::object([
            ("cluster_name", Value::from("demo")),
            ("region", Value::unknown()),
            ("kubernetes", block(&[("host", Value::unknown()), ("token", Value::from("t"))])),
            ("assume_role", block(&[("role_arn", Value::from("arn:aws:iam::111122223333:role/x"))])),
        ]);
        let read = read(&schema(), &config);
        assert_eq!(read.config.cluster_name.as_deref(), Some("demo"));
        assert_eq!(read.config.assume_role.unwrap().role_arn, "arn:aws:iam::111122223333:role/x");
        assert!(read.config.kubernetes.is_none());
        assert_eq!(read.unknown.into_iter().collect::<Vec<_>>(), ["kubernetes", "region"]);
    }

    #[test]
    fn contradictions_are_refused_with_their_path() {
        let config = Value::object([
            ("cluster_name", Value::from("a b")),
            ("kubernetes", block(&[("token", Value::from("t")), ("client_certificate", Value::unknown())])),
            ("assume_role", block(&[("role_arn", Value::from("x")), ("duration", Value::from("5m"))])),
        ]);
        let paths: Vec<String> = validate(&schema(), &config).0.iter().filter_map(|d| Some(d.path.as_ref()?.to_string())).collect();
        for expected in ["cluster_name", "kubernetes[0].client_certificate", "assume_role[0].role_arn", "assume_role[0].duration"] {
            assert!(paths.iter().any(|p| p == expected), "{expected} in {paths:?}");
        }
    }

    #[test]
    fn durations_are_those_of_go_in_whole_seconds() {
        assert_eq!((seconds("1h30m"), seconds("900s"), seconds("15m")), (Some(5400), Some(900), Some(900)));
        assert_eq!((seconds(""), seconds("5"), seconds("1d"), seconds("m")), (None, None, None, None));
    }
}
