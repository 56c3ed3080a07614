//! What an identity must be allowed for `plan` and for `apply`: one declaration, from which the documentation's policies and ClusterRoles
//! are made, under which the tests run, and against which they hold the calls that they see.

pub mod iam;
pub mod rbac;

use std::fmt::Write as _;

/// What the user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// `plan`, `refresh`, and what `apply` reads.
    Plan,
    /// `apply` and `destroy`.
    Apply,
}

/// For which resource types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// All of them: to find the cluster.
    All,
    /// `karpenter_nodeclass` and `karpenter_nodepool`.
    Objects,
    /// `karpenter_bundle`.
    Bundle,
}

impl For {
    fn name(self) -> &'static str {
        match self {
            For::All => "all",
            For::Objects => "`karpenter_nodeclass`, `karpenter_nodepool`",
            For::Bundle => "`karpenter_bundle`",
        }
    }
}

const TOP: &str = r#"---
page_title: "Permissions"
description: |-
  The IAM policies and ClusterRoles that plan and apply need.
---

<!-- Generated from the declarations in src/ by `make docs`: change those. -->

# Permissions

Two identities are asked for: one by AWS, one by the Kubernetes API. On EKS both are the same IAM role or user unless the provider block
says otherwise: give it an access entry with a Kubernetes group, and bind that group to a ClusterRole below. The cluster's creator, and who
has the access policy `AmazonEKSClusterAdminPolicy`, may do everything already.

A pipeline that only plans needs the smaller ones. The tests of this provider run under exactly the ClusterRole for `apply`, and hold the
calls that they see against these lists.
"#;

/// The page of the documentation.
pub fn page() -> String {
    let mut text = TOP.to_owned();
    text.push_str("\n## AWS\n\n| permission | for | plan | apply | not seen by a test because |\n|---|---|---|---|---|\n");
    for call in iam::CALLS {
        let plan = if call.phase == Phase::Plan { "yes" } else { "" };
        let _ = writeln!(text, "| `{}` | {} | {plan} | yes | {} |", call.action, call.of.name(), call.unseen);
    }
    text.push_str(IAM);
    for (phase, title) in [(Phase::Plan, "plan"), (Phase::Apply, "apply")] {
        let _ = write!(text, "\n### Policy for {title}\n\n```json\n{}\n```\n", iam::policy(phase));
    }
    let _ = write!(text, "\n## Kubernetes\n\n{RBAC}");
    for (phase, title) in [(Phase::Plan, "plan"), (Phase::Apply, "apply")] {
        let _ = write!(text, "\n### ClusterRole for {title}\n\n```yaml\n{}```\n", rbac::cluster_role(phase));
    }
    text
}

const IAM: &str = "
Replace `CLUSTER` by the cluster's name. Names that the configuration sets otherwise or an import finds, and those of clusters with a name so
long that it is cut to fit AWS' limits, need their own. `iam:PassRole` is what EKS asks for when the controller's role is given to its
service account. A configuration of node classes and pools alone needs `eks:DescribeCluster` and nothing else.
";

const RBAC: &str = "The rules for node classes and pools alone are marked. Karpenter's chart makes roles of its own; Kubernetes lets nobody give away more than
they have, unless they may `escalate` that role and `bind` to it: here those roles only, by the names that a release named `karpenter` has.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_listed_twice_and_reading_is_part_of_writing() {
        let mut actions: Vec<&str> = iam::CALLS.iter().map(|call| call.action).collect();
        actions.sort_unstable();
        let all = actions.len();
        actions.dedup();
        assert_eq!(actions.len(), all);
        for call in iam::CALLS.iter().filter(|call| call.phase == Phase::Plan) {
            assert!(iam::policy(Phase::Apply).contains(&format!("\"{}\"", call.action)), "{}", call.action);
        }
        assert!(!iam::policy(Phase::Plan).contains("Create"));
        assert!(!rbac::cluster_role(Phase::Plan).contains("patch"));
    }

    #[test]
    fn the_policy_is_json_and_fits_a_managed_policy() {
        let policy: serde_json::Value = serde_json::from_str(&iam::policy(Phase::Apply)).unwrap();
        assert!(policy.to_string().len() <= 6144, "{}", policy.to_string().len());
    }
}
