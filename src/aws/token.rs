//! The bearer token of EKS: a presigned GetCallerIdentity that the cluster's authenticator sends to STS in our name.

use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign as sigv4};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use tokio::sync::Mutex;

use super::{arn, error};
use crate::{Error, Kind};

/// The authenticator accepts a token for 15 minutes after it was signed; two are kept in reserve for clocks that differ.
const LIFETIME: Duration = Duration::from_secs(13 * 60);

/// Tokens for one cluster, renewed before they expire and when one is refused.
#[derive(Debug)]
pub struct Tokens {
    credentials: SharedCredentialsProvider,
    cluster: String,
    region: String,
    clock: fn() -> SystemTime,
    current: Mutex<Option<(HeaderValue, Instant)>>,
}

impl Tokens {
    /// Tokens for a cluster of that name in that region.
    pub fn new(credentials: SharedCredentialsProvider, cluster: impl Into<String>, region: impl Into<String>) -> Self {
        Tokens { credentials, cluster: cluster.into(), region: region.into(), clock: SystemTime::now, current: Mutex::default() }
    }

    /// Signs by another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> SystemTime) -> Self {
        self.clock = clock;
        self
    }

    /// An Authorization header that is not the `refused` one. Concurrent callers share one signature.
    ///
    /// # Errors
    /// [`Kind::NoCredentials`], or what else the credential chain says.
    pub async fn header(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, Error> {
        let mut current = self.current.lock().await;
        if let Some((header, until)) = current.as_ref()
            && Some(header) != refused
            && Instant::now() < *until
        {
            return Ok(header.clone());
        }
        let action = format!("sign a token for cluster {:?}", self.cluster);
        let credentials = self.credentials.provide_credentials().await.map_err(|e| error::from_credentials(&action, e))?;
        let now = (self.clock)();
        let token = sign(&credentials, &self.cluster, &self.region, now)?;
        let mut header = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Error::new(Kind::Other, &action, "the token is no valid header value"))?;
        header.set_sensitive(true);
        let credentials_last = credentials.expiry().and_then(|at| at.duration_since(now).ok()).unwrap_or(LIFETIME);
        *current = Some((header.clone(), Instant::now() + LIFETIME.min(credentials_last)));
        Ok(header)
    }
}

/// A token for the cluster, signed for the regional STS host: the authenticator refuses every other host.
///
/// # Errors
/// [`Kind::Other`] where the request cannot be signed, e.g. for a region that makes no host name.
pub fn sign(credentials: &Credentials, cluster: &str, region: &str, now: SystemTime) -> Result<String, Error> {
    let action = format!("sign a token for cluster {cluster:?}");
    let fail = |message: String| Error::new(Kind::Other, &action, message);
    let suffix = arn::dns_suffix(arn::partition(region));
    let url = format!("https://sts.{region}.{suffix}/?Action=GetCallerIdentity&Version=2011-06-15");
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    // What the authenticator's own clients ask for; it goes by X-Amz-Date and allows 15 minutes whatever stands here.
    settings.expires_in = Some(Duration::from_secs(60));
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder().identity(&identity).region(region).name("sts").time(now).settings(settings).build();
    let parameters = parameters.map_err(|e| fail(e.to_string()))?.into();
    let headers = [("x-k8s-aws-id", cluster)];
    let signable =
        SignableRequest::new("GET", url.as_str(), headers.into_iter(), SignableBody::empty()).map_err(|e| fail(e.to_string()))?;
    let (instructions, _signature) = sigv4(signable, &parameters).map_err(|e| fail(e.to_string()))?.into_parts();
    let mut request = http::Request::get(url).body(()).map_err(|e| fail(e.to_string()))?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(request.uri().to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(region: &str, session: Option<&str>) -> String {
        let credentials = Credentials::new("AKIDEXAMPLE", "not-a-secret", session.map(str::to_owned), None, "test");
        let token = sign(&credentials, "demo", region, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(token.strip_prefix("k8s-aws-v1.").unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn a_token_is_a_url_of_the_regional_host_with_the_cluster_signed() {
        let url = url("eu-central-1", None);
        assert!(url.starts_with("https://sts.eu-central-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&"), "{url}");
        for part in [
            "X-Amz-Expires=60",
            "X-Amz-Date=20231114T221320Z",
            "X-Amz-SignedHeaders=host%3Bx-k8s-aws-id",
            "%2Feu-central-1%2Fsts%2Faws4_request",
        ] {
            assert!(url.contains(part), "{part} in {url}");
        }
        assert!(!url.contains("Security-Token"));
    }

    #[test]
    fn a_session_token_is_signed_along() {
        assert!(url("eu-central-1", Some("a+b/c")).contains("X-Amz-Security-Token=a%2Bb%2Fc"));
    }

    #[test]
    fn other_partitions_have_other_hosts() {
        assert!(url("cn-northwest-1", None).starts_with("https://sts.cn-northwest-1.amazonaws.com.cn/?"));
        assert!(url("us-gov-west-1", None).starts_with("https://sts.us-gov-west-1.amazonaws.com/?"));
    }

    #[tokio::test]
    async fn a_token_is_kept_until_it_is_refused() {
        fn clock() -> SystemTime {
            static TICKS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
            SystemTime::now() + Duration::from_secs(TICKS.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        }
        let credentials = SharedCredentialsProvider::new(Credentials::new("AKIDEXAMPLE", "not-a-secret", None, None, "test"));
        let tokens = Tokens::new(credentials, "demo", "eu-west-1").with_clock(clock);
        let first = tokens.header(None).await.unwrap();
        assert_eq!(tokens.header(None).await.unwrap(), first);
        let second = tokens.header(Some(&first)).await.unwrap();
        assert_ne!(second, first);
        assert_eq!(tokens.header(Some(&first)).await.unwrap(), second, "somebody else renewed it already");
        assert!(second.is_sensitive());
    }
}
