//! What EKS says of a cluster.

use crate::aws::{Clients, arn, error::from_sdk};
use crate::{Error, Kind};

/// What is known of a cluster. Texts are empty where EKS does not say, or where there is only a `kubernetes` block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The account, 12 digits.
    pub account_id: String,
    /// `aws`, `aws-cn`, `aws-us-gov`, ...
    pub partition: String,
    /// Its region.
    pub region: String,
    /// `ACTIVE`, `CREATING`, ...
    pub status: String,
    /// URL of its API server; empty while the cluster is being created.
    pub endpoint: String,
    /// Its certificate authority, base64 of PEM as EKS says it.
    pub ca: String,
    /// E.g. `1.36`.
    pub kubernetes_version: String,
    /// Issuer of service account tokens, with `https://`.
    pub oidc_issuer: String,
    /// `API`, `API_AND_CONFIG_MAP` or `CONFIG_MAP`.
    pub auth_mode: String,
    /// Addresses of services: IPv4, or IPv6 where the cluster has no IPv4.
    pub service_cidr: String,
    /// Whether it is in EKS Auto Mode.
    pub auto_mode: bool,
}

/// The cluster of that name: one DescribeCluster.
///
/// # Errors
/// [`Kind::NotFound`] where EKS knows no such cluster, else what AWS says.
pub async fn describe(aws: &Clients, region: &str, name: &str) -> Result<Cluster, Error> {
    let action = format!("eks:DescribeCluster {name} in {region}");
    let answer = aws.eks.describe_cluster().name(name).send().await.map_err(|e| match from_sdk(&action, e) {
        e if e.kind == Kind::NotFound => e.remedy("Check `cluster_name`, `region` and the account that the credentials belong to."),
        e => e,
    })?;
    let Some(found) = answer.cluster else {
        return Err(Error::new(Kind::Other, action, "EKS answered without a cluster"));
    };
    let arn = found.arn.unwrap_or_default();
    let (partition, _, account_id) = arn::fields(&arn);
    Ok(Cluster {
        name: name.to_owned(),
        account_id: account_id.to_owned(),
        partition: partition.to_owned(),
        region: region.to_owned(),
        status: found.status.map(|s| s.as_str().to_owned()).unwrap_or_default(),
        endpoint: found.endpoint.unwrap_or_default(),
        ca: found.certificate_authority.and_then(|ca| ca.data).unwrap_or_default(),
        kubernetes_version: found.version.unwrap_or_default(),
        oidc_issuer: found.identity.and_then(|i| i.oidc).and_then(|o| o.issuer).unwrap_or_default(),
        auth_mode: found.access_config.and_then(|a| a.authentication_mode).map(|m| m.as_str().to_owned()).unwrap_or_default(),
        service_cidr: found.kubernetes_network_config.and_then(|n| n.service_ipv4_cidr.or(n.service_ipv6_cidr)).unwrap_or_default(),
        auto_mode: found.compute_config.and_then(|c| c.enabled).unwrap_or_default(),
        arn,
    })
}

/// A cluster of which only the account is known: one GetCallerIdentity.
///
/// # Errors
/// What AWS says.
pub async fn identify(aws: &Clients, region: &str) -> Result<Cluster, Error> {
    let answer = aws.sts.get_caller_identity().send().await.map_err(|e| from_sdk("sts:GetCallerIdentity", e))?;
    Ok(Cluster {
        account_id: answer.account.unwrap_or_default(),
        partition: arn::partition(region).to_owned(),
        region: region.to_owned(),
        ..Cluster::default()
    })
}
