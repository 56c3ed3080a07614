//! What templates may ask about the cluster.

use std::collections::BTreeSet;

use super::{Result, invalid};

/// The cluster's version and the API versions it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `v1.36.3`; an EKS version such as `1.36` becomes `v1.36.0`.
    pub kube_version: String,
    /// Served `group/version`s, as far as they are known without asking.
    pub api_versions: BTreeSet<String>,
}

/// What every API server since 1.25 serves; whatever else a template asks about is looked up, see `Rendered::asked`.
const BUILT_IN: &[&str] = &[
    "v1",
    "admissionregistration.k8s.io/v1",
    "apiextensions.k8s.io/v1",
    "apiregistration.k8s.io/v1",
    "apps/v1",
    "authentication.k8s.io/v1",
    "authorization.k8s.io/v1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "certificates.k8s.io/v1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "events.k8s.io/v1",
    "networking.k8s.io/v1",
    "node.k8s.io/v1",
    "policy/v1",
    "rbac.authorization.k8s.io/v1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1",
];

impl Capabilities {
    /// A cluster of this version with the built-in APIs; the version is DescribeCluster's (`1.36`) or the server's (`v1.36.3-eks-1`).
    pub fn new(kube_version: &str) -> Result<Self> {
        let plain = kube_version.trim().trim_start_matches('v');
        let core = plain.split(['-', '+']).next().unwrap_or_default();
        let numbers: Vec<&str> = core.split('.').collect();
        if numbers.len() < 2 || numbers.len() > 3 || numbers.iter().any(|n| n.parse::<u64>().is_err()) {
            return Err(invalid("read the cluster's version", format!("{kube_version:?} is no Kubernetes version")));
        }
        let kube_version = if numbers.len() == 2 { format!("v{core}.0{}", &plain[core.len()..]) } else { format!("v{plain}") };
        Ok(Capabilities { kube_version, api_versions: BUILT_IN.iter().map(|v| (*v).to_owned()).collect() })
    }

    /// Asks the API server for its version (one call).
    pub async fn of(client: &kube::Client) -> Result<Self> {
        let info = client.apiserver_version().await.map_err(|e| crate::kubernetes::from_kube("read the cluster's version", e))?;
        Self::new(&info.git_version)
    }

    /// Asks the API server which group versions it serves (one call) and adds them.
    pub async fn with_served(mut self, client: &kube::Client) -> Result<Self> {
        let groups = client.list_api_groups().await.map_err(|e| crate::kubernetes::from_kube("list the served API groups", e))?;
        self.api_versions.extend(groups.groups.into_iter().flat_map(|g| g.versions).map(|v| v.group_version));
        Ok(self)
    }
}
