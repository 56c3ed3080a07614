//! The `kubelet` block of a node class.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the kubelet.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kubelet {
    /// DNS servers of the cluster.
    #[serde(rename = "clusterDNS")]
    pub cluster_dns: Option<Vec<String>>,
    /// Whether CPU limits are enforced by CFS quota.
    #[serde(rename = "cpuCFSQuota")]
    pub cpu_cfs_quota: Option<bool>,
    /// Signals below which pods are evicted at once, e.g. `{ "memory.available" = "5%" }`.
    #[schemars(extend("x-tofu" = {"open": true}))]
    pub eviction_hard: Option<BTreeMap<String, String>>,
    /// Most seconds that a pod evicted by a soft signal gets.
    pub eviction_max_pod_grace_period: Option<i32>,
    /// Signals below which pods are evicted after the grace period of the same key.
    #[schemars(extend("x-tofu" = {"open": true}))]
    pub eviction_soft: Option<BTreeMap<String, String>>,
    /// Grace period of each soft signal.
    #[schemars(extend("x-tofu" = {"open": true}))]
    pub eviction_soft_grace_period: Option<BTreeMap<String, String>>,
    /// Percentage of the disk above which images are always removed.
    #[serde(rename = "imageGCHighThresholdPercent")]
    #[schemars(range(min = 0, max = 100))]
    pub image_gc_high_threshold_percent: Option<i32>,
    /// Percentage of the disk below which images are never removed.
    #[serde(rename = "imageGCLowThresholdPercent")]
    #[schemars(range(min = 0, max = 100))]
    pub image_gc_low_threshold_percent: Option<i32>,
    /// Resources kept for the Kubernetes daemons.
    #[schemars(extend("x-tofu" = {"open": true, "values": "quantity"}))]
    pub kube_reserved: Option<BTreeMap<String, String>>,
    /// Most pods of a node.
    #[schemars(range(min = 0))]
    pub max_pods: Option<i32>,
    /// Most pods of a core.
    #[schemars(range(min = 0))]
    pub pods_per_core: Option<i32>,
    /// Resources kept for the system's daemons.
    #[schemars(extend("x-tofu" = {"open": true, "values": "quantity"}))]
    pub system_reserved: Option<BTreeMap<String, String>>,
}
