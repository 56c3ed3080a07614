//! The ordinary AWS chain, with what the provider block says on top.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig as SourceConfig;
use aws_config::retry::{RetryConfig, RetryMode as SdkRetryMode};
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::Mutex;

use super::arn::ClusterRef;
use super::assume::{Assumed, Federated};
use super::http;
use crate::provider::config::{Endpoints, ProviderConfig, RetryMode};
use crate::proxies::Proxies;
use crate::{Error, Kind};

/// A loaded chain: everything but the region may be shared between regions.
#[derive(Clone, Debug)]
pub struct Chain {
    sdk: SdkConfig,
    credentials: SharedCredentialsProvider,
    for_token: SharedCredentialsProvider,
    region: Option<String>,
    sts_region: Option<Region>,
    endpoints: Endpoints,
}

/// Tries of one call where nothing else is set: throttling by IAM takes seconds to pass.
const MAX_ATTEMPTS: u32 = 8;

impl Chain {
    /// Loads the chain. Makes no calls, apart from the instance metadata service's where nothing names a region.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for files that cannot be read, and what else contradicts itself.
    pub async fn load(config: &ProviderConfig) -> Result<Chain, Error> {
        let client = http::client(&proxies(config), variable("AWS_CA_BUNDLE", config.custom_ca_bundle.as_ref()).as_deref())?;
        let sdk = load_sdk(config, client.clone()).await;
        let region = sdk.region().map(ToString::to_string);
        let sts = || sts(&sdk, config, region.as_deref());
        let mut credentials = match (own(config, &sdk, client), &config.assume_role_with_web_identity) {
            (_, Some(block)) => Kept::new(Federated::new(sts(), block)?),
            (Some(own), None) => Kept::new(own),
            (None, None) => match sdk.credentials_provider() {
                Some(chain) => Kept::new(chain),
                None => SharedCredentialsProvider::new(NoChain),
            },
        };
        for (i, role) in config.assume_role.iter().flatten().enumerate() {
            credentials = Kept::new(Assumed::new(sts(), credentials, role, &format!("assume_role[{i}]")));
        }
        let mut for_token = credentials.clone();
        for (i, role) in config.cluster_assume_role.iter().flatten().enumerate() {
            for_token = Kept::new(Assumed::new(sts(), for_token, role, &format!("cluster_assume_role[{i}]")));
        }
        let sdk = sdk.clone().into_builder().credentials_provider(credentials.clone()).build();
        let (sts_region, endpoints) = (config.sts_region.clone().map(Region::new), config.endpoints.clone().unwrap_or_default());
        Ok(Chain { sdk, credentials, for_token, region, sts_region, endpoints })
    }

    /// The credentials that AWS is called with, fetched once and again before they expire.
    pub fn credentials(&self) -> SharedCredentialsProvider {
        self.credentials.clone()
    }

    /// The credentials that sign the cluster's token.
    pub fn credentials_for_token(&self) -> SharedCredentialsProvider {
        self.for_token.clone()
    }

    /// The region of the provider block or of the chain.
    ///
    /// # Errors
    /// [`Kind::NoCredentials`] where there are no credentials either, which says more; else [`Kind::Invalid`].
    pub async fn region(&self) -> Result<String, Error> {
        if let Some(region) = &self.region {
            return Ok(region.clone());
        }
        let action = "find the AWS region";
        self.credentials.provide_credentials().await.map_err(|e| super::error::from_credentials(action, e))?;
        Err(Error::new(Kind::Invalid, action, "neither the provider block nor AWS_REGION nor the profile names a region")
            .remedy("Set `region` in the provider block, or give `cluster_name` as the cluster's ARN."))
    }

    /// Clients for a region.
    pub fn clients(&self, region: &str) -> super::Clients {
        let sdk = self.sdk.clone().into_builder().region(Region::new(region.to_owned())).build();
        super::Clients::new(&sdk, &self.endpoints, self.sts_region.as_ref())
    }
}

/// A path with `~/` for the user's home.
pub fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}

fn proxies(config: &ProviderConfig) -> Proxies {
    let ProviderConfig { http_proxy, https_proxy, no_proxy, .. } = config;
    let written = Proxies { http: http_proxy.clone(), https: https_proxy.clone(), exceptions: String::new() };
    written.or_environment(no_proxy.as_deref())
}

/// What the provider block says, else the variable, where it is not empty.
fn variable(name: &str, written: Option<&String>) -> Option<String> {
    written.cloned().or_else(|| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

async fn load_sdk(config: &ProviderConfig, client: Option<SharedHttpClient>) -> SdkConfig {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(Duration::from_secs(5)).operation_attempt_timeout(Duration::from_secs(30)).build();
    // Dated, so that an update of the SDK does not change what our users see.
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts);
    if let Some(client) = client {
        loader = loader.http_client(client);
    }
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(files) = files(config) {
        loader = loader.profile_files(files);
    }
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(fips) = config.use_fips_endpoint {
        loader = loader.use_fips(fips);
    }
    if let Some(dual_stack) = config.use_dualstack_endpoint {
        loader = loader.use_dual_stack(dual_stack);
    }
    let sdk = loader.load().await;
    let retries = retries(config, sdk.retry_config());
    sdk.into_builder().retry_config(retries).build()
}

/// The provider block first, then the environment and the profile, as the SDK read them; its own default of three tries is too few.
fn retries(config: &ProviderConfig, found: Option<&RetryConfig>) -> RetryConfig {
    let (found_tries, found_mode) = found.map_or((3, SdkRetryMode::Standard), |found| (found.max_attempts(), found.mode()));
    let is_default = found_tries == 3 && std::env::var_os("AWS_MAX_ATTEMPTS").is_none();
    let adaptive = match config.retry_mode {
        Some(mode) => mode == RetryMode::Adaptive,
        None => found_mode == SdkRetryMode::Adaptive,
    };
    let tries = match config.max_retries {
        Some(retries) => retries.saturating_add(1),
        None if is_default => MAX_ATTEMPTS,
        None => found_tries,
    };
    let mode = if adaptive { RetryConfig::adaptive() } else { RetryConfig::standard() };
    mode.with_max_attempts(tries).with_max_backoff(Duration::from_secs(10))
}

/// The shared files, where the provider block names any; the other kind stays where it is.
fn files(config: &ProviderConfig) -> Option<EnvConfigFiles> {
    let (configs, credentials) = (config.shared_config_files.as_deref(), config.shared_credentials_files.as_deref());
    configs.or(credentials)?;
    let mut files = EnvConfigFiles::builder();
    for (kind, paths) in [(EnvConfigFileKind::Config, configs), (EnvConfigFileKind::Credentials, credentials)] {
        files = match (paths, kind) {
            (Some(paths), kind) => paths.iter().fold(files, |files, path| files.with_file(kind, expand_home(path))),
            (None, EnvConfigFileKind::Config) => files.include_default_config_file(true),
            (None, _) => files.include_default_credentials_file(true),
        };
    }
    Some(files.build())
}

/// Credentials that the provider block itself names. The SDK's chain would let those of the environment win over a profile.
fn own(config: &ProviderConfig, sdk: &SdkConfig, client: Option<SharedHttpClient>) -> Option<SharedCredentialsProvider> {
    if let (Some(key), Some(secret)) = (&config.access_key, &config.secret_key) {
        return Some(SharedCredentialsProvider::new(Credentials::new(key, secret, config.token.clone(), None, "provider block")));
    }
    let profile = config.profile.as_ref()?;
    let mut source = SourceConfig::default().with_region(sdk.region().cloned());
    if let Some(client) = client {
        source = source.with_http_client(client);
    }
    source = source.with_use_fips(sdk.use_fips()).with_use_dual_stack(sdk.use_dual_stack());
    let mut builder = ProfileFileCredentialsProvider::builder().configure(&source).profile_name(profile);
    if let Some(files) = files(config) {
        builder = builder.profile_files(files);
    }
    Some(SharedCredentialsProvider::new(builder.build()))
}

/// How STS is reached to assume a role. A cluster's ARN can be all that names a region.
fn sts(sdk: &SdkConfig, config: &ProviderConfig, region: Option<&str>) -> aws_sdk_sts::config::Builder {
    let of_cluster = || ClusterRef::parse(config.cluster_name.as_deref()?).ok()?.region;
    let mut builder = aws_sdk_sts::config::Builder::from(sdk);
    builder.set_region(config.sts_region.clone().or_else(|| region.map(str::to_owned)).or_else(of_cluster).map(Region::new));
    if let Some(url) = config.endpoints.as_ref().and_then(|e| e.sts.as_ref()) {
        builder.set_endpoint_url(Some(url.clone()));
    }
    builder
}

/// Credentials kept until shortly before they expire: the SDK keeps them per client, and we have five a cluster and a token.
#[derive(Debug)]
struct Kept<P> {
    provider: P,
    current: Mutex<Option<Credentials>>,
}

/// How long before their expiry credentials are renewed.
const RENEWAL: Duration = Duration::from_secs(5 * 60);

impl<P: ProvideCredentials + 'static> Kept<P> {
    #[allow(clippy::new_ret_no_self, reason = "only ever used behind the SDK's own trait object")]
    fn new(provider: P) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Kept { provider, current: Mutex::default() })
    }

    async fn credentials(&self) -> provider::Result {
        let mut current = self.current.lock().await;
        if let Some(kept) = current.as_ref()
            && kept.expiry().is_none_or(|at| at > SystemTime::now() + RENEWAL)
        {
            return Ok(kept.clone());
        }
        let fresh = self.provider.provide_credentials().await?;
        *current = Some(fresh.clone());
        Ok(fresh)
    }
}

impl<P: ProvideCredentials + 'static> ProvideCredentials for Kept<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

/// A chain without any source, so that the error is the same as of sources that have nothing.
#[derive(Debug)]
struct NoChain;

impl ProvideCredentials for NoChain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(provider::error::CredentialsError::not_loaded_no_source()))
    }
}
