//! Where a chart comes from: an OCI registry, a directory, or a `.tgz`.
//!
//! Plain HTTP is spoken to loopback addresses only. Nothing is cached: a plan without changes reads the chart from the release record.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::manifest::OciManifest;
use oci_client::{Reference, secrets};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::chart::{Chart, MAX_BYTES};
use super::{Result, credentials, invalid};
use crate::{Error, Kind, kubernetes};

/// How long a registry that is throttled or away is asked again; a host that is mistyped costs as much.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// The layer that holds a chart; the second is what Helm 3.0 to 3.6 wrote.
const LAYERS: &[&str] = &["application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip"];

/// Registry credentials, from the provider block (attributes of resources are stored in state).
#[derive(Clone)]
pub struct RegistryAuth {
    /// User name; `AWS` for a private ECR.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A parsed `repository`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Oci { registry: String, path: String },
    Path(PathBuf),
}

/// Pulls `chart` from `repository`: `oci://HOST/PATH` (the chart's name is appended), a directory (the chart itself, or one that holds
/// `CHART/` or `CHART-VERSION.tgz`), or a `.tgz`. Without a version the newest stable one is taken.
pub async fn pull(repository: &str, chart: &str, version: Option<&str>, auth: Option<&RegistryAuth>) -> Result<Chart> {
    let pulled = match parse(repository)? {
        Source::Path(path) => from_path(&path, chart, version)?,
        Source::Oci { registry, path } => {
            let version = match version {
                Some(version) => version.to_owned(),
                None => newest(repository, chart, auth).await?,
            };
            let reference = Reference::with_tag(registry, join(&path, chart), version.replace('+', "_"));
            Chart::from_archive(&signed_in(&reference, auth, |client, auth| pull_layer(&reference, client, auth).boxed()).await?)?
        }
    };
    if pulled.name() != chart {
        return Err(invalid(format!("pull chart {chart}"), format!("{repository} holds the chart {:?}", pulled.name())));
    }
    if let Some(wanted) = version.filter(|v| v.trim_start_matches('v') != pulled.version().trim_start_matches('v')) {
        return Err(invalid(format!("pull chart {chart}"), format!("{repository} holds version {}, want {wanted}", pulled.version())));
    }
    Ok(pulled)
}

/// The newest version of `chart` that is no pre-release: among a registry's tags, or what a directory holds.
pub async fn newest(repository: &str, chart: &str, auth: Option<&RegistryAuth>) -> Result<String> {
    let action = format!("list the versions of chart {chart} in {repository}");
    let (registry, path) = match parse(repository)? {
        Source::Path(path) => return Ok(from_path(&path, chart, None)?.version().to_owned()),
        Source::Oci { registry, path } => (registry, path),
    };
    let reference = Reference::with_tag(registry, join(&path, chart), "latest".to_owned());
    let tags = signed_in(&reference, auth, |client, auth| list_all(&reference, &action, client, auth).boxed()).await?;
    let stable = tags.iter().filter_map(|t| semver::Version::parse(&t.replace('_', "+")).ok()).filter(|v| v.pre.is_empty());
    stable.max().map(|v| v.to_string()).ok_or_else(|| Error::new(Kind::NotFound, action, "no tag is a stable version"))
}

fn parse(repository: &str) -> Result<Source> {
    let action = format!("read chart repository {repository:?}");
    if let Some(rest) = repository.strip_prefix("oci://") {
        let (registry, path) = rest.trim_end_matches('/').split_once('/').unwrap_or((rest, ""));
        if registry.is_empty() {
            return Err(invalid(action, "want oci://HOST/PATH"));
        }
        return Ok(Source::Oci { registry: registry.to_owned(), path: path.to_owned() });
    }
    if repository.contains("://") {
        return Err(invalid(action, "only oci://HOST/PATH, a directory or a .tgz")
            .remedy("Karpenter publishes its charts at oci://public.ecr.aws/karpenter."));
    }
    Ok(Source::Path(PathBuf::from(repository)))
}

fn join(path: &str, chart: &str) -> String {
    if path.is_empty() { chart.to_owned() } else { format!("{path}/{chart}") }
}

fn from_path(path: &Path, chart: &str, version: Option<&str>) -> Result<Chart> {
    if path.join("Chart.yaml").is_file() {
        return Chart::from_directory(path);
    }
    if path.is_dir() && path.join(chart).join("Chart.yaml").is_file() {
        return Chart::from_directory(&path.join(chart));
    }
    let archive = if path.is_dir() { newest_archive(path, chart, version)? } else { path.to_owned() };
    let failed = |e: std::io::Error| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Other };
        Error::new(kind, format!("read {}", archive.display()), e.to_string())
    };
    if std::fs::metadata(&archive).map_err(failed)?.len() > MAX_BYTES {
        return Err(invalid(format!("read {}", archive.display()), format!("over {MAX_BYTES} bytes")));
    }
    Chart::from_archive(&std::fs::read(&archive).map_err(failed)?)
}

fn newest_archive(directory: &Path, chart: &str, version: Option<&str>) -> Result<PathBuf> {
    let action = format!("look for chart {chart} in {}", directory.display());
    let entries = std::fs::read_dir(directory).map_err(|e| Error::new(Kind::Other, action.clone(), e.to_string()))?;
    let mut found = vec![];
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(own) = name.strip_suffix(".tgz").and_then(|n| n.strip_prefix(chart)).and_then(|n| n.strip_prefix('-')) else { continue };
        // `karpenter-crd-1.0.0.tgz` is another chart: what follows the name must be a version
        let Ok(own) = semver::Version::parse(own) else { continue };
        if version.map_or(own.pre.is_empty(), |want| own.to_string() == want.trim_start_matches('v')) {
            found.push((own, entry.path()));
        }
    }
    found.into_iter().max().map(|(_, path)| path).ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            action,
            format!("neither Chart.yaml, nor {chart}/Chart.yaml, nor {chart}-{}.tgz", version.unwrap_or("VERSION")),
        )
    })
}

async fn list_all(reference: &Reference, action: &str, client: Client, auth: secrets::RegistryAuth) -> Result<Vec<String>> {
    let mut tags: Vec<String> = vec![];
    // a registry may answer fewer than it was asked for although it has more
    loop {
        let page = match client.list_tags(reference, &auth, Some(1000), tags.last().map(String::as_str)).await {
            Ok(page) => page.tags,
            // no more tags are `null` to some
            Err(OciDistributionError::JsonError(_)) if !tags.is_empty() => vec![],
            Err(error) => return Err(failed(action.to_owned(), error)),
        };
        // one that ignores `last` would answer the same page for ever
        if page.is_empty() || page.last() == tags.last() || tags.len() > 50_000 {
            return Ok(tags);
        }
        tags.extend(page);
    }
}

async fn pull_layer(reference: &Reference, client: Client, auth: secrets::RegistryAuth) -> Result<Vec<u8>> {
    let action = format!("pull chart {reference}");
    let (manifest, _) = client.pull_manifest(reference, &auth).await.map_err(|e| failed(action.clone(), e))?;
    let OciManifest::Image(manifest) = manifest else { return Err(invalid(action, "an image index, no chart")) };
    let layer = manifest.layers.iter().find(|l| LAYERS.contains(&l.media_type.as_str()));
    let layer = layer.ok_or_else(|| invalid(action.clone(), format!("no chart: none of its layers is of type {}", LAYERS[0])))?;
    if u64::try_from(layer.size).is_ok_and(|size| size > MAX_BYTES) {
        return Err(invalid(action, format!("{} bytes, at most {MAX_BYTES} are read", layer.size)));
    }
    let mut bytes = Capped(vec![]);
    client.pull_blob(reference, layer, &mut bytes).await.map_err(|e| failed(action, e))?;
    Ok(bytes.0)
}

/// Calls with the provider's credentials, else with those that `docker login` or `helm registry login` left. Where the registry refuses
/// the latter, they may be stale and the chart public.
async fn signed_in<'c, T>(
    reference: &Reference,
    auth: Option<&RegistryAuth>,
    call: impl Fn(Client, secrets::RegistryAuth) -> BoxFuture<'c, Result<T>>,
) -> Result<T> {
    let call = async |client: Client, auth: secrets::RegistryAuth| {
        kubernetes::apply::retry(Instant::now() + PATIENCE, || call(client.clone(), auth.clone())).await
    };
    if let Some(RegistryAuth { username, password }) = auth {
        return call(client(reference)?, secrets::RegistryAuth::Basic(username.clone(), password.clone())).await;
    }
    let Some(found) = credentials::find(reference.registry()).await else {
        return call(client(reference)?, secrets::RegistryAuth::Anonymous).await;
    };
    match call(client(reference)?, found).await {
        Err(error) if matches!(error.kind, Kind::Unauthorized | Kind::Forbidden) => {
            call(client(reference)?, secrets::RegistryAuth::Anonymous).await.map_err(|_| error)
        }
        done => done,
    }
}

fn client(reference: &Reference) -> Result<Client> {
    // reqwest takes the process's provider; installed twice is fine
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let protocol = if loopback(reference.registry()) { ClientProtocol::Http } else { ClientProtocol::Https };
    let config = ClientConfig {
        protocol,
        connect_timeout: Some(std::time::Duration::from_secs(15)),
        read_timeout: Some(std::time::Duration::from_secs(60)),
        user_agent: concat!("terraform-provider-karpenter/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|e| failed(format!("pull chart {reference}"), e))
}

fn loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(registry, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn failed(action: String, error: OciDistributionError) -> Error {
    use OciDistributionError as E;
    let codes = |codes: &[OciErrorCode]| matches!(&error, E::RegistryError { envelope, .. } if envelope.errors.iter().any(|e| codes.contains(&e.code)));
    let kind = match &error {
        // the answer of what hands out tokens, whatever its status; only this code of it is not about who asks
        E::AuthenticationFailure(text) if text.contains("TOOMANYREQUESTS") => Kind::Unavailable,
        E::ImageManifestNotFoundError(_) | E::ServerError { code: 404, .. } => Kind::NotFound,
        E::UnauthorizedError { .. } | E::AuthenticationFailure(_) | E::ServerError { code: 401, .. } => Kind::Unauthorized,
        E::ServerError { code: 403, .. } => Kind::Forbidden,
        E::RequestError(_) | E::ServerError { code: 429 | 500.., .. } => Kind::Unavailable,
        E::DigestError(DigestError::VerificationError { .. }) => Kind::Invalid,
        _ if codes(&[OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound]) => Kind::NotFound,
        _ if codes(&[OciErrorCode::Unauthorized]) => Kind::Unauthorized,
        _ if codes(&[OciErrorCode::Denied]) => Kind::Forbidden,
        _ if codes(&[OciErrorCode::Toomanyrequests]) => Kind::Unavailable,
        _ => Kind::Other,
    };
    let remedy = match kind {
        Kind::Unauthorized | Kind::Forbidden => {
            "Set the chart registry's credentials in the provider block, or log in with `helm registry login` or `docker login`."
        }
        Kind::NotFound => "Check the chart's repository and version.",
        _ => "",
    };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        message = format!("{message}: {deeper}");
        cause = deeper.source();
    }
    Error::new(kind, action, message).remedy(remedy).caused_by(error)
}

/// A buffer that refuses to grow over [`MAX_BYTES`], whatever size the manifest claims.
struct Capped(Vec<u8>);

impl AsyncWrite for Capped {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        if (self.0.len() + bytes.len()) as u64 > MAX_BYTES {
            return Poll::Ready(Err(std::io::Error::other(format!("the chart is over {MAX_BYTES} bytes"))));
        }
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_plain_http() {
        for host in ["127.0.0.1:5000", "localhost:5000", "localhost", "[::1]:5000", "127.9.9.9"] {
            assert!(loopback(host), "{host}");
        }
        for host in ["public.ecr.aws", "10.0.0.1:5000", "localhost.example.com:5000", "127.0.0.1.example.com"] {
            assert!(!loopback(host), "{host}");
        }
    }

    #[test]
    fn repositories_are_oci_or_paths() {
        assert_eq!(parse("oci://h:1/a/b/").unwrap(), Source::Oci { registry: "h:1".into(), path: "a/b".into() });
        assert_eq!(parse("./charts").unwrap(), Source::Path("./charts".into()));
        assert!(parse("https://charts.example.com").is_err());
        assert!(parse("oci://").is_err());
    }
}
