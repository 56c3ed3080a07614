//! The two roles, what is attached to them, and what lets nodes use theirs.

use std::collections::BTreeSet;

use semver::Version;
use serde_json::{Value as Json, json};

use super::super::arguments::{Arguments, Credentials, IpFamily};
use super::super::names::{self, POLICY_LIMIT, within};
use super::super::observe::ACCESS_ENTRY;
use super::super::policies::{self, Grants};
use super::super::statement::Statement;
use super::{AccessEntry, InstanceProfile, MadeRole, Place, Policy, Queue, Role};
use crate::tofu::path::Path;
use crate::{Error, Kind};

/// IAM's default of the longest session, in seconds.
pub const SESSION: i64 = 3600;
/// Most interim policies that a change may need: what a role is allowed fits two documents for the longest names.
const INTERIM_POLICIES: usize = 2;

pub(super) fn controller(
    arguments: &Arguments,
    version: &Version,
    place: &Place,
    node_role: &Role,
    queue: Option<&Queue>,
) -> Result<(Role, Vec<Policy>), Error> {
    let role = arguments.controller_role.clone().unwrap_or_default();
    let path = role.path.unwrap_or_else(|| "/".into());
    let key = "controller_role";
    if role.create == Some(false) {
        let block = Path::attribute("controller_role").index(0);
        let missing = || {
            Error::new(Kind::Invalid, "choose the controller's role", "with create = false, name or arn says which role to use").at(block)
        };
        let arn = role.arn.or_else(|| role.name.map(|name| place.iam_arn("role", &path, &name))).ok_or_else(missing)?;
        let name = arn.rsplit('/').next().unwrap_or_default().to_owned();
        return Ok((Role { key, name, arn, made: None }, vec![]));
    }
    let name = role.name.unwrap_or_else(|| names::controller_role(&place.cluster));
    let mut node_role_arns = vec![node_role.arn.clone()];
    node_role_arns.extend(arguments.node_role.iter().flat_map(|role| role.additional_arns.iter().flatten().cloned()));
    let statements: Vec<Json> = role.policy_statement.iter().flatten().map(Statement::json).collect();
    let additional: Vec<String> = role.additional_policies.unwrap_or_default().into_values().collect();
    let grants = Grants {
        node_role_arns: &node_role_arns,
        queue_arn: queue.map(|queue| queue.arn.as_str()),
        kms_key_id: arguments.interruption_queue.as_ref().and_then(|queue| queue.kms_key_id.as_deref()),
        statements: &statements,
        attached: additional.len(),
    };
    let documents = policies::documents(version, place, &grants)?;
    let policies: Vec<Policy> =
        documents.into_iter().enumerate().map(|(at, document)| policy(at + 1, document, &name, &path, place)).collect();
    let made = MadeRole {
        description: role.description,
        trust: trust(arguments, place),
        permissions_boundary: role.permissions_boundary,
        max_session_duration: role.max_session_duration.unwrap_or(SESSION),
        attached: policies.iter().map(|policy| policy.arn.clone()).chain(additional).collect(),
        interim: (1..=INTERIM_POLICIES).map(|number| interim_policy(number, Json::Null, &name, &path, place).arn).collect(),
        tags: role.tags.unwrap_or_default(),
        may_be_foreign: false,
        path,
    };
    let arn = place.iam_arn("role", &made.path, &name);
    Ok((Role { key, name, arn, made: Some(made) }, policies))
}

/// Who may assume the controller's role.
fn trust(arguments: &Arguments, place: &Place) -> Json {
    let namespace = arguments.namespace.as_deref().unwrap_or("kube-system");
    let service_account = arguments.service_account.as_deref().unwrap_or("karpenter");
    let issuer = &place.oidc_issuer;
    let controller = match arguments.credentials.unwrap_or_default() {
        Credentials::PodIdentity => json!({
            "Effect": "Allow",
            "Principal": {"Service": "pods.eks.amazonaws.com"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        }),
        Credentials::Irsa => json!({
            "Effect": "Allow",
            "Principal": {"Federated": place.oidc_provider()},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {
                format!("{issuer}:aud"): "sts.amazonaws.com",
                format!("{issuer}:sub"): format!("system:serviceaccount:{namespace}:{service_account}"),
            }},
        }),
    };
    let others = arguments.controller_role.iter().flat_map(|role| role.assume_role_statement.iter().flatten()).map(Statement::json);
    let statements: Vec<Json> = std::iter::once(controller).chain(others).collect();
    json!({"Version": "2012-10-17", "Statement": statements})
}

pub(super) fn node(arguments: &Arguments, version: &Version, place: &Place) -> Role {
    let role = arguments.node_role.clone().unwrap_or_default();
    let name = role.name.unwrap_or_else(|| names::node_role(&place.cluster));
    let path = role.path.unwrap_or_else(|| "/".into());
    let arn = place.iam_arn("role", &path, &name);
    let made = (role.create != Some(false)).then(|| {
        let mut attached = vec![place.managed_policy("AmazonEKSWorkerNodePolicy")];
        match (role.attach_cni_policy != Some(false), role.ip_family.unwrap_or_default()) {
            (false, _) => {}
            (true, IpFamily::Ipv4) => attached.push(place.managed_policy("AmazonEKS_CNI_Policy")),
            // AWS manages none for IPv6; clusters' setups make it under this name in the account
            (true, IpFamily::Ipv6) => attached.push(place.iam_arn("policy", "/", "AmazonEKS_CNI_IPv6_Policy")),
        }
        let pulls_only = version.major > 1 || version.minor > 3;
        attached.push(place.managed_policy(match pulls_only {
            true => "AmazonEC2ContainerRegistryPullOnly",
            false => "AmazonEC2ContainerRegistryReadOnly",
        }));
        attached.push(place.managed_policy("AmazonSSMManagedInstanceCore"));
        attached.extend(role.additional_policies.unwrap_or_default().into_values());
        MadeRole {
            path,
            description: role.description,
            trust: json!({"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow",
                "Principal": {"Service": place.ec2_service()},
                "Action": "sts:AssumeRole",
            }]}),
            permissions_boundary: role.permissions_boundary,
            max_session_duration: role.max_session_duration.unwrap_or(SESSION),
            attached,
            interim: vec![],
            tags: role.tags.unwrap_or_default(),
            may_be_foreign: true,
        }
    });
    Role { key: "node_role", name, arn, made }
}

/// One for each node role, where the cluster has access entries and the arguments want them.
pub(super) fn access_entries(arguments: &Arguments, place: &Place, node_role: &Role) -> Vec<AccessEntry> {
    if !place.has_access_entries || arguments.access_entry.as_ref().is_some_and(|entry| entry.create == Some(false)) {
        return vec![];
    }
    let mut entries = vec![AccessEntry { key: ACCESS_ENTRY.into(), role_arn: node_role.arn.clone() }];
    let mut seen = BTreeSet::from([node_role.arn.clone()]);
    for role_arn in arguments.node_role.iter().flat_map(|role| role.additional_arns.iter().flatten()) {
        if seen.insert(role_arn.clone()) {
            let name = role_arn.rsplit('/').next().unwrap_or_default();
            entries.push(AccessEntry { key: format!("{ACCESS_ENTRY}_{name}"), role_arn: role_arn.clone() });
        }
    }
    entries
}

pub(super) fn instance_profile(arguments: &Arguments, place: &Place, node_role: &Role) -> Option<InstanceProfile> {
    let profile = arguments.instance_profile.clone().filter(|profile| profile.create == Some(true))?;
    let name = profile.name.unwrap_or_else(|| node_role.name.clone());
    let path = profile.path.unwrap_or_else(|| "/".into());
    Some(InstanceProfile { arn: place.iam_arn("instance-profile", &path, &name), name, path, role_name: node_role.name.clone() })
}

fn policy(number: usize, document: Json, role_name: &str, path: &str, place: &Place) -> Policy {
    let suffix = if number == 1 { String::new() } else { format!("-{number}") };
    let name = within(POLICY_LIMIT, role_name, &suffix);
    let key = format!("controller_policy_{number}");
    Policy { key, arn: place.iam_arn("policy", path, &name), name, path: path.to_owned(), document }
}

/// A policy with what a change takes away, until the controller runs as the change wants it.
pub(in crate::bundle) fn interim_policy(number: usize, document: Json, role_name: &str, path: &str, place: &Place) -> Policy {
    let suffix = if number == 1 { "-former".to_owned() } else { format!("-former-{number}") };
    let name = within(POLICY_LIMIT, role_name, &suffix);
    let key = format!("controller_policy_former_{number}");
    Policy { key, arn: place.iam_arn("policy", path, &name), name, path: path.to_owned(), document }
}
