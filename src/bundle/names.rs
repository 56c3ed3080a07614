//! Names of the objects: deterministic, so that a second look finds what a killed first one made.

use sha2::{Digest, Sha256};

/// Longest name of an IAM role and of an EventBridge rule.
pub const ROLE_LIMIT: usize = 64;
/// Longest name of an SQS queue.
pub const QUEUE_LIMIT: usize = 80;
/// Longest name of an IAM policy.
pub const POLICY_LIMIT: usize = 128;

/// The controller's role of a cluster, where the arguments name none.
pub fn controller_role(cluster: &str) -> String {
    within(ROLE_LIMIT, cluster, "-karpenter-controller")
}

/// The nodes' role of a cluster, where the arguments name none.
pub fn node_role(cluster: &str) -> String {
    within(ROLE_LIMIT, cluster, "-karpenter-node-role")
}

/// The interruption queue of a cluster, where the arguments name none.
pub fn queue(cluster: &str) -> String {
    within(QUEUE_LIMIT, cluster, "-karpenter")
}

/// `prefix` and `suffix` joined, the prefix cut and marked with eight hex digits of its hash where `limit` characters demand it.
pub fn within(limit: usize, prefix: &str, suffix: &str) -> String {
    if prefix.len() + suffix.len() <= limit {
        return format!("{prefix}{suffix}");
    }
    let hash: String = Sha256::digest(prefix.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let room = limit.saturating_sub(suffix.len() + hash.len() + 1);
    let head: String = prefix.chars().take(room).collect();
    format!("{head}-{hash}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_stays_readable() {
        assert_eq!(within(ROLE_LIMIT, "demo", "-karpenter-controller"), "demo-karpenter-controller");
    }

    #[test]
    fn a_long_name_fits_and_differs_from_its_neighbours() {
        let (a, b) = ("a".repeat(99) + "1", "a".repeat(99) + "2");
        let (x, y) = (within(ROLE_LIMIT, &a, "-karpenter-controller"), within(ROLE_LIMIT, &b, "-karpenter-controller"));
        assert_eq!(x.len(), ROLE_LIMIT);
        assert!(x.ends_with("-karpenter-controller"));
        assert_ne!(x, y);
    }
}
