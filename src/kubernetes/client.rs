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
use super::exec::{self, Credential};
use super::layer::{Bearer, PatientLayer};
use crate::aws::config::expand_home;
use crate::aws::token::Tokens;
use crate::provider::Cluster;
use crate::provider::config::{Exec, Kubernetes};
use crate::proxies::Proxies;
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

/// A connection on which nothing comes for so long is dead: a watch gets a bookmark about once a minute.
const SILENCE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 150 });

/// The action that errors of this file name.
const ACTION: &str = "connect to Kubernetes";

/// A client. It makes no call, except that a credential plugin runs. `tokens` is called where EKS' token is the identity.
///
/// # Errors
/// [`Kind::ConfigUnknown`] where there is no endpoint yet; [`Kind::Invalid`] for what cannot be read; what a credential plugin says.
pub async fn connect(access: &Access, tokens: impl FnOnce() -> Arc<Tokens>) -> Result<kube::Client, Error> {
    let block = &access.block;
    let mut config = match block.has_kubeconfig() {
        true => kubeconfig(block).await?,
        false => of_cluster(access)?,
    };
    server(&mut config, access)?;
    proxy(&mut config, block)?;
    let bearer = identity(&mut config, block, tokens).await?;
    // A plan must not hang on an address that swallows packets.
    config.connect_timeout = Some(Duration::from_secs(10));
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    // Ours does it: it knows a deadline, and jitter.
    config.default_retry = false;
    let builder = tokio::task::spawn_blocking(move || ClientBuilder::try_from(config)).await;
    let builder = builder.map_err(|e| Error::new(Kind::Other, ACTION, e.to_string()))?.map_err(|e| from_kube(ACTION, e))?;
    Ok(builder.with_layer(&PatientLayer::new(bearer)).build())
}

/// Where the API server is, and how it shows that it is the one.
fn server(config: &mut kube::Config, access: &Access) -> Result<(), Error> {
    let Kubernetes { host, cluster_ca_certificate, tls_server_name, insecure, .. } = &access.block;
    if let Some(host) = host {
        config.cluster_url = host.parse().map_err(|e| invalid(format!("host {host:?} is no URL: {e}")))?;
        if !access.block.has_kubeconfig() && cluster_ca_certificate.is_none() && !access.endpoint.is_empty() {
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
    if let Some(insecure) = insecure {
        config.accept_invalid_certs = *insecure;
    }
    Ok(())
}

/// The proxy that is written, else the kubeconfig's (already there), else the environment's.
fn proxy(config: &mut kube::Config, block: &Kubernetes) -> Result<(), Error> {
    let of_environment = || Proxies::from_environment().of(&config.cluster_url).map(str::to_owned);
    let written = block.proxy_url.clone().or_else(|| if config.proxy_url.is_some() { None } else { of_environment() });
    // The URL is not in the message: it may hold a password.
    let refuse = |what: &str| {
        invalid(format!("the proxy's URL {what}")).remedy(
            "Give an http:// or socks5:// URL: check `proxy_url` of the provider's `kubernetes` block, KUBE_PROXY_URL and HTTPS_PROXY.",
        )
    };
    if let Some(url) = written {
        config.proxy_url = Some(url.parse().map_err(|_| refuse("cannot be read"))?);
    }
    match config.proxy_url.as_ref().map(http::Uri::scheme_str) {
        None | Some(Some("http" | "socks5")) => Ok(()),
        Some(_) => Err(refuse("has another scheme")),
    }
}

/// Who we are: into the configuration, or, where it is renewed in between, what the client's own layer sends.
async fn identity(config: &mut kube::Config, block: &Kubernetes, tokens: impl FnOnce() -> Arc<Tokens>) -> Result<Option<Bearer>, Error> {
    let Kubernetes { token, username, password, client_certificate, client_key, exec, .. } = block;
    if let Some(token) = token {
        config.auth_info = AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() };
    } else if let Some((certificate, key)) = client_certificate.as_ref().zip(client_key.as_ref()) {
        config.auth_info = certified(certificate, key);
    } else if let Some((username, password)) = username.as_ref().zip(password.as_ref()) {
        config.auth_info = AuthInfo { username: Some(username.clone()), password: Some(password.clone().into()), ..AuthInfo::default() };
    } else if let Some(plugin) = exec.as_ref().map(plugin).or_else(|| config.auth_info.exec.take()) {
        match exec::first(plugin).await? {
            Credential::Token(plugin) => {
                config.auth_info = AuthInfo::default();
                return Ok(Some(Bearer::Plugin(plugin)));
            }
            Credential::Certificate(certificate, key) => config.auth_info = certified(&certificate, &key),
        }
    } else if !block.has_kubeconfig() {
        return Ok(Some(Bearer::Eks(tokens())));
    }
    Ok(None)
}

fn certified(certificate: &str, key: &str) -> AuthInfo {
    AuthInfo {
        client_certificate_data: Some(STANDARD.encode(certificate)),
        client_key_data: Some(STANDARD.encode(key).into()),
        ..AuthInfo::default()
    }
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

async fn kubeconfig(block: &Kubernetes) -> Result<kube::Config, Error> {
    let Kubernetes { config_path, config_paths, config_context, config_context_auth_info, config_context_cluster, .. } = block;
    let paths: Vec<&String> = config_path.iter().chain(config_paths.iter().flatten()).collect();
    let refuse = |e: kube::config::KubeconfigError| {
        let which = match paths[..] {
            [] => "the default kubeconfig".to_owned(),
            _ => format!("kubeconfig {}", paths.iter().map(|p| format!("{p:?}")).collect::<Vec<_>>().join(", ")),
        };
        invalid(format!("{which}: {e}")).remedy(
            "Check `config_path`, `config_paths` and `config_context` of the provider's `kubernetes` block, and KUBE_CONFIG_PATH, KUBE_CONFIG_PATHS and KUBE_CTX.",
        )
    };
    let file = match paths[..] {
        [] => Kubeconfig::read(),
        [first, ref rest @ ..] => {
            let read = |path: &str| Kubeconfig::read_from(expand_home(path));
            rest.iter().fold(read(first), |merged, path| merged?.merge(read(path)?))
        }
    };
    let file = file.map_err(refuse)?;
    let options = KubeConfigOptions {
        context: config_context.clone(),
        cluster: config_context_cluster.clone(),
        user: config_context_auth_info.clone(),
    };
    let own_proxy = proxy_in(&file, &options);
    let mut config = kube::Config::from_custom_kubeconfig(file, &options).await.map_err(refuse)?;
    // The environment's is looked up later, by the rules of NO_PROXY.
    config.proxy_url = config.proxy_url.filter(|_| own_proxy);
    Ok(config)
}

/// Whether the cluster that counts in the kubeconfig has a proxy of its own.
fn proxy_in(file: &Kubeconfig, options: &KubeConfigOptions) -> bool {
    let context = options.context.as_ref().or(file.current_context.as_ref());
    let of_context = || file.contexts.iter().find(|c| Some(&c.name) == context)?.context.as_ref().map(|c| &c.cluster);
    let Some(name) = options.cluster.as_ref().or_else(of_context) else { return false };
    let cluster = file.clusters.iter().find(|c| c.name == *name).and_then(|c| c.cluster.as_ref());
    cluster.and_then(|c| c.proxy_url.as_ref()).is_some_and(|url| !url.is_empty())
}

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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::kubernetes;

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_not_waited_for_for_ever() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = vec![];
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let _ = connection.read(&mut [0; 4096]).await;
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{").await.unwrap();
                open.push(connection); // and then nothing, as when a NAT forgets it
            }
        });
        let block = Kubernetes { host: Some(host), token: Some("t".to_owned()), ..Kubernetes::default() };
        let access = Access { endpoint: String::new(), ca: String::new(), block };
        let client = connect(&access, || unreachable!("the token is written")).await.unwrap();
        let kind = kube::core::ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&());
        let object = kubernetes::Object { kind: &kind, namespace: Some("default"), name: "x" };
        let error = kubernetes::get(&client, &object, tokio::time::Instant::now()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
    }
}
