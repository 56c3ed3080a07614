//! Permissions of AWS.

use serde_json::{Value, json};

use super::{For, Phase};

/// One permission.
pub struct Call {
    /// `iam:CreateRole`.
    pub action: &'static str,
    /// What it is asked for.
    pub on: On,
    /// For which resource types.
    pub of: For,
    /// From when on.
    pub phase: Phase,
    /// Why no test sees it called; empty where one does.
    pub unseen: &'static str,
}

/// The objects of a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are named after AWS' own")]
pub enum On {
    Cluster,
    PodIdentityAssociation,
    AccessEntry,
    Role,
    SpotServiceLinkedRole,
    Policy,
    InstanceProfile,
    OidcProvider,
    Queue,
    Rule,
    /// What AWS knows no objects for.
    Anything,
}

impl On {
    fn arns(self) -> Vec<&'static str> {
        match self {
            On::Cluster => vec!["arn:aws:eks:*:*:cluster/CLUSTER"],
            On::PodIdentityAssociation => vec!["arn:aws:eks:*:*:cluster/CLUSTER", "arn:aws:eks:*:*:podidentityassociation/CLUSTER/*"],
            On::AccessEntry => vec!["arn:aws:eks:*:*:cluster/CLUSTER", "arn:aws:eks:*:*:access-entry/CLUSTER/*"],
            On::Role => vec!["arn:aws:iam::*:role/CLUSTER-karpenter-*"],
            On::SpotServiceLinkedRole => vec!["arn:aws:iam::*:role/aws-service-role/spot.amazonaws.com/*"],
            On::Policy => vec!["arn:aws:iam::*:policy/CLUSTER-karpenter-*"],
            On::InstanceProfile => vec!["arn:aws:iam::*:instance-profile/*"],
            On::OidcProvider => vec!["arn:aws:iam::*:oidc-provider/*"],
            On::Queue => vec!["arn:aws:sqs:*:*:CLUSTER-karpenter"],
            On::Rule => vec!["arn:aws:events:*:*:rule/*"],
            On::Anything => vec!["*"],
        }
    }
}

const fn call(phase: Phase, of: For, on: On, action: &'static str, unseen: &'static str) -> Call {
    Call { action, on, of, phase, unseen }
}

use For::{All, Bundle};
use On::{
    AccessEntry, Anything, Cluster, InstanceProfile, OidcProvider, PodIdentityAssociation, Policy, Queue, Role, Rule, SpotServiceLinkedRole,
};
use Phase::{Apply, Plan};

/// All of them.
pub const CALLS: &[Call] = &[
    call(Plan, All, Cluster, "eks:DescribeCluster", ""),
    call(Plan, All, Anything, "sts:GetCallerIdentity", ""),
    // bundle: looks
    call(Plan, Bundle, PodIdentityAssociation, "eks:ListPodIdentityAssociations", ""),
    call(Plan, Bundle, PodIdentityAssociation, "eks:DescribePodIdentityAssociation", ""),
    call(Plan, Bundle, AccessEntry, "eks:DescribeAccessEntry", ""),
    call(Plan, Bundle, Cluster, "eks:ListAccessEntries", ""),
    call(Plan, Bundle, Role, "iam:GetRole", ""),
    call(Plan, Bundle, Role, "iam:ListAttachedRolePolicies", ""),
    call(Plan, Bundle, Role, "iam:ListRolePolicies", ""),
    call(Plan, Bundle, Role, "iam:GetRolePolicy", ""),
    call(Plan, Bundle, Anything, "iam:ListRoles", ""),
    call(Plan, Bundle, Policy, "iam:GetPolicy", ""),
    call(Plan, Bundle, Policy, "iam:GetPolicyVersion", ""),
    call(Plan, Bundle, InstanceProfile, "iam:GetInstanceProfile", ""),
    call(Plan, Bundle, OidcProvider, "iam:GetOpenIDConnectProvider", "tests/bundle_aws sees it: credentials = \"irsa\" asks for it"),
    call(Plan, Bundle, Queue, "sqs:GetQueueUrl", ""),
    call(Plan, Bundle, Queue, "sqs:GetQueueAttributes", ""),
    call(Plan, Bundle, Queue, "sqs:ListQueueTags", ""),
    call(Plan, Bundle, Rule, "events:ListRules", ""),
    call(Plan, Bundle, Rule, "events:DescribeRule", ""),
    call(Plan, Bundle, Rule, "events:ListTagsForResource", ""),
    call(Plan, Bundle, Rule, "events:ListTargetsByRule", ""),
    call(Plan, Bundle, Rule, "events:ListRuleNamesByTarget", ""),
    // bundle: writes
    call(Apply, Bundle, Role, "iam:CreateRole", ""),
    call(Apply, Bundle, Role, "iam:UpdateRole", ""),
    call(Apply, Bundle, Role, "iam:UpdateAssumeRolePolicy", ""),
    call(Apply, Bundle, Role, "iam:PutRolePermissionsBoundary", ""),
    call(Apply, Bundle, Role, "iam:DeleteRolePermissionsBoundary", ""),
    call(Apply, Bundle, Role, "iam:TagRole", ""),
    call(Apply, Bundle, Role, "iam:UntagRole", ""),
    call(Apply, Bundle, Role, "iam:AttachRolePolicy", ""),
    call(Apply, Bundle, Role, "iam:DetachRolePolicy", ""),
    call(Apply, Bundle, Role, "iam:DeleteRolePolicy", ""),
    call(Apply, Bundle, Role, "iam:DeleteRole", ""),
    call(Apply, Bundle, Role, "iam:PassRole", "it is no call: EKS checks it when the association is made"),
    call(Apply, Bundle, SpotServiceLinkedRole, "iam:CreateServiceLinkedRole", ""),
    call(Apply, Bundle, Policy, "iam:CreatePolicy", ""),
    call(Apply, Bundle, Policy, "iam:CreatePolicyVersion", ""),
    call(Apply, Bundle, Policy, "iam:ListPolicyVersions", ""),
    call(Apply, Bundle, Policy, "iam:DeletePolicyVersion", ""),
    call(Apply, Bundle, Policy, "iam:TagPolicy", ""),
    call(Apply, Bundle, Policy, "iam:UntagPolicy", ""),
    call(Apply, Bundle, Policy, "iam:DeletePolicy", ""),
    call(Apply, Bundle, Role, "iam:ListInstanceProfilesForRole", ""),
    call(Apply, Bundle, InstanceProfile, "iam:ListInstanceProfileTags", ""),
    call(Apply, Bundle, InstanceProfile, "iam:CreateInstanceProfile", ""),
    call(Apply, Bundle, InstanceProfile, "iam:AddRoleToInstanceProfile", ""),
    call(Apply, Bundle, InstanceProfile, "iam:TagInstanceProfile", ""),
    call(Apply, Bundle, InstanceProfile, "iam:UntagInstanceProfile", ""),
    call(Apply, Bundle, InstanceProfile, "iam:RemoveRoleFromInstanceProfile", ""),
    call(Apply, Bundle, InstanceProfile, "iam:DeleteInstanceProfile", ""),
    call(Apply, Bundle, PodIdentityAssociation, "eks:CreatePodIdentityAssociation", ""),
    call(Apply, Bundle, PodIdentityAssociation, "eks:UpdatePodIdentityAssociation", ""),
    call(Apply, Bundle, PodIdentityAssociation, "eks:DeletePodIdentityAssociation", ""),
    call(Apply, Bundle, AccessEntry, "eks:CreateAccessEntry", ""),
    call(Apply, Bundle, AccessEntry, "eks:DeleteAccessEntry", ""),
    call(Apply, Bundle, PodIdentityAssociation, "eks:TagResource", ""),
    call(Apply, Bundle, PodIdentityAssociation, "eks:UntagResource", ""),
    call(Apply, Bundle, Queue, "sqs:CreateQueue", ""),
    call(Apply, Bundle, Queue, "sqs:SetQueueAttributes", ""),
    call(Apply, Bundle, Queue, "sqs:TagQueue", ""),
    call(Apply, Bundle, Queue, "sqs:UntagQueue", ""),
    call(Apply, Bundle, Queue, "sqs:DeleteQueue", ""),
    call(Apply, Bundle, Rule, "events:PutRule", ""),
    call(Apply, Bundle, Rule, "events:PutTargets", ""),
    call(Apply, Bundle, Rule, "events:RemoveTargets", ""),
    call(Apply, Bundle, Rule, "events:TagResource", ""),
    call(Apply, Bundle, Rule, "events:UntagResource", ""),
    call(Apply, Bundle, Rule, "events:DeleteRule", ""),
];

/// Whether a call may be made in that phase.
pub fn allows(phase: Phase, action: &str) -> bool {
    CALLS.iter().any(|call| call.action == action && call.phase <= phase)
}

/// The policy of a phase, as JSON: a statement for each kind of object.
pub fn policy(phase: Phase) -> String {
    let mut kinds: Vec<On> = CALLS.iter().map(|call| call.on).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let statement = |on: On| -> Option<Value> {
        let actions: Vec<&str> = CALLS.iter().filter(|call| call.on == on && call.phase <= phase).map(|call| call.action).collect();
        (!actions.is_empty()).then(|| json!({"Sid": format!("{on:?}"), "Effect": "Allow", "Action": actions, "Resource": on.arns()}))
    };
    let statements: Vec<Value> = kinds.into_iter().filter_map(statement).collect();
    serde_json::to_string_pretty(&json!({"Version": "2012-10-17", "Statement": statements})).unwrap_or_default()
}
