//! What the provider block takes over from the providers that users know: for each argument the variables that stand for it, and whose
//! argument of that name it is. One table, from which the documentation and the tests read.

use std::fmt::Write as _;

use crate::tofu::schema::{Block, Schema};

/// Whose users know an argument by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The aws provider's.
    Aws,
    /// The kubernetes provider's; the helm provider's `kubernetes` is the same.
    Kubernetes,
    /// The helm provider's.
    Helm,
    /// Nobody's: it is new here.
    Here,
}

/// An argument and the variables that count where it is not written; the first that is set does.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `assume_role.external_id`.
    pub argument: &'static str,
    /// `AWS_REGION`.
    pub variables: &'static [&'static str],
    /// Whose name it is.
    pub known: Known,
}

const fn row(known: Known, argument: &'static str, variables: &'static [&'static str]) -> Row {
    Row { argument, variables, known }
}

use Known::{Aws, Helm, Here, Kubernetes};

/// Every argument of the provider block that says how something is reached.
pub const ROWS: &[Row] = &[
    row(Here, "cluster_name", &[]),
    row(Aws, "region", &["AWS_REGION", "AWS_DEFAULT_REGION"]),
    row(Aws, "sts_region", &[]),
    row(Aws, "profile", &["AWS_PROFILE"]),
    row(Aws, "shared_config_files", &["AWS_CONFIG_FILE"]),
    row(Aws, "shared_credentials_files", &["AWS_SHARED_CREDENTIALS_FILE"]),
    row(Aws, "access_key", &["AWS_ACCESS_KEY_ID"]),
    row(Aws, "secret_key", &["AWS_SECRET_ACCESS_KEY"]),
    row(Aws, "token", &["AWS_SESSION_TOKEN"]),
    row(Aws, "allowed_account_ids", &[]),
    row(Aws, "forbidden_account_ids", &[]),
    row(Aws, "custom_ca_bundle", &["AWS_CA_BUNDLE"]),
    row(Aws, "http_proxy", &["HTTP_PROXY", "http_proxy"]),
    row(Aws, "https_proxy", &["HTTPS_PROXY", "https_proxy"]),
    row(Aws, "no_proxy", &["NO_PROXY", "no_proxy"]),
    row(Aws, "use_fips_endpoint", &["AWS_USE_FIPS_ENDPOINT"]),
    row(Aws, "use_dualstack_endpoint", &["AWS_USE_DUALSTACK_ENDPOINT"]),
    row(Aws, "max_retries", &["AWS_MAX_ATTEMPTS"]),
    row(Aws, "retry_mode", &["AWS_RETRY_MODE"]),
    row(Aws, "assume_role.role_arn", &[]),
    row(Aws, "assume_role.session_name", &[]),
    row(Aws, "assume_role.external_id", &[]),
    row(Aws, "assume_role.duration", &[]),
    row(Aws, "assume_role.policy", &[]),
    row(Aws, "assume_role.policy_arns", &[]),
    row(Aws, "assume_role.tags", &[]),
    row(Aws, "assume_role.transitive_tag_keys", &[]),
    row(Aws, "assume_role.source_identity", &[]),
    row(Aws, "assume_role_with_web_identity.role_arn", &["AWS_ROLE_ARN"]),
    row(Aws, "assume_role_with_web_identity.web_identity_token", &[]),
    row(Aws, "assume_role_with_web_identity.web_identity_token_file", &["AWS_WEB_IDENTITY_TOKEN_FILE"]),
    row(Aws, "assume_role_with_web_identity.session_name", &["AWS_ROLE_SESSION_NAME"]),
    row(Aws, "assume_role_with_web_identity.duration", &[]),
    row(Aws, "assume_role_with_web_identity.policy", &[]),
    row(Aws, "assume_role_with_web_identity.policy_arns", &[]),
    row(Here, "cluster_assume_role.role_arn", &[]),
    row(Here, "cluster_assume_role.session_name", &[]),
    row(Here, "cluster_assume_role.external_id", &[]),
    row(Here, "cluster_assume_role.duration", &[]),
    row(Here, "cluster_assume_role.policy", &[]),
    row(Here, "cluster_assume_role.policy_arns", &[]),
    row(Here, "cluster_assume_role.tags", &[]),
    row(Here, "cluster_assume_role.transitive_tag_keys", &[]),
    row(Here, "cluster_assume_role.source_identity", &[]),
    row(Aws, "endpoints.eks", &["AWS_ENDPOINT_URL_EKS", "AWS_ENDPOINT_URL"]),
    row(Aws, "endpoints.eventbridge", &["AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL"]),
    row(Aws, "endpoints.iam", &["AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL"]),
    row(Aws, "endpoints.sqs", &["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"]),
    row(Aws, "endpoints.sts", &["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]),
    row(Aws, "default_tags.tags", &[]),
    row(Aws, "ignore_tags.keys", &[]),
    row(Aws, "ignore_tags.key_prefixes", &[]),
    row(Kubernetes, "kubernetes.host", &["KUBE_HOST"]),
    row(Kubernetes, "kubernetes.cluster_ca_certificate", &["KUBE_CLUSTER_CA_CERT_DATA"]),
    row(Kubernetes, "kubernetes.tls_server_name", &["KUBE_TLS_SERVER_NAME"]),
    row(Kubernetes, "kubernetes.insecure", &["KUBE_INSECURE"]),
    row(Kubernetes, "kubernetes.proxy_url", &["KUBE_PROXY_URL", "HTTPS_PROXY", "https_proxy"]),
    row(Kubernetes, "kubernetes.token", &["KUBE_TOKEN"]),
    row(Kubernetes, "kubernetes.username", &["KUBE_USER"]),
    row(Kubernetes, "kubernetes.password", &["KUBE_PASSWORD"]),
    row(Kubernetes, "kubernetes.client_certificate", &["KUBE_CLIENT_CERT_DATA"]),
    row(Kubernetes, "kubernetes.client_key", &["KUBE_CLIENT_KEY_DATA"]),
    row(Kubernetes, "kubernetes.config_path", &["KUBE_CONFIG_PATH"]),
    row(Kubernetes, "kubernetes.config_paths", &["KUBE_CONFIG_PATHS"]),
    row(Kubernetes, "kubernetes.config_context", &["KUBE_CTX"]),
    row(Kubernetes, "kubernetes.config_context_auth_info", &["KUBE_CTX_AUTH_INFO"]),
    row(Kubernetes, "kubernetes.config_context_cluster", &["KUBE_CTX_CLUSTER"]),
    row(Kubernetes, "kubernetes.exec.api_version", &[]),
    row(Kubernetes, "kubernetes.exec.command", &[]),
    row(Kubernetes, "kubernetes.exec.args", &[]),
    row(Kubernetes, "kubernetes.exec.env", &[]),
    row(Helm, "registry.url", &[]),
    row(Helm, "registry.username", &[]),
    row(Helm, "registry.password", &[]),
];

/// The table as Markdown, and what has to be said about it.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for Row { argument, variables, known } in ROWS {
        let variables = variables.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let known = match known {
            Aws => "aws",
            Kubernetes => "kubernetes, helm",
            Helm => "helm",
            Here => "",
        };
        let _ = writeln!(text, "| `{argument}` | {variables} | {known} |");
    }
    text
}

const INTRODUCTION: &str = "
## Connections

What users of the aws, kubernetes and helm providers configure works here under the same names. Where an argument is not written, the
first of the variables that is set counts. A test uses every row of this table.

- *AWS*: the keys in the block, else its `profile` or its `assume_role_with_web_identity`, else the ordinary chain (environment, profile,
  SSO, web identity, container, instance). Then the roles of `assume_role`, one after the other.
- *Cluster*: EKS says endpoint and CA, and a token is signed with the credentials that AWS is called with, or with those of
  `cluster_assume_role`. A `kubernetes` block overrides what it sets, for the cluster of this block's `cluster_name` only; another cluster
  that a resource names is reached as EKS says.
- *The variables of the kubernetes provider* count where a `kubernetes` block is written, even an empty one, or where no cluster is named
  anywhere: a kubeconfig that lies in the environment for other programs must not lead to another cluster than `cluster_name`'s.
- *Proxies*: `http_proxy`, `https_proxy` and `no_proxy` are for AWS; the Kubernetes API has `proxy_url`, and, like AWS, goes by
  `HTTPS_PROXY` and `NO_PROXY` without it. Loopback addresses need no proxy, except a `proxy_url`.
- *Unknown at plan*: every value may be. What depends on it is planned as unknown, and a refresh that needs it keeps the state and says so.

| argument | variables | known from |
|---|---|---|
";

/// Every argument below a block, by its path.
pub fn arguments(schema: &Schema) -> Vec<String> {
    fn walk(block: &Block, path: &str, found: &mut Vec<String>) {
        found.extend(block.attributes.iter().map(|a| format!("{path}{}", a.name)));
        block.blocks.iter().for_each(|inner| walk(&inner.block, &format!("{path}{}.", inner.name), found));
    }
    let mut found = vec![];
    walk(&schema.block, "", &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_of_the_block_has_one_row() {
        let mut declared = arguments(&super::super::config::schema());
        let mut rows: Vec<String> = ROWS.iter().map(|row| row.argument.to_owned()).collect();
        declared.sort();
        rows.sort();
        assert_eq!(rows, declared);
    }
}
