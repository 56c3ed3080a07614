//! The ordinary AWS chain, with what the provider block says on top: region, profile, a role to assume, endpoints, retries.

use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use tokio::sync::Mutex;

use crate::{Error, Kind};

/// How to reach AWS.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Region, where not the chain's.
    pub region: Option<String>,
    /// Profile of the shared configuration files, where not the chain's.
    pub profile: Option<String>,
    /// Role to assume with the chain's credentials.
    pub assume_role: Option<AssumeRole>,
    /// Endpoints, where not the SDK's.
    pub endpoints: Endpoints,
    /// Tries of one call, the first included.
    pub max_attempts: Option<u32>,
}

/// A role to assume.
#[derive(Clone, Debug, Default)]
pub struct AssumeRole {
    /// The role's ARN.
    pub role_arn: String,
    /// Session name in CloudTrail.
    pub session_name: Option<String>,
    /// What the role's trust policy may ask for.
    pub external_id: Option<String>,
    /// How long the session lasts.
    pub duration: Option<Duration>,
}

/// Endpoints by service; `None` is the SDK's choice, which honours `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>`.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// Amazon EKS.
    pub eks: Option<String>,
    /// IAM.
    pub iam: Option<String>,
    /// Amazon SQS.
    pub sqs: Option<String>,
    /// Amazon EventBridge.
    pub eventbridge: Option<String>,
    /// AWS STS.
    pub sts: Option<String>,
}

/// A loaded chain: everything but the region may be shared between regions.
#[derive(Clone, Debug)]
pub struct Chain {
    sdk: SdkConfig,
    credentials: SharedCredentialsProvider,
    region: Option<String>,
    endpoints: Endpoints,
}

/// Tries of one call where nothing else is set: throttling by IAM takes seconds to pass.
const MAX_ATTEMPTS: u32 = 8;

impl Chain {
    /// Loads the chain. Makes no calls, apart from the instance metadata service's where nothing names a region.
    pub async fn load(settings: &Settings) -> Chain {
        let retries = RetryConfig::standard()
            .with_max_attempts(settings.max_attempts.unwrap_or(MAX_ATTEMPTS))
            .with_max_backoff(Duration::from_secs(10));
        let timeouts =
            TimeoutConfig::builder().connect_timeout(Duration::from_secs(5)).operation_attempt_timeout(Duration::from_secs(30)).build();
        // Dated, so that an update of the SDK does not change what our users see.
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).retry_config(retries).timeout_config(timeouts);
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let sdk = loader.load().await;
        let region = sdk.region().map(ToString::to_string);
        let base = sdk.credentials_provider().map(Kept::new);
        let credentials = match (base, &settings.assume_role) {
            (Some(base), Some(role)) => Kept::new(assume(&sdk, base, role, &settings.endpoints).await),
            (Some(base), None) => base,
            (None, _) => SharedCredentialsProvider::new(NoChain),
        };
        let sdk = sdk.into_builder().credentials_provider(credentials.clone()).build();
        Chain { sdk, credentials, region, endpoints: settings.endpoints.clone() }
    }

    /// The credentials, fetched once and again before they expire.
    pub fn credentials(&self) -> SharedCredentialsProvider {
        self.credentials.clone()
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
        super::Clients::new(&sdk, &self.endpoints)
    }
}

async fn assume(sdk: &SdkConfig, base: SharedCredentialsProvider, role: &AssumeRole, endpoints: &Endpoints) -> AssumeRoleProvider {
    let AssumeRole { role_arn, session_name, external_id, duration } = role;
    let mut sdk = sdk.clone().into_builder();
    if let Some(url) = &endpoints.sts {
        sdk = sdk.endpoint_url(url);
    }
    let mut builder = AssumeRoleProvider::builder(role_arn)
        .session_name(session_name.as_deref().unwrap_or("terraform-provider-karpenter"))
        .configure(&sdk.build());
    if let Some(id) = external_id {
        builder = builder.external_id(id);
    }
    if let Some(duration) = duration {
        builder = builder.session_length(*duration);
    }
    builder.build_from_provider(base).await
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
