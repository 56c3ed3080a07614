//! The HTTP client of the AWS SDK, where proxies or a CA bundle make it another than the SDK's own.

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::proxies::Proxies;
use crate::{Error, Kind};

/// A client that goes through `proxies` and trusts only the authorities in the file `ca_bundle`; `None` where there is neither.
///
/// # Errors
/// [`Kind::Invalid`] for a file that cannot be read or holds no certificates, and for what is no URL of a proxy.
pub fn client(proxies: &Proxies, ca_bundle: Option<&str>) -> Result<Option<SharedHttpClient>, Error> {
    if proxies.is_empty() && ca_bundle.is_none() {
        return Ok(None);
    }
    let tls = match ca_bundle {
        Some(path) => TlsContext::builder().with_trust_store(TrustStore::empty().with_pem_certificate(bundle(path)?)).build(),
        None => TlsContext::builder().build(),
    };
    let tls = tls.map_err(|e| Error::new(Kind::Invalid, "prepare TLS for AWS", e.to_string()))?;
    let through = |proxy: Option<&String>| match proxy {
        Some(url) => Ok(ProxyConfig::all(url.as_str()).map_err(|_| no_proxy_url())?.no_proxy(&proxies.exceptions)),
        None => Ok::<_, Error>(ProxyConfig::disabled()),
    };
    let https = by(tls.clone(), through(proxies.https.as_ref())?);
    if proxies.http == proxies.https {
        return Ok(Some(https));
    }
    Ok(Some(SharedHttpClient::new(ByScheme { http: by(tls, through(proxies.http.as_ref())?), https })))
}

fn by(tls: TlsContext, proxy: ProxyConfig) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder();
        builder.set_connector_settings(settings.cloned()).set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.proxy_config(proxy.clone()).tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc)).tls_context(tls.clone()).build()
    })
}

/// The URL is not in the message: it may hold a password.
fn no_proxy_url() -> Error {
    Error::new(Kind::Invalid, "find the proxy for AWS", "its URL cannot be read").remedy(
        "Check `http_proxy` and `https_proxy` of the provider block, HTTP_PROXY and HTTPS_PROXY: e.g. \"http://proxy.example.com:3128\".",
    )
}

/// The PEM file, after a look at whether it is one: the SDK would panic.
fn bundle(path: &str) -> Result<Vec<u8>, Error> {
    let fail = |message: String| {
        Err(Error::new(Kind::Invalid, format!("read the CA bundle {path:?}"), message)
            .remedy("Check `custom_ca_bundle` of the provider block, and AWS_CA_BUNDLE: a file with certificates as PEM."))
    };
    let pem = match std::fs::read(super::config::expand_home(path)) {
        Ok(pem) => pem,
        Err(error) => return fail(error.to_string()),
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        match certificate.map(|certificate| roots.add(certificate)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return fail(error.to_string()),
            Err(error) => return fail(error.to_string()),
        }
    }
    if roots.is_empty() { fail("it holds no certificate".to_owned()) } else { Ok(pem) }
}

/// The SDK's proxies are for one scheme or for all alike.
#[derive(Debug)]
struct ByScheme {
    http: SharedHttpClient,
    https: SharedHttpClient,
}

impl HttpClient for ByScheme {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let (http, https) = (self.http.http_connector(settings, components), self.https.http_connector(settings, components));
        SharedHttpConnector::new(Pair { http, https })
    }
}

#[derive(Debug)]
struct Pair {
    http: SharedHttpConnector,
    https: SharedHttpConnector,
}

impl HttpConnector for Pair {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if request.uri().starts_with("http:") { self.http.call(request) } else { self.https.call(request) }
    }
}
