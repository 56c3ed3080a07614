//! Grammars of AWS' texts in an EC2NodeClass.

/// The families that an alias may name, and the `ami_family` that each stands for.
pub const FAMILIES: [(&str, &str); 6] = [
    ("al2", "AL2"),
    ("al2023", "AL2023"),
    ("bottlerocket", "Bottlerocket"),
    ("windows2019", "Windows2019"),
    ("windows2022", "Windows2022"),
    ("windows2025", "Windows2025"),
];

/// The `ami_family` that an alias stands for.
pub fn family_of(alias: &str) -> Option<&'static str> {
    let (name, _) = alias.split_once('@')?;
    FAMILIES.iter().find(|(known, _)| *known == name).map(|(_, family)| *family)
}

/// `FAMILY@VERSION`.
///
/// # Errors
/// What would be right.
pub fn ami_alias(alias: &str) -> Result<(), String> {
    let (name, version) = alias.split_once('@').unwrap_or((alias, ""));
    if family_of(alias).is_none() {
        let known: Vec<&str> = FAMILIES.iter().map(|(known, _)| *known).collect();
        return Err(format!("a family and a version such as \"al2023@latest\"; the families are {}", known.join(", ")));
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let right = match name {
        _ if version == "latest" => return Ok(()),
        "al2" | "al2023" if version.strip_prefix('v').is_some_and(digits) => return Ok(()),
        "bottlerocket" if is_release(version.strip_prefix('v').unwrap_or(version)) => return Ok(()),
        "al2" | "al2023" => format!("\"{name}@latest\", or with the date of a release as in \"{name}@v20250403\""),
        "bottlerocket" => "\"bottlerocket@latest\", or with a release as in \"bottlerocket@v1.20.4\"".to_owned(),
        _ => format!("\"{name}@latest\": Karpenter knows no other version of Windows images"),
    };
    Err(right)
}

/// `1.20.4`, and what may follow it after a dash.
fn is_release(version: &str) -> bool {
    let (numbers, rest) = version.split_once('-').map_or((version, None), |(numbers, rest)| (numbers, Some(rest)));
    let parts: Vec<&str> = numbers.split('.').collect();
    parts.len() == 3
        && parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
        && rest.is_none_or(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

/// `PREFIX-` and lower-case letters and digits.
///
/// # Errors
/// What would be right.
pub fn id(prefix: &str, text: &str) -> Result<(), String> {
    let rest = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    let fits = rest.is_some_and(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    fits.then_some(()).ok_or_else(|| format!("an id such as \"{prefix}-0123456789abcdef0\""))
}

/// Twelve digits.
///
/// # Errors
/// What would be right.
pub fn account_id(text: &str) -> Result<(), String> {
    let fits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    fits.then_some(()).ok_or_else(|| "the twelve digits of an account such as \"123456789012\"".to_owned())
}

/// The sizes that Karpenter takes for a volume: whole `Gi`, `G`, `Ti` or `T`, within EBS' bounds.
///
/// # Errors
/// What would be right.
pub fn volume_size(text: &str) -> Result<(), String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number = number.parse::<u32>().ok().filter(|_| !number.starts_with('0'));
    let fits = number.is_some_and(|n| match unit {
        "Gi" => n <= 59_000,
        "G" => n <= 64_000,
        // the CRD's own gaps: 18Ti is refused, 18432Gi is not
        "Ti" => n <= 58 && (n < 10 || n % 10 <= 7 || n == 58),
        "T" => n <= 64,
        _ => false,
    });
    fits.then_some(()).ok_or_else(|| {
        "a whole number and one of Gi (1 to 59000), G (1 to 64000), Ti (1 to 58, but none that ends in 8 or 9 above 10) and T (1 to 64), \
         such as \"100Gi\""
            .to_owned()
    })
}

/// The key of a tag that EC2 takes and that Karpenter does not write itself.
///
/// # Errors
/// What would be right.
pub fn own_tag(key: &str) -> Result<(), String> {
    const KARPENTERS: [&str; 4] =
        ["eks:eks-cluster-name", "karpenter.sh/nodepool", "karpenter.sh/nodeclaim", "karpenter.k8s.aws/ec2nodeclass"];
    if KARPENTERS.contains(&key) || key.starts_with("kubernetes.io/cluster") {
        return Err("another tag: Karpenter writes this one itself, so leave it out".to_owned());
    }
    let reserved = key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
    match key.chars().count() {
        0 => Err("a tag's key, which is not empty".to_owned()),
        129.. => Err("a tag's key of at most 128 characters".to_owned()),
        _ if reserved => Err("a tag that does not start with \"aws:\": those are AWS' own".to_owned()),
        _ => Ok(()),
    }
}

/// The value of a tag.
///
/// # Errors
/// What would be right.
pub fn tag_value(value: &str) -> Result<(), String> {
    (value.chars().count() <= 256).then_some(()).ok_or_else(|| "a tag's value of at most 256 characters".to_owned())
}

/// A key or a value of a tag that is searched for.
///
/// # Errors
/// What would be right.
pub fn searched_tag(text: &str) -> Result<(), String> {
    (!text.is_empty()).then_some(()).ok_or_else(|| "not empty; \"*\" matches any value".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_name_a_family_and_a_version_it_can_have() {
        for good in ["al2@latest", "al2023@v20250403", "bottlerocket@v1.20.4", "bottlerocket@1.20.4-b6163b2a", "windows2022@latest"] {
            assert_eq!(ami_alias(good), Ok(()), "{good}");
        }
        for (bad, right) in [
            ("al2023", "al2023@latest"),
            ("ubuntu@latest", "the families are al2, al2023"),
            ("AL2023@latest", "the families are"),
            ("al2023@20250403", "al2023@v2025"),
            ("bottlerocket@v1.20", "v1.20.4"),
            ("windows2022@v1", "windows2022@latest"),
            ("al2023@", "al2023@latest"),
        ] {
            let error = ami_alias(bad).expect_err(bad);
            assert!(error.contains(right), "{bad}: {error}");
        }
    }

    #[test]
    fn volumes_have_the_crds_sizes() {
        for good in ["1Gi", "59000Gi", "64000G", "17Ti", "58Ti", "9Ti", "64T", "60T"] {
            assert_eq!(volume_size(good), Ok(()), "{good}");
        }
        for bad in ["0Gi", "59001Gi", "100", "Ti", "T", "18Ti", "59Ti", "65T", "01Gi", "1.5Ti", "100 Gi", "100Mi"] {
            assert!(volume_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_stand_for_themselves_and_nothing_around_them() {
        assert_eq!(id("ami", "ami-0abc"), Ok(()));
        for bad in ["ami-", "xami-0abc", "ami-0ABC", "sg-0abc", "ami-0abc "] {
            assert!(id("ami", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_of_karpenter_and_aws_are_refused() {
        assert_eq!(own_tag("team"), Ok(()));
        for bad in ["", "karpenter.sh/nodepool", "kubernetes.io/cluster/demo", "AWS:x"] {
            assert!(own_tag(bad).is_err(), "{bad}");
        }
    }
}
