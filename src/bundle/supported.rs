//! Which versions of Karpenter, of Kubernetes and of our tables go together.

use semver::Version;

use super::policies::NEWEST_MINOR;

/// Kubernetes' minor version and the first one of Karpenter 1 that works with it.
const NEEDS: [(u64, u64); 4] = [(33, 5), (34, 6), (35, 9), (36, 13)];

/// Why this pair is known not to work: one sentence. `None` where it is not known.
pub fn mismatch(karpenter: &Version, kubernetes: &str) -> Option<String> {
    let minor: u64 = kubernetes.strip_prefix("1.")?.split('.').next()?.parse().ok()?;
    // what a version needs, its successors need, too
    let (_, needed) = NEEDS.into_iter().rev().find(|(from, _)| *from <= minor)?;
    (karpenter.major == 1 && karpenter.minor < needed)
        .then(|| format!("Karpenter {karpenter} does not work on Kubernetes {kubernetes}, which needs Karpenter 1.{needed}.0 or newer"))
}

/// What to know of a version that is newer than everything that this provider's tables were read off.
pub fn beyond_tables(karpenter: &Version) -> Option<String> {
    (karpenter.major > 1 || karpenter.minor > NEWEST_MINOR).then(|| {
        format!(
            "Karpenter {karpenter} is newer than 1.{NEWEST_MINOR}, the newest version that this provider knows: its controller gets the IAM \
             permissions and the EventBridge rules of that one. Should it need more, add `policy_statement` blocks to `controller_role`, or \
             upgrade the provider."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_do_not_work_are_known() {
        let works = |karpenter, kubernetes| mismatch(&Version::parse(karpenter).unwrap(), kubernetes).is_none();
        for (kubernetes, first, last) in
            [("1.33", "1.5.0", "1.4.9"), ("1.34", "1.6.0", "1.5.3"), ("1.35", "1.9.0", "1.8.2"), ("1.36", "1.13.0", "1.12.4")]
        {
            assert!(works(first, kubernetes) && !works(last, kubernetes), "{kubernetes}");
        }
        assert!(works("1.0.0", "1.32") && works("1.0.0", "") && works("2.0.0", "1.36"));
        assert!(!works("1.12.0", "1.37") && works("1.13.0", "1.37"));
    }

    #[test]
    fn versions_beyond_the_tables_are_told() {
        assert!(beyond_tables(&Version::new(1, 14, 9)).is_none());
        assert!(beyond_tables(&Version::new(1, 15, 0)).is_some() && beyond_tables(&Version::new(2, 0, 0)).is_some());
    }
}
