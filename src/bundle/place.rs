//! Where a cluster is, and what follows from that: ARNs and service names of its partition.

use crate::provider::Cluster;

/// A cluster's place, and what EKS says of it that decides what a bundle consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// E.g. `aws`, `aws-cn`.
    pub partition: String,
    /// E.g. `eu-central-1`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
    /// The cluster's name.
    pub cluster: String,
    /// Issuer of its service accounts' tokens, without `https://`; empty where it is not known.
    pub oidc_issuer: String,
    /// Whether EKS lets roles in by access entries: not in the authentication mode `CONFIG_MAP`.
    pub has_access_entries: bool,
}

impl Place {
    /// The place that a cluster's ARN names; `None` for any other text.
    pub fn of_arn(arn: &str) -> Option<Place> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, "eks", region, account, resource] = parts[..] else { return None };
        let own = str::to_owned;
        Some(Place {
            partition: own(partition),
            region: own(region),
            account: own(account),
            cluster: own(resource.strip_prefix("cluster/")?),
            oidc_issuer: String::new(),
            has_access_entries: true,
        })
    }

    /// The place of a cluster that EKS described; `None` where there is only a `kubernetes` block.
    pub fn of_cluster(cluster: &Cluster) -> Option<Place> {
        Some(Place {
            oidc_issuer: cluster.oidc_issuer.trim_start_matches("https://").to_owned(),
            has_access_entries: cluster.auth_mode != "CONFIG_MAP",
            ..Place::of_arn(&cluster.arn)?
        })
    }

    /// The cluster's ARN.
    pub fn arn(&self) -> String {
        format!("arn:{}:eks:{}:{}:cluster/{}", self.partition, self.region, self.account, self.cluster)
    }

    /// The ARN of a role, a policy or an instance profile; `path` starts and ends with a slash.
    pub fn iam_arn(&self, kind: &str, path: &str, name: &str) -> String {
        format!("arn:{}:iam::{}:{kind}{path}{name}", self.partition, self.account)
    }

    /// The ARN of a policy that AWS manages.
    pub fn managed_policy(&self, name: &str) -> String {
        format!("arn:{}:iam::aws:policy/{name}", self.partition)
    }

    /// The ARN of IAM's OIDC provider for the cluster's issuer.
    pub fn oidc_provider(&self) -> String {
        format!("arn:{}:iam::{}:oidc-provider/{}", self.partition, self.account, self.oidc_issuer)
    }

    /// The ARN of something of a regional service.
    pub fn regional_arn(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{resource}", self.partition, self.region, self.account)
    }

    /// EC2's name in trust policies: China's partition has its own.
    pub fn ec2_service(&self) -> &'static str {
        if self.partition == "aws-cn" { "ec2.amazonaws.com.cn" } else { "ec2.amazonaws.com" }
    }
}
