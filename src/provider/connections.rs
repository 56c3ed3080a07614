//! From the provider block to clients: one DescribeCluster per process and cluster, everything else when first needed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::sync::{Mutex, OnceCell, watch};

use super::cluster::{Cluster, describe, identify};
use super::config::{self, Read, Registry};
use super::ignore_tags::IgnoreTags;
use super::{accounts, environment};
use crate::aws::arn::{self, ClusterRef};
use crate::aws::config::Chain;
use crate::aws::{self, token::Tokens};
use crate::kubernetes::client::{self, Access};
use crate::kubernetes::definitions::Definitions;
use crate::kubernetes::lists::Lists;
use crate::kubernetes::reads::Reads;
use crate::kubernetes::watch::Watches;
use crate::tofu::schema::Schema;
use crate::tofu::value::Value;
use crate::{Error, Kind};

/// The provider block's arguments without which AWS cannot be reached.
const FOR_AWS: [&str; 21] = [
    "region",
    "sts_region",
    "profile",
    "shared_config_files",
    "shared_credentials_files",
    "access_key",
    "secret_key",
    "token",
    "allowed_account_ids",
    "forbidden_account_ids",
    "custom_ca_bundle",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "use_fips_endpoint",
    "use_dualstack_endpoint",
    "max_retries",
    "retry_mode",
    "assume_role",
    "assume_role_with_web_identity",
    "endpoints",
];

/// Those without which the cluster's API server cannot be reached.
const FOR_KUBERNETES: [&str; 2] = ["kubernetes", "cluster_assume_role"];

/// How long a failed connection is remembered: long enough for a walk's other resources not to repeat the call, short enough
/// that a cluster made during the same walk is found.
const FAILURE: Duration = Duration::from_secs(2);

/// Everything that outlives a request: the provider block and the connections made so far.
pub struct Connections {
    schema: Schema,
    read: RwLock<Arc<Read>>,
    chain: OnceCell<Chain>,
    account_checked: OnceCell<()>,
    clusters: Mutex<HashMap<RegionAndName, Arc<Mutex<Slot>>>>,
    stopped: watch::Sender<bool>,
}

type RegionAndName = (String, String);

/// Which cluster a resource belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterChoice {
    /// This one: a name or an ARN.
    Named(String),
    /// Not known before apply.
    Unknown,
    /// Neither the resource nor the provider block says.
    None,
}

#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    failure: Option<(Instant, Error)>,
}

/// Clients of one cluster.
pub struct Connection {
    /// The cluster.
    pub cluster: Cluster,
    /// AWS clients of its region.
    pub aws: aws::Clients,
    /// Watches that waits share.
    pub watches: Watches,
    /// Lists that refreshes share.
    pub reads: Reads,
    /// CRDs that were looked at.
    pub definitions: Definitions,
    /// Lists that plans share.
    pub lists: Lists,
    credentials: SharedCredentialsProvider,
    /// `None`: the `kubernetes` block is unknown.
    access: Option<Access>,
    kube: OnceCell<kube::Client>,
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

impl Connections {
    /// Not configured: as with an empty provider block.
    pub fn new() -> Self {
        Connections {
            schema: config::schema(),
            read: RwLock::default(),
            chain: OnceCell::new(),
            account_checked: OnceCell::new(),
            clusters: Mutex::default(),
            stopped: watch::Sender::new(false),
        }
    }

    /// Takes the provider block. Makes no calls.
    pub fn configure(&self, config: &Value) {
        let read = Arc::new(config::read(&self.schema, config));
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = read;
        // a process under a debugger serves the next command after one that was interrupted
        self.stopped.send_replace(false);
    }

    /// Tags for every AWS object.
    ///
    /// # Errors
    /// [`Kind::ConfigUnknown`].
    pub fn default_tags(&self) -> Result<BTreeMap<String, String>, Error> {
        let read = self.read();
        known(&read, &["default_tags"])?;
        Ok(read.config.default_tags.clone().and_then(|d| d.tags).unwrap_or_default())
    }

    /// Tags that are left as they are on AWS objects that exist.
    ///
    /// # Errors
    /// [`Kind::ConfigUnknown`].
    pub fn ignore_tags(&self) -> Result<IgnoreTags, Error> {
        let read = self.read();
        known(&read, &["ignore_tags"])?;
        Ok(read.config.ignore_tags.clone().unwrap_or_default())
    }

    /// Credentials for a chart's repository, where the provider block has any.
    ///
    /// # Errors
    /// [`Kind::ConfigUnknown`].
    pub fn registry_auth(&self, repository: &str) -> Result<Option<Registry>, Error> {
        let read = self.read();
        known(&read, &["registry"])?;
        Ok(Registry::of(read.config.registry.as_deref().unwrap_or_default(), repository).cloned())
    }

    /// The cluster of a resource: its own `cluster_name` counts first, then the provider block's.
    pub fn cluster(&self, own: &Value) -> ClusterChoice {
        let read = self.read();
        match (own, &read.config.cluster_name) {
            (Value::String(name), _) => ClusterChoice::Named(name.clone()),
            (Value::Unknown(_), _) => ClusterChoice::Unknown,
            (_, Some(name)) => ClusterChoice::Named(name.clone()),
            (_, None) if read.unknown.contains("cluster_name") => ClusterChoice::Unknown,
            (_, None) => ClusterChoice::None,
        }
    }

    /// [`Self::connect`] for a resource's choice. Without a cluster's name but with a `kubernetes` block, the account comes from STS.
    ///
    /// # Errors
    /// As [`Self::connect`]; [`Kind::ConfigUnknown`] for an unknown choice; [`Kind::Invalid`] where nothing names a cluster.
    pub async fn choose(&self, choice: &ClusterChoice) -> Result<Arc<Connection>, Error> {
        match choice {
            ClusterChoice::Named(name) => self.connect(name).await,
            ClusterChoice::Unknown => Err(unknown("cluster_name")),
            ClusterChoice::None => {
                let read = self.read();
                known(&read, &FOR_KUBERNETES)?;
                if environment::kubernetes(read.config.kubernetes.as_ref(), false).is_none() {
                    return Err(Error::new(Kind::Invalid, "find the cluster", "no cluster is named")
                        .remedy("Set `cluster_name` in the provider block or on the resource."));
                }
                self.connect("").await
            }
        }
    }

    /// The connection to a cluster, given by name or ARN: made once, concurrent callers share the call.
    ///
    /// # Errors
    /// [`Kind::NoCredentials`], [`Kind::ConfigUnknown`], [`Kind::NotFound`] (EKS knows no such cluster), [`Kind::Forbidden`] and
    /// [`Kind::Unauthorized`] (AWS refuses), [`Kind::Invalid`] (no region, no name), [`Kind::Unavailable`].
    pub async fn connect(&self, choice: &str) -> Result<Arc<Connection>, Error> {
        let read = self.read();
        known(&read, &FOR_AWS)?;
        let wanted = match choice {
            "" => ClusterRef { name: String::new(), region: None, arn: None },
            name => ClusterRef::parse(name)?,
        };
        let chain = self.chain.get_or_try_init(|| Chain::load(&read.config)).await?;
        let region = match &wanted.region {
            Some(region) => region.clone(),
            None => chain.region().await?,
        };
        if accounts::is_guarded(&read.config) {
            self.account_checked.get_or_try_init(|| accounts::check(&read.config, chain, &region)).await?;
        }
        let slot = self.clusters.lock().await.entry((region.clone(), wanted.name.clone())).or_default().clone();
        let connection = slot.lock().await.get_or_open(open(&read, chain, &region, &wanted.name)).await?;
        match &wanted.arn {
            Some(arn) if *arn != connection.cluster.arn => {
                let message = format!("the credentials reach {:?} instead", connection.cluster.arn);
                Err(Error::new(Kind::Invalid, format!("connect to cluster {arn:?}"), message)
                    .remedy("Use credentials of the account in the ARN, for instance by `assume_role`."))
            }
            _ => Ok(connection),
        }
    }

    /// Whether a cluster that EKS did not find is gone for sure, by the ARN in the state: EKS must not know it in the ARN's own region
    /// and account, asked once more, since an answer that is too old would leave its objects behind. Clients of that region.
    ///
    /// # Errors
    /// [`Kind::Conflict`] where the cluster exists, or the credentials are of another account; what else AWS says.
    pub async fn confirm_gone(&self, recorded_arn: &str) -> Result<aws::Clients, Error> {
        let action = || format!("find cluster {recorded_arn:?} of the state");
        let (_, _, account) = arn::fields(recorded_arn);
        if recorded_arn.is_empty() {
            return Err(Error::new(
                Kind::Conflict,
                "find the state's cluster",
                "EKS does not know it, and the state does not say which account it was in",
            ));
        }
        let read = self.read();
        known(&read, &FOR_AWS)?;
        let ClusterRef { name, region, .. } = ClusterRef::parse(recorded_arn)?;
        let region = region.unwrap_or_default();
        let clients = self.chain.get_or_try_init(|| async { Chain::load(&read.config).await }).await?.clients(&region);
        match describe(&clients, &region, &name).await {
            Ok(found) if found.arn == recorded_arn => {
                return Err(Error::new(
                    Kind::Conflict,
                    action(),
                    "eks:DescribeCluster finds it, but not where the provider block and `cluster_name` lead",
                )
                .remedy("Apply again; if it stays so, check the provider's `region`, or give `cluster_name` as an ARN."));
            }
            // a cluster of the same name, of another account: whose these credentials are says the next call
            Ok(_) => {}
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
        let caller = identify(&clients, &region).await?.account_id;
        match caller == account {
            true => Ok(clients),
            false => Err(Error::new(Kind::Conflict, action(), format!("it is not in account {caller}, which the credentials are of"))
                .remedy(format!("Use credentials of account {account}, for instance by `assume_role` or `profile`."))),
        }
    }

    /// The user wants to stop.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Comes back when the user wants to stop: waits are to end then.
    pub async fn stopped(&self) {
        // It cannot fail: the sender lives as long as we do.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    fn read(&self) -> Arc<Read> {
        self.read.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Slot {
    async fn get_or_open(&mut self, open: impl Future<Output = Result<Connection, Error>>) -> Result<Arc<Connection>, Error> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        if let Some((at, error)) = &self.failure
            && at.elapsed() < FAILURE
        {
            return Err(error.again());
        }
        let connection = Arc::new(open.await.inspect_err(|error| self.failure = Some((Instant::now(), error.again())))?);
        // A cluster that is being created has no endpoint yet: ask again next time.
        if connection.cluster.name.is_empty() || !connection.cluster.endpoint.is_empty() {
            self.connection = Some(connection.clone());
        }
        Ok(connection)
    }
}

impl Connection {
    /// The Kubernetes client, made when first needed.
    ///
    /// # Errors
    /// [`Kind::ConfigUnknown`] where the `kubernetes` block is unknown or the cluster has no endpoint yet; [`Kind::Invalid`] for
    /// certificates or a kubeconfig that cannot be read; what a credential plugin says.
    pub async fn kube(&self) -> Result<kube::Client, Error> {
        let access = self.access.as_ref().ok_or_else(|| unknown("kubernetes"))?;
        let tokens = || Arc::new(Tokens::new(self.credentials.clone(), &self.cluster.name, &self.cluster.region));
        self.kube.get_or_try_init(|| client::connect(access, tokens)).await.cloned()
    }
}

/// At the plan of a create, what is not there yet is no error: `Ok` says that everything which depends on it is to be planned as
/// unknown. What AWS refuses stays an error.
///
/// # Errors
/// The same error, where it is one at plan, too.
pub fn at_plan(error: Error) -> Result<(), Error> {
    match error.kind {
        Kind::NoCredentials | Kind::NotFound | Kind::ConfigUnknown => Ok(()),
        _ => Err(error),
    }
}

async fn open(read: &Read, chain: &Chain, region: &str, name: &str) -> Result<Connection, Error> {
    let aws = chain.clients(region);
    let cluster = if name.is_empty() { identify(&aws, region).await? } else { describe(&aws, region, name).await? };
    // A `kubernetes` block is about the provider block's own cluster; another one that a resource names is reached as EKS says. `None`:
    // which of them this is shows later.
    let is_own = match read.config.cluster_name.as_deref().map(ClusterRef::parse) {
        Some(Ok(own)) => Some(own.name == name && own.region.is_none_or(|own| own == region)),
        Some(Err(_)) => Some(true),
        None if name.is_empty() => Some(true),
        None if read.unknown.contains("cluster_name") => None,
        None => Some(false),
    };
    let block = read.config.kubernetes.as_ref();
    let access = match (is_own, known(read, &FOR_KUBERNETES)) {
        (Some(false), _) => Some(Access::new(&cluster, None)),
        (None, Ok(())) if block.is_none() => Some(Access::new(&cluster, None)),
        (Some(true), Ok(())) => Some(Access::new(&cluster, environment::kubernetes(block, !name.is_empty()).as_ref())),
        (None, _) | (Some(true), Err(_)) => None,
    };
    Ok(Connection {
        cluster,
        aws,
        watches: Watches::default(),
        reads: Reads::default(),
        definitions: Definitions::default(),
        lists: Lists::default(),
        credentials: chain.credentials_for_token(),
        access,
        kube: OnceCell::new(),
    })
}

fn known(read: &Read, names: &[&str]) -> Result<(), Error> {
    match names.iter().find(|name| read.unknown.contains(**name)) {
        Some(name) => Err(unknown(name)),
        None => Ok(()),
    }
}

fn unknown(what: &str) -> Error {
    Error::new(Kind::ConfigUnknown, "connect to the cluster", format!("the provider's `{what}` is not known yet"))
}
