//! Names of clusters, and what follows from a region: partition and DNS suffix.

use crate::{Error, Kind};

/// A cluster as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRef {
    /// The cluster's name.
    pub name: String,
    /// Its region, where an ARN was given.
    pub region: Option<String>,
    /// The ARN, where one was given.
    pub arn: Option<String>,
}

impl ClusterRef {
    /// Parses a name, or an ARN such as `arn:aws:eks:eu-west-1:111122223333:cluster/demo`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] where it is neither.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |message: String| {
            Err(Error::new(Kind::Invalid, "read cluster_name", message)
                .remedy("Give the cluster's name, e.g. \"demo\", or its ARN, e.g. \"arn:aws:eks:eu-west-1:111122223333:cluster/demo\"."))
        };
        if !text.starts_with("arn:") {
            let mut chars = text.chars();
            let starts_well = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
            return match starts_well && text.len() <= 100 && chars.all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
                true => Ok(ClusterRef { name: text.to_owned(), region: None, arn: None }),
                false => refuse(format!(
                    "{text:?} is no name of an EKS cluster: 1 to 100 letters, digits, hyphens and underscores, the first a letter or digit"
                )),
            };
        }
        match text.splitn(6, ':').collect::<Vec<_>>()[..] {
            ["arn", _, "eks", region, account, resource] if !region.is_empty() && account.len() == 12 => {
                match resource.strip_prefix("cluster/") {
                    Some(name) if !name.is_empty() && !name.contains('/') => {
                        Ok(ClusterRef { name: name.to_owned(), region: Some(region.to_owned()), arn: Some(text.to_owned()) })
                    }
                    _ => refuse(format!("{text:?} is no ARN of an EKS cluster")),
                }
            }
            _ => refuse(format!("{text:?} is no ARN of an EKS cluster")),
        }
    }
}

/// The partition that a region is in, by the regions' prefixes.
pub fn partition(region: &str) -> &'static str {
    let prefix = |p: &str| region.starts_with(p);
    match () {
        () if prefix("cn-") => "aws-cn",
        () if prefix("us-gov-") => "aws-us-gov",
        () if prefix("us-iso-") => "aws-iso",
        () if prefix("us-isob-") => "aws-iso-b",
        () if prefix("eu-isoe-") => "aws-iso-e",
        () if prefix("us-isof-") => "aws-iso-f",
        () if prefix("eusc-") => "aws-eusc",
        () => "aws",
    }
}

/// What service hosts of a partition end in.
pub fn dns_suffix(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "amazonaws.com.cn",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-iso-e" => "cloud.adc-e.uk",
        "aws-iso-f" => "csp.hci.ic.gov",
        "aws-eusc" => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

/// Partition, region and account of an ARN; empty where it has none.
pub fn fields(arn: &str) -> (&str, &str, &str) {
    let mut parts = arn.splitn(6, ':').skip(1);
    let partition = parts.next().unwrap_or_default();
    let region = parts.nth(1).unwrap_or_default();
    (partition, region, parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_named_by_name_or_arn() {
        let arn = "arn:aws-us-gov:eks:us-gov-west-1:111122223333:cluster/demo";
        let parsed = ClusterRef::parse(arn).unwrap();
        assert_eq!((parsed.name.as_str(), parsed.region.as_deref(), parsed.arn.as_deref()), ("demo", Some("us-gov-west-1"), Some(arn)));
        assert_eq!(ClusterRef::parse("demo_1").unwrap(), ClusterRef { name: "demo_1".into(), region: None, arn: None });
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "-a",
            "a/b",
            "a b",
            "arn:aws:iam::111122223333:role/x",
            "arn:aws:eks:eu-west-1:1:cluster/x",
            "arn:aws:eks:eu-west-1:111122223333:nodegroup/x",
        ] {
            assert_eq!(ClusterRef::parse(bad).unwrap_err().kind, Kind::Invalid, "{bad}");
        }
    }

    #[test]
    fn partitions_follow_from_regions() {
        for (region, expected, suffix) in [
            ("eu-west-1", "aws", "amazonaws.com"),
            ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
            ("us-gov-east-1", "aws-us-gov", "amazonaws.com"),
            ("us-iso-east-1", "aws-iso", "c2s.ic.gov"),
            ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
            ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
        ] {
            assert_eq!((partition(region), dns_suffix(partition(region))), (expected, suffix), "{region}");
        }
    }

    #[test]
    fn an_arn_has_partition_region_and_account() {
        assert_eq!(fields("arn:aws:eks:eu-west-1:111122223333:cluster/demo"), ("aws", "eu-west-1", "111122223333"));
        assert_eq!(fields("arn:aws-cn:iam::111122223333:role/a:b"), ("aws-cn", "", "111122223333"));
    }
}
