//! The Kubernetes client: what EKS says, what a kubeconfig says on top, what the `kubernetes` block says on top of that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::client::ClientBuilder;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode, KubeConfigOptions, Kubeconfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::error::from_kube;
use super::layer::PatientLayer;
use crate::aws::token::Tokens;
use crate::provider::Cluster;
use crate::provider::config::{Exec, Kubernetes};
use crate::{Error, Kind};

/// How to reach an API server.
pub struct Access {
    endpoint: String,
    /// PEM, base64.
    ca: String,
    block: Kubernetes,
}

impl Access {
    /// What a `kubernetes` block sets wins, the rest is the cluster's.
    pub fn new(cluster: &Cluster, block: Option<&Kubernetes>) -> Self {
        Access { endpoint: cluster.endpoint.clone(), ca: cluster.ca.clone(), block: block.cloned().unwrap_or_default() }
    }
}

/// The action that errors of this file name.
const ACTION: &str = "connect to Kubernetes";

/// A client. It makes no call, except that a credential plugin runs. `tokens` is called where EKS' token is the identity.
///
/// # Errors
/// [`Kind::ConfigUnknown`] where there is no endpoint yet; [`Kind::Invalid`] for what cannot be read.
pub async fn connect(access: &Access, tokens: impl FnOnce() -> Arc<Tokens>) -> Result<kube::Client, Error> {
    let Kubernetes {
        host,
        cluster_ca_certificate,
        tls_server_name,
        token,
        client_certificate,
        client_key,
        config_path,
        config_context,
        exec,
    } = &access.block;
    let from_file = config_path.is_some() || config_context.is_some();
    let mut config = match from_file {
        true => kubeconfig(config_path.as_deref(), config_context.as_deref()).await?,
        false => of_cluster(access)?,
    };
    if let Some(host) = host {
        config.cluster_url = host.parse().map_err(|e| invalid(format!("host {host:?} is no URL: {e}")))?;
        if !from_file && cluster_ca_certificate.is_none() && !access.endpoint.is_empty() {
            // A tunnel: its certificate is the API server's own.
            config.tls_server_name = host_name(&access.endpoint);
        }
    }
    if let Some(pem) = cluster_ca_certificate {
        config.root_cert = Some(certificates(pem.as_bytes(), "cluster_ca_certificate")?);
    }
    if tls_server_name.is_some() {
        config.tls_server_name.clone_from(tls_server_name);
    }
    let mut own_token = None;
    match (token, client_certificate.as_ref().zip(client_key.as_ref()), exec) {
        (Some(token), _, _) => config.auth_info = AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() },
        (None, Some((certificate, key)), _) => {
            config.auth_info = AuthInfo {
                client_certificate_data: Some(STANDARD.encode(certificate)),
                client_key_data: Some(STANDARD.encode(key).into()),
                ..AuthInfo::default()
            }
        }
        (None, None, Some(exec)) => config.auth_info = AuthInfo { exec: Some(plugin(exec)), ..AuthInfo::default() },
        (None, None, None) if from_file => {}
        (None, None, None) => own_token = Some(tokens()),
    }
    // A plan must not hang on an address that swallows packets.
    config.connect_timeout = Some(Duration::from_secs(10));
    // Ours does it: it knows a deadline, and jitter.
    config.default_retry = false;
    // Making the stack runs a credential plugin, which blocks.
    let builder = tokio::task::spawn_blocking(move || ClientBuilder::try_from(config)).await;
    let builder = builder.map_err(|e| Error::new(Kind::Other, ACTION, e.to_string()))?.map_err(|e| from_kube(ACTION, e))?;
    Ok(builder.with_layer(&PatientLayer::new(own_token)).build())
}

fn of_cluster(access: &Access) -> Result<kube::Config, Error> {
    let endpoint = match (&access.block.host, access.endpoint.as_str()) {
        (Some(host), _) => host,
        (None, "") => {
            return Err(Error::new(Kind::ConfigUnknown, ACTION, "the cluster has no endpoint yet")
                .remedy("Wait until the cluster is ACTIVE; without EKS, set `host` in the provider's `kubernetes` block."));
        }
        (None, endpoint) => endpoint,
    };
    let mut config = kube::Config::new(endpoint.parse().map_err(|e| invalid(format!("the endpoint {endpoint:?} is no URL: {e}")))?);
    if !access.ca.is_empty() {
        let pem = STANDARD.decode(&access.ca).map_err(|_| invalid("the certificate authority from EKS is no base64".to_owned()))?;
        config.root_cert = Some(certificates(&pem, "the certificate authority from EKS")?);
    }
    Ok(config)
}

async fn kubeconfig(path: Option<&str>, context: Option<&str>) -> Result<kube::Config, Error> {
    let refuse = |e: kube::config::KubeconfigError| {
        let which = path.map_or_else(|| "the default kubeconfig".to_owned(), |p| format!("kubeconfig {p:?}"));
        invalid(format!("{which}: {e}")).remedy("Check `config_path` and `config_context` of the provider's `kubernetes` block.")
    };
    let file = match path {
        Some(path) => Kubeconfig::read_from(expand_home(path)),
        None => Kubeconfig::read(),
    };
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = kube::Config::from_custom_kubeconfig(file.map_err(refuse)?, &options).await.map_err(refuse)?;
    if let Some(exec) = &mut config.auth_info.exec {
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
    }
    Ok(config)
}

fn expand_home(path: &str) -> std::path::PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}

/// Our standard input and output belong to the client: a plugin must not ask there.
fn plugin(exec: &Exec) -> ExecConfig {
    let Exec { api_version, command, args, env } = exec;
    let env =
        env.iter().flatten().map(|(name, value)| HashMap::from([("name".to_owned(), name.clone()), ("value".to_owned(), value.clone())]));
    ExecConfig {
        api_version: Some(api_version.clone()),
        command: Some(command.clone()),
        args: args.clone(),
        env: Some(env.collect()),
        drop_env: None,
        install_hint: None,
        interactive_mode: Some(ExecInteractiveMode::Never),
        provide_cluster_info: false,
        cluster: None,
        other: Default::default(),
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<Vec<u8>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).map(|c| c.map(|c| c.to_vec())).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(invalid(format!("{what} holds no certificate"))),
        Err(e) => Err(invalid(format!("{what} is no PEM of certificates: {e}"))),
    }
}

fn host_name(url: &str) -> Option<String> {
    Some(url.parse::<http::Uri>().ok()?.host()?.trim_matches(['[', ']']).to_owned())
}

fn invalid(message: String) -> Error {
    Error::new(Kind::Invalid, ACTION, message)
}
