//! The blocks about AWS objects. They are named after the inputs of the EKS module's `karpenter` part where they mean the same.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::statement::Statement;

/// The controller's role: made by the bundle, or given.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ControllerRole {
    /// Whether the bundle makes it with its policies, `true` unless set. With `false`, `name` or `arn` says which one to use as it is.
    pub create: Option<bool>,
    /// Its name, `CLUSTER-karpenter-controller` unless set.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[\w+=,.@-]+$"))]
    pub name: Option<String>,
    /// The ARN of a role that exists, with `create = false`.
    pub arn: Option<String>,
    /// IAM path of the role and its policies, `/` unless set. It is fixed once the role exists under its name.
    #[schemars(length(max = 512))]
    pub path: Option<String>,
    /// Its description, `Karpenter on the EKS cluster CLUSTER` unless set.
    #[schemars(length(max = 1000))]
    pub description: Option<String>,
    /// ARN of the policy that bounds the role's permissions.
    pub permissions_boundary: Option<String>,
    /// Longest session in seconds, `3600` unless set.
    #[schemars(range(min = 3600, max = 43200))]
    pub max_session_duration: Option<i64>,
    /// ARNs of further policies to attach; the keys are yours. A role carries ten, those that the bundle makes included.
    pub additional_policies: Option<BTreeMap<String, String>>,
    /// Further permissions, packed into the policies that the bundle makes.
    pub policy_statement: Option<Vec<Statement>>,
    /// Who else may assume it.
    pub assume_role_statement: Option<Vec<Statement>>,
    /// Tags of this role alone, over the bundle's.
    pub tags: Option<BTreeMap<String, String>>,
}

/// The nodes' role: made by the bundle, or given.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NodeRole {
    /// Whether the bundle makes it, `true` unless set. One that exists without the bundle's tag is used and never changed.
    pub create: Option<bool>,
    /// Its name, `CLUSTER-karpenter-node-role` unless set. Where it changes, the former role stays, with a warning, until a change of the
    /// bundle or a destroy finds it out of use.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[\w+=,.@-]+$"))]
    pub name: Option<String>,
    /// Its IAM path, `/` unless set. It is fixed once the role exists under its name.
    #[schemars(length(max = 512))]
    pub path: Option<String>,
    /// Its description, `Karpenter on the EKS cluster CLUSTER` unless set.
    #[schemars(length(max = 1000))]
    pub description: Option<String>,
    /// ARN of the policy that bounds the role's permissions.
    pub permissions_boundary: Option<String>,
    /// Longest session in seconds, `3600` unless set.
    #[schemars(range(min = 3600, max = 43200))]
    pub max_session_duration: Option<i64>,
    /// Whether the CNI's policy is attached, `true` unless set. `false` where the CNI has a role of its own.
    pub attach_cni_policy: Option<bool>,
    /// Which CNI policy: `ipv4` (AWS' `AmazonEKS_CNI_Policy`) unless set, or `ipv6` (`AmazonEKS_CNI_IPv6_Policy` of this account, which
    /// must exist: AWS manages none).
    pub ip_family: Option<IpFamily>,
    /// ARNs of further policies to attach; the keys are yours.
    pub additional_policies: Option<BTreeMap<String, String>>,
    /// Tags of this role alone, over the bundle's.
    pub tags: Option<BTreeMap<String, String>>,
    /// Roles of further node classes, which exist: the controller may pass them to nodes, and each gets an access entry.
    #[schemars(inner(regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$")))]
    pub additional_arns: Option<Vec<String>>,
}

/// The cluster's addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IpFamily {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Access entries of the node roles.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AccessEntry {
    /// Whether the bundle makes them, `true` unless set. `false` where nodes are let in some other way, such as the `aws-auth` ConfigMap.
    pub create: Option<bool>,
}

/// An instance profile with the node role, for node classes that name `instance_profile`. Karpenter makes its own where they name `role`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InstanceProfile {
    /// Whether the bundle makes it, `false` unless set.
    pub create: Option<bool>,
    /// Its name, that of the node role unless set.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[\w+=,.@-]+$"))]
    pub name: Option<String>,
    /// Its IAM path, `/` unless set.
    #[schemars(length(max = 512))]
    pub path: Option<String>,
}

/// The Pod Identity association of the controller's service account.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PodIdentityAssociation {
    /// Whether the bundle makes it, `true` unless set. It makes none with `credentials = "irsa"`.
    pub create: Option<bool>,
}

/// The interruption queue.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InterruptionQueue {
    /// Whether interruptions are handled, `true` unless set. With `false` there is neither queue nor rules.
    pub enabled: Option<bool>,
    /// Whether the bundle makes the queue, `true` unless set. With `false`, `name` says which one to use as it is.
    pub create: Option<bool>,
    /// Its name, `CLUSTER-karpenter` unless set.
    #[schemars(length(min = 1, max = 80), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub name: Option<String>,
    /// Whether SQS' own key encrypts it, `true` unless set or a `kms_key_id` is.
    pub sqs_managed_sse_enabled: Option<bool>,
    /// The KMS key that encrypts it: an id, ARN or alias. Karpenter then gets `kms:Decrypt` for it; the key's policy must let
    /// `events.amazonaws.com` use `kms:Decrypt` and `kms:GenerateDataKey`.
    pub kms_key_id: Option<String>,
    /// Seconds for which SQS uses a data key again before it asks KMS, `300` unless set.
    #[schemars(range(min = 60, max = 86400))]
    pub kms_data_key_reuse_period_seconds: Option<i64>,
    /// Further statements of the queue's policy. Where they name no resources, the queue is meant.
    pub policy_statement: Option<Vec<Statement>>,
}

/// The EventBridge rules that feed the queue.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Rules {
    /// Whether the bundle makes them, `true` unless set.
    pub create: Option<bool>,
    /// What their names start with, `CLUSTER-karpenter-` unless set.
    #[schemars(length(min = 1, max = 31), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub prefix: Option<String>,
}

/// The account's service-linked role for spot instances.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SpotRole {
    /// Whether the bundle makes it where it is missing, `true` unless set. It is never deleted.
    pub create: Option<bool>,
}
