//! What a user may write in `karpenter_bundle`, and what it computes: the only declaration of each attribute.

mod aws;

use std::collections::BTreeMap;

pub use aws::{
    AccessEntry, ControllerRole, InstanceProfile, InterruptionQueue, IpFamily, NodeRole, PodIdentityAssociation, Rules, SpotRole,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Karpenter on one EKS cluster, as one resource: the controller's IAM role with its policies and Pod Identity association,
/// the interruption queue with its EventBridge rules, the node role with its access entry, the CRDs and the chart.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Arguments {
    /// The EKS cluster, by name or ARN. The provider's `cluster_name` unless set. Another cluster replaces the bundle.
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "requires_replace": true}))]
    pub cluster_name: Option<String>,
    /// Karpenter's version, e.g. `1.14.1`. Unless set, the newest one that the repository offers at create, and kept from then on.
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true}))]
    pub version: Option<String>,
    /// Namespace of the controller, `kube-system` unless set. The chart's installation makes it where it is missing, see
    /// `chart.create_namespace`; a destroy leaves it.
    #[schemars(
        extend("x-tofu" = {"computed": true, "optional": true, "default": "kube-system"}),
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: Option<String>,
    /// Name of the controller's service account, `karpenter` unless set.
    #[schemars(
        extend("x-tofu" = {"computed": true, "optional": true, "default": "karpenter", "format": "object_name"}),
        length(min = 1, max = 253)
    )]
    pub service_account: Option<String>,
    /// How the controller gets its AWS credentials: `pod_identity` unless set, which wants the EKS Pod Identity agent on the nodes that it
    /// runs on, or `irsa`, which wants the cluster's IAM OIDC provider. A change keeps both until the controller runs with the new ones.
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "default": "pod_identity"}))]
    pub credentials: Option<Credentials>,
    /// Whether a destroy deletes the node pools first and waits for their nodes to go, `false` unless set. Otherwise it refuses while nodes exist.
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "default": false}))]
    pub force_destroy: Option<bool>,
    /// Tags of every AWS object that the bundle owns, besides the provider's `default_tags`.
    pub tags: Option<BTreeMap<String, String>>,
    /// The Helm chart.
    pub chart: Option<Chart>,
    /// The controller's IAM role.
    pub controller_role: Option<ControllerRole>,
    /// The nodes' IAM role.
    pub node_role: Option<NodeRole>,
    /// Access entries, which let nodes with these roles join the cluster.
    pub access_entry: Option<AccessEntry>,
    /// An instance profile with the node role.
    pub instance_profile: Option<InstanceProfile>,
    /// The Pod Identity association.
    pub pod_identity_association: Option<PodIdentityAssociation>,
    /// The queue through which AWS announces interruptions.
    pub interruption_queue: Option<InterruptionQueue>,
    /// The EventBridge rules that feed the queue.
    pub rules: Option<Rules>,
    /// The service-linked role for spot instances.
    pub spot_role: Option<SpotRole>,
    /// How long to wait.
    pub timeouts: Option<Timeouts>,

    /// Name of the controller's role.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub controller_role_name: Option<String>,
    /// ARN of the controller's role.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub controller_role_arn: Option<String>,
    /// IAM's unique id of the controller's role.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub controller_role_unique_id: Option<String>,
    /// Name of the nodes' role, as an EC2NodeClass' `role` wants it.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub node_role_name: Option<String>,
    /// ARN of the nodes' role.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub node_role_arn: Option<String>,
    /// IAM's unique id of the nodes' role.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub node_role_unique_id: Option<String>,
    /// ARN of the node role's access entry; null where the bundle wants none.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub access_entry_arn: Option<String>,
    /// Name of the instance profile; null where the bundle makes none.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub instance_profile_name: Option<String>,
    /// ARN of the instance profile; null where the bundle makes none.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub instance_profile_arn: Option<String>,
    /// IAM's unique id of the instance profile; null where the bundle makes none.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub instance_profile_unique_id: Option<String>,
    /// ARNs of the EventBridge rules by their names.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub event_rules: Option<BTreeMap<String, String>>,
    /// Name of the interruption queue; null where it is disabled.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub queue_name: Option<String>,
    /// ARN of the interruption queue; null where it is disabled.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub queue_arn: Option<String>,
    /// URL of the interruption queue; null where it is disabled.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub queue_url: Option<String>,
    /// Whether the chart's Deployment was ready when last looked at. `true` where the bundle installs no chart.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub ready: Option<bool>,
    /// Why it was not ready, by the Deployment's or a pod's own words; null where it was.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub ready_reason: Option<String>,
    /// Karpenter's version of each CRD that is as the bundle wants it; empty where the bundle does not manage them.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub crd_versions: Option<BTreeMap<String, String>>,
    /// Every object of the bundle by its logical name: `in sync`, `missing`, `not managed`, or what differs from what the bundle wants.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub objects: Option<BTreeMap<String, String>>,
    /// ARN of the cluster.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub cluster_arn: Option<String>,
    /// The AWS account of the cluster.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    pub account_id: Option<String>,
}

/// How the controller gets its AWS credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// By the EKS Pod Identity agent.
    #[default]
    PodIdentity,
    /// By IAM roles for service accounts.
    Irsa,
}

/// The chart: where it is from and what is set.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Chart {
    /// Whether to install it, `true` unless set. With `false` the bundle is AWS objects only and never contacts the API server.
    pub create: Option<bool>,
    /// An OCI repository that holds the chart `karpenter`, a directory, or a `.tgz` file. `oci://public.ecr.aws/karpenter` unless set. Credentials
    /// are the provider's `registry` blocks, or what `helm registry login` or `docker login` left.
    pub repository: Option<String>,
    /// Name of the Helm release, `karpenter` unless set.
    #[schemars(extend("x-tofu" = {"format": "object_name"}), length(min = 1, max = 53))]
    pub release_name: Option<String>,
    /// Values as YAML texts, later ones over earlier ones. The bundle sets `settings.clusterName`, `settings.interruptionQueue` and
    /// `serviceAccount.name` where these do not; a plan warns where they say something else.
    pub values: Option<Vec<String>>,
    /// Values one by one, over `values`.
    pub set: Option<Vec<SetValue>>,
    /// Values one by one that no plan shows, over `set`. They are in the state and in the release's Secret, as with `helm_release`.
    pub set_sensitive: Option<Vec<SetSensitive>>,
    /// Revisions of the release that are kept, 10 unless set; 0 keeps all.
    #[schemars(range(min = 0))]
    pub max_history: Option<i64>,
    /// Whether an upgrade that fails, or whose Deployment is not ready in time, is rolled back to the revision before it, `false` unless set. A
    /// first install has none to go back to.
    pub atomic: Option<bool>,
    /// Whether to make the bundle's namespace where it does not exist, `true` unless set. It stays at a destroy.
    pub create_namespace: Option<bool>,
    /// Whether the bundle installs and upgrades the CRDs, `true` unless set. Those that EKS Auto Mode keeps are left alone.
    pub manage_crds: Option<bool>,
    /// Whether a destroy deletes the CRDs that the bundle installed, `false` unless set. It refuses while objects of theirs are left.
    pub delete_crds: Option<bool>,
    /// Whether to take over a release or CRDs that exist and that the bundle did not make, `false` unless set.
    pub adopt: Option<bool>,
    /// Whether to wait until the Deployment is ready, `true` unless set.
    pub wait: Option<bool>,
}

/// One value of the chart.
#[derive(Clone, Default, Deserialize, JsonSchema)]
pub struct SetValue {
    /// Its path as `helm --set` writes it: `controller.env[0].name`, `nodeSelector.kubernetes\\.io/os`.
    #[schemars(required, length(min = 1))]
    pub name: Option<String>,
    /// Its value.
    #[schemars(required)]
    pub value: Option<String>,
    /// How the value is read: `auto` (as `helm --set`, the default), `string` or `literal`.
    #[serde(rename = "type")]
    pub kind: Option<SetType>,
}

/// One secret value of the chart.
#[derive(Clone, Default, Deserialize, JsonSchema)]
pub struct SetSensitive {
    /// Its path as `helm --set` writes it.
    #[schemars(required, length(min = 1))]
    pub name: Option<String>,
    /// Its value.
    #[schemars(required, extend("x-tofu" = {"sensitive": true}))]
    pub value: Option<String>,
    /// How the value is read: `auto` (as `helm --set`, the default), `string` or `literal`.
    #[serde(rename = "type")]
    pub kind: Option<SetType>,
}

/// How a value that is set is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SetType {
    /// `true`, `null`, `5` and `{a,b}` are what they look like.
    #[default]
    Auto,
    /// Text, whatever it looks like; `{a,b}` is a list still.
    String,
    /// Text to its last character.
    Literal,
}

// values are in no log: one of them may be a secret
impl std::fmt::Debug for SetValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetValue").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SetSensitive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetSensitive").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How long each operation may take.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Timeouts {
    /// A create, `10m` unless set.
    #[schemars(extend("x-tofu" = {"format": "duration"}))]
    pub create: Option<String>,
    /// An update, `10m` unless set.
    #[schemars(extend("x-tofu" = {"format": "duration"}))]
    pub update: Option<String>,
    /// A delete, `15m` unless set.
    #[schemars(extend("x-tofu" = {"format": "duration"}))]
    pub delete: Option<String>,
}
