//! What a bundle should be: every object with its name and contents, from the arguments alone. No client is needed here.

mod events;
mod roles;

pub(super) use events::DATA_KEY_REUSE;
pub(super) use roles::{SESSION, interim_policy};

use std::collections::BTreeMap;

use semver::Version;
use serde_json::{Value as Json, json};

use super::arguments::{self, Arguments, Credentials, SetType};
use super::events::Rule;
pub use super::place::Place;
use crate::Error;

/// Tag with the cluster's ARN: whoever carries it belongs to the bundle of that cluster.
pub const OWNER_TAG: &str = "karpenter-tofu/cluster";
/// Tag that a bundle under construction carries on its first object.
pub const CREATING_TAG: &str = "karpenter-tofu/creating";

/// Where Karpenter's charts are published.
pub const REPOSITORY: &str = "oci://public.ecr.aws/karpenter";

/// Revisions of the release that are kept, as Helm keeps them.
const MAX_HISTORY: usize = 10;

/// The whole inventory.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Karpenter's version.
    pub version: Version,
    /// Where the cluster is.
    pub place: Place,
    /// Tags of every owned AWS object, the owner tag among them.
    pub tags: BTreeMap<String, String>,
    /// How the controller gets its credentials.
    pub credentials: Credentials,
    /// The controller's role.
    pub controller_role: Role,
    /// The controller's policies; none where its role is given.
    pub policies: Vec<Policy>,
    /// The Pod Identity association, where the bundle makes one.
    pub association: Option<Association>,
    /// The interruption queue, where enabled.
    pub queue: Option<Queue>,
    /// The rules that feed the queue.
    pub rules: Vec<Rule>,
    /// The nodes' role.
    pub node_role: Role,
    /// Access entries of the node role and of further ones.
    pub access_entries: Vec<AccessEntry>,
    /// The instance profile, where the bundle makes one.
    pub instance_profile: Option<InstanceProfile>,
    /// Whether the bundle makes the service-linked role for spot instances where it is missing.
    pub spot_role: bool,
    /// The chart, where the bundle installs it.
    pub chart: Option<Chart>,
}

/// An IAM role.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// Its logical name, a key of `objects`.
    pub key: &'static str,
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Its contents, where the bundle makes it.
    pub made: Option<MadeRole>,
}

/// The contents of a role that the bundle makes.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeRole {
    /// IAM path, `/` or `/.../`.
    pub path: String,
    /// Its description, where the arguments say one; another one is then a difference.
    pub description: Option<String>,
    /// Who may assume it.
    pub trust: Json,
    /// The boundary's ARN.
    pub permissions_boundary: Option<String>,
    /// Longest session in seconds.
    pub max_session_duration: i64,
    /// ARNs of the policies that must be attached to it.
    pub attached: Vec<String>,
    /// ARNs of policies that a change attaches while it lasts, and that must not be there otherwise.
    pub interim: Vec<String>,
    /// Its own tags, over the bundle's.
    pub tags: BTreeMap<String, String>,
    /// Whether an existing untagged role of that name is used as it is, rather than refused.
    pub may_be_foreign: bool,
}

/// A managed policy of the controller.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its logical name, a key of `objects`.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// IAM path.
    pub path: String,
    /// The document.
    pub document: Json,
}

/// The Pod Identity association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// The controller's namespace.
    pub namespace: String,
    /// The controller's service account.
    pub service_account: String,
    /// The controller's role.
    pub role_arn: String,
}

/// The interruption queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Its contents, where the bundle makes it.
    pub made: Option<MadeQueue>,
}

/// The contents of a queue that the bundle makes.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeQueue {
    /// SQS attributes by SQS' names, as SQS spells their values; the policy apart.
    pub attributes: BTreeMap<String, String>,
    /// The queue policy.
    pub policy: Json,
}

/// An access entry, by which nodes with a role join the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// Its logical name, a key of `objects`.
    pub key: String,
    /// The role.
    pub role_arn: String,
}

/// An instance profile with the node role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceProfile {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// IAM path.
    pub path: String,
    /// The role in it.
    pub role_name: String,
}

/// The chart and what goes into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// OCI repository, directory or archive.
    pub repository: String,
    /// Karpenter's version.
    pub version: Version,
    /// Name of the Helm release.
    pub release_name: String,
    /// Its namespace.
    pub namespace: String,
    /// Whether the namespace is made where it is absent.
    pub create_namespace: bool,
    /// The user's values as YAML texts.
    pub values: Vec<String>,
    /// The user's values one by one, over those texts.
    pub set: Vec<SetValue>,
    /// What the bundle sets where the user does not.
    pub injected: Json,
    /// Whether CRDs are the bundle's.
    pub manage_crds: bool,
    /// Whether they go at a destroy.
    pub delete_crds: bool,
    /// Whether a foreign release or foreign CRDs are taken over.
    pub adopt: bool,
    /// Whether to wait for readiness.
    pub wait: bool,
    /// Whether an upgrade that fails is rolled back.
    pub atomic: bool,
    /// Revisions kept; 0 keeps all.
    pub max_history: usize,
}

impl Chart {
    /// Namespace and name of the release.
    pub fn place(&self) -> (String, String) {
        (self.namespace.clone(), self.release_name.clone())
    }
}

/// One value by its path.
#[derive(Clone, PartialEq)]
pub struct SetValue {
    /// As `helm --set` writes it.
    pub name: String,
    /// Its value.
    pub value: String,
    /// How the value is read.
    pub kind: SetType,
    /// Whether the value is a secret.
    pub sensitive: bool,
}

impl std::fmt::Debug for SetValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetValue").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Everything that a bundle should be.
///
/// # Errors
/// `Invalid`, with the argument's path, for arguments that make no bundle.
pub fn desired(arguments: &Arguments, version: &Version, place: &Place, default_tags: &BTreeMap<String, String>) -> Result<Desired, Error> {
    let queue = events::queue(arguments, place);
    let node_role = roles::node(arguments, version, place);
    let access_entries = roles::access_entries(arguments, place, &node_role);
    let namespace = arguments.namespace.clone().unwrap_or_else(|| "kube-system".into());
    let service_account = arguments.service_account.clone().unwrap_or_else(|| "karpenter".into());
    let (controller_role, policies) = roles::controller(arguments, version, place, &node_role, queue.as_ref())?;
    let credentials = arguments.credentials.unwrap_or_default();
    let associates = credentials == Credentials::PodIdentity
        && arguments.pod_identity_association.as_ref().is_none_or(|association| association.create != Some(false));
    let chart = chart(arguments, version, place, queue.as_ref(), &controller_role);
    let mut tags = default_tags.clone();
    tags.extend(arguments.tags.clone().unwrap_or_default());
    tags.insert(OWNER_TAG.into(), place.arn());
    Ok(Desired {
        tags,
        credentials,
        association: associates.then(|| Association { namespace, service_account, role_arn: controller_role.arn.clone() }),
        rules: events::rules(arguments, version, place, queue.as_ref()),
        instance_profile: roles::instance_profile(arguments, place, &node_role),
        spot_role: arguments.spot_role.as_ref().is_none_or(|role| role.create != Some(false)),
        version: version.clone(),
        place: place.clone(),
        controller_role,
        policies,
        queue,
        node_role,
        access_entries,
        chart,
    })
}

fn chart(arguments: &Arguments, version: &Version, place: &Place, queue: Option<&Queue>, controller_role: &Role) -> Option<Chart> {
    let chart = arguments.chart.clone().unwrap_or_default();
    if chart.create == Some(false) {
        return None;
    }
    let service_account = arguments.service_account.as_deref().unwrap_or("karpenter");
    let mut injected = json!({"settings": {"clusterName": place.cluster}, "serviceAccount": {"name": service_account}});
    if let Some(queue) = queue {
        injected["settings"]["interruptionQueue"] = json!(queue.name);
    }
    if arguments.credentials == Some(Credentials::Irsa) {
        injected["serviceAccount"]["annotations"] = json!({ROLE_ANNOTATION: controller_role.arn});
    }
    let arguments::Chart {
        create: _,
        repository,
        release_name,
        values,
        set,
        set_sensitive,
        max_history,
        atomic,
        create_namespace,
        manage_crds,
        delete_crds,
        adopt,
        wait,
    } = chart;
    let one = |name: Option<String>, value: Option<String>, kind: Option<SetType>, sensitive| {
        Some(SetValue { name: name?, value: value?, kind: kind.unwrap_or_default(), sensitive })
    };
    let plain = set.into_iter().flatten().filter_map(|arguments::SetValue { name, value, kind }| one(name, value, kind, false));
    let secret = set_sensitive.into_iter().flatten();
    let secret = secret.filter_map(|arguments::SetSensitive { name, value, kind }| one(name, value, kind, true));
    Some(Chart {
        repository: repository.unwrap_or_else(|| REPOSITORY.into()),
        version: version.clone(),
        release_name: release_name.unwrap_or_else(|| "karpenter".into()),
        namespace: arguments.namespace.clone().unwrap_or_else(|| "kube-system".into()),
        create_namespace: create_namespace != Some(false),
        values: values.unwrap_or_default(),
        set: plain.chain(secret).collect(),
        injected,
        manage_crds: manage_crds != Some(false),
        delete_crds: delete_crds == Some(true),
        adopt: adopt == Some(true),
        wait: wait != Some(false),
        atomic: atomic == Some(true),
        max_history: max_history.map_or(MAX_HISTORY, |most| usize::try_from(most).unwrap_or_default()),
    })
}

/// Annotation of a service account by which EKS gives its pods a role's credentials.
pub const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";

#[cfg(test)]
mod tests;
