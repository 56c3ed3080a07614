//! The provider block's `kubernetes` block.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

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
    /// Trust any certificate: whoever is in between can read and change everything.
    pub insecure: Option<bool>,
    /// Proxy for the Kubernetes API, as URL: `http://` or `socks5://`; a user and password may be in it. Default: the kubeconfig's, then
    /// that of the environment.
    #[schemars(regex(pattern = r"^(http|socks5)://[^/?#\s]+/?$"), extend("x-tofu" = {"sensitive": true}))]
    pub proxy_url: Option<String>,
    /// Bearer token.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub token: Option<String>,
    /// User name for basic authentication, where something before the API server takes it.
    pub username: Option<String>,
    /// Password for basic authentication.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub password: Option<String>,
    /// PEM of the client's certificate.
    #[schemars(regex(pattern = r"-----BEGIN CERTIFICATE-----"))]
    pub client_certificate: Option<String>,
    /// PEM of the client's private key.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub client_key: Option<String>,
    /// Path of a kubeconfig file.
    pub config_path: Option<String>,
    /// Paths of kubeconfig files that are merged as kubectl does it: of what is said twice, the first counts.
    pub config_paths: Option<Vec<String>>,
    /// Context of the kubeconfig. Default: its current one. Without a path, of the default kubeconfig.
    pub config_context: Option<String>,
    /// User of the kubeconfig, in the place of the context's.
    pub config_context_auth_info: Option<String>,
    /// Cluster of the kubeconfig, in the place of the context's.
    pub config_context_cluster: Option<String>,
    /// A program that prints credentials, as in a kubeconfig. It runs again when they expire, and when the API server refuses them.
    pub exec: Option<Exec>,
}

/// A credential plugin. No Debug: its variables may be secrets.
#[derive(Clone, Default, Deserialize, JsonSchema)]
pub struct Exec {
    /// Version of the ExecCredential, e.g. `client.authentication.k8s.io/v1beta1`.
    #[schemars(regex(pattern = r"^client\.authentication\.k8s\.io/v1(beta1)?$"))]
    pub api_version: String,
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Option<Vec<String>>,
    /// Environment variables on top of this process's.
    #[schemars(extend("x-tofu" = {"sensitive": true}))]
    pub env: Option<BTreeMap<String, String>>,
}

impl Kubernetes {
    /// Whether it says where the API server is, so that no cluster's name is needed.
    pub fn names_a_server(&self) -> bool {
        self.host.is_some() || self.has_kubeconfig()
    }

    /// Whether a kubeconfig counts.
    pub fn has_kubeconfig(&self) -> bool {
        let Kubernetes { config_path, config_paths, config_context, config_context_auth_info, config_context_cluster, .. } = self;
        let parts = [config_path, config_context, config_context_auth_info, config_context_cluster];
        parts.iter().any(|part| part.is_some()) || config_paths.as_ref().is_some_and(|paths| !paths.is_empty())
    }

    /// Whether it says who the client is.
    pub fn has_identity(&self) -> bool {
        self.token.is_some() || self.username.is_some() || self.client_certificate.is_some() || self.exec.is_some()
    }
}
