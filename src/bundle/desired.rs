//! What a bundle should be: every object with its name and contents, from the arguments alone. No client is needed here.

use std::collections::BTreeMap;

use semver::Version;
use serde_json::{Value as Json, json};

use super::arguments::{self, Arguments, SetType};
use super::events::{self, Rule};
use super::names::{POLICY_LIMIT, QUEUE_LIMIT, ROLE_LIMIT, within};
use super::policies;
use crate::tofu::path::Path;
use crate::{Error, Kind};

/// Tag with the cluster's ARN: whoever carries it belongs to the bundle of that cluster.
pub const OWNER_TAG: &str = "karpenter-tofu/cluster";
/// Tag that a bundle under construction carries on its first object.
pub const CREATING_TAG: &str = "karpenter-tofu/creating";

/// Where Karpenter's charts are published.
pub const REPOSITORY: &str = "oci://public.ecr.aws/karpenter";

/// Revisions of the release that are kept, as Helm keeps them.
const MAX_HISTORY: usize = 10;

/// Managed policies of a node.
const NODE_POLICIES: [&str; 4] =
    ["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryPullOnly", "AmazonSSMManagedInstanceCore"];

/// Where a cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// E.g. `aws`, `aws-cn`.
    pub partition: String,
    /// E.g. `eu-central-1`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
    /// The cluster's name.
    pub cluster: String,
}

/// The whole inventory.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Karpenter's version.
    pub version: Version,
    /// Where the cluster is.
    pub place: Place,
    /// Tags of every owned AWS object, the owner tag among them.
    pub tags: BTreeMap<String, String>,
    /// The controller's role.
    pub controller_role: Role,
    /// The controller's policies; none where its role is given.
    pub policies: Vec<Policy>,
    /// The Pod Identity association.
    pub association: Association,
    /// The interruption queue, where enabled.
    pub queue: Option<Queue>,
    /// The rules that feed the queue.
    pub rules: Vec<Rule>,
    /// The nodes' role; its access entry follows from its ARN.
    pub node_role: Role,
    /// The chart, where the bundle installs it.
    pub chart: Option<Chart>,
}

/// An IAM role.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// Its logical name, a key of `objects`.
    pub key: &'static str,
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Its contents, where the bundle makes it.
    pub made: Option<MadeRole>,
}

/// The contents of a role that the bundle makes.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeRole {
    /// IAM path, `/` or `/.../`.
    pub path: String,
    /// Who may assume it.
    pub trust: Json,
    /// The boundary's ARN.
    pub permissions_boundary: Option<String>,
    /// ARNs of the policies that must be attached to it.
    pub attached: Vec<String>,
    /// Whether an existing untagged role of that name is used as it is, rather than refused.
    pub may_be_foreign: bool,
}

/// A managed policy of the controller.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its logical name, a key of `objects`.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// IAM path.
    pub path: String,
    /// The document.
    pub document: Json,
}

/// The Pod Identity association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// The controller's namespace.
    pub namespace: String,
    /// The controller's service account.
    pub service_account: String,
    /// The controller's role.
    pub role_arn: String,
}

/// The interruption queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// SQS attributes by SQS' names, as SQS spells their values; the policy apart.
    pub attributes: BTreeMap<String, String>,
    /// The queue policy.
    pub policy: Json,
}

/// The chart and what goes into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// OCI repository, directory or archive.
    pub repository: String,
    /// Karpenter's version.
    pub version: Version,
    /// Name of the Helm release.
    pub release_name: String,
    /// Its namespace.
    pub namespace: String,
    /// Whether the namespace is made where it is absent.
    pub create_namespace: bool,
    /// The user's values as YAML texts.
    pub values: Vec<String>,
    /// The user's values one by one, over those texts.
    pub set: Vec<SetValue>,
    /// What the bundle sets where the user does not.
    pub injected: Json,
    /// Whether CRDs are the bundle's.
    pub manage_crds: bool,
    /// Whether they go at a destroy.
    pub delete_crds: bool,
    /// Whether a foreign release or foreign CRDs are taken over.
    pub adopt: bool,
    /// Whether to wait for readiness.
    pub wait: bool,
    /// Whether an upgrade that fails is rolled back.
    pub atomic: bool,
    /// Revisions kept; 0 keeps all.
    pub max_history: usize,
}

/// One value by its path.
#[derive(Clone, PartialEq)]
pub struct SetValue {
    /// As `helm --set` writes it.
    pub name: String,
    /// Its value.
    pub value: String,
    /// How the value is read.
    pub kind: SetType,
    /// Whether the value is a secret.
    pub sensitive: bool,
}

impl std::fmt::Debug for SetValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetValue").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Everything that a bundle should be.
///
/// # Errors
/// `Invalid`, with the argument's path, for arguments that make no bundle.
pub fn desired(arguments: &Arguments, version: &Version, place: &Place, default_tags: &BTreeMap<String, String>) -> Result<Desired, Error> {
    let queue = queue(arguments, place);
    let node_role = node_role(arguments, place);
    let mut passed = vec![node_role.arn.clone()];
    passed.extend(arguments.node_role.iter().flat_map(|role| role.additional_arns.iter().flatten().cloned()));
    let queue_arn = queue.as_ref().map(|queue| queue.arn.as_str());
    let mut controller_role = controller_role(arguments, place)?;
    let mut policies = vec![];
    if let Some(made) = &mut controller_role.made {
        for (at, document) in policies::documents(version, place, &passed, queue_arn)?.into_iter().enumerate() {
            policies.push(policy(at + 1, document, &controller_role.name, &made.path, place));
        }
        made.attached = policies.iter().map(|policy| policy.arn.clone()).collect();
    }
    let namespace = arguments.namespace.clone().unwrap_or_else(|| "kube-system".into());
    let service_account = arguments.service_account.clone().unwrap_or_else(|| "karpenter".into());
    let chart = chart(arguments, version, place, queue.as_ref(), &namespace, &service_account);
    let mut tags = default_tags.clone();
    tags.extend(arguments.tags.clone().unwrap_or_default());
    tags.insert(OWNER_TAG.into(), place.arn());
    Ok(Desired {
        tags,
        association: Association { namespace, service_account, role_arn: controller_role.arn.clone() },
        rules: queue.as_ref().map(|queue| events::rules(version, place, &queue.arn)).unwrap_or_default(),
        version: version.clone(),
        place: place.clone(),
        controller_role,
        policies,
        queue,
        node_role,
        chart,
    })
}

fn controller_role(arguments: &Arguments, place: &Place) -> Result<Role, Error> {
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
        return Ok(Role { key, name, arn, made: None });
    }
    let name = role.name.unwrap_or_else(|| within(ROLE_LIMIT, &place.cluster, "-karpenter-controller"));
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
    }]});
    let arn = place.iam_arn("role", &path, &name);
    let made = MadeRole { path, trust, permissions_boundary: role.permissions_boundary, attached: vec![], may_be_foreign: false };
    Ok(Role { key, name, arn, made: Some(made) })
}

fn node_role(arguments: &Arguments, place: &Place) -> Role {
    let role = arguments.node_role.clone().unwrap_or_default();
    let name = role.name.unwrap_or_else(|| within(ROLE_LIMIT, &place.cluster, "-karpenter-node-role"));
    let arn = place.iam_arn("role", "/", &name);
    let made = (role.create != Some(false)).then(|| MadeRole {
        path: "/".into(),
        trust: json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": place.ec2_service()},
            "Action": "sts:AssumeRole",
        }]}),
        permissions_boundary: None,
        attached: NODE_POLICIES.iter().map(|name| format!("arn:{}:iam::aws:policy/{name}", place.partition)).collect(),
        may_be_foreign: true,
    });
    Role { key: "node_role", name, arn, made }
}

fn policy(number: usize, document: Json, role_name: &str, path: &str, place: &Place) -> Policy {
    let suffix = if number == 1 { String::new() } else { format!("-{number}") };
    let name = within(POLICY_LIMIT, role_name, &suffix);
    let key = format!("controller_policy_{number}");
    Policy { key, arn: place.iam_arn("policy", path, &name), name, path: path.to_owned(), document }
}

fn queue(arguments: &Arguments, place: &Place) -> Option<Queue> {
    let queue = arguments.interruption_queue.clone().unwrap_or_default();
    if queue.enabled == Some(false) {
        return None;
    }
    let name = queue.name.unwrap_or_else(|| within(QUEUE_LIMIT, &place.cluster, "-karpenter"));
    let arn = format!("arn:{}:sqs:{}:{}:{name}", place.partition, place.region, place.account);
    let mut attributes = BTreeMap::from([("MessageRetentionPeriod".to_owned(), "300".to_owned())]);
    match queue.kms_key_id {
        Some(key) => attributes.insert("KmsMasterKeyId".into(), key),
        None => attributes.insert("SqsManagedSseEnabled".into(), "true".into()),
    };
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {
            "Sid": "EventsMaySend",
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", "sqs.amazonaws.com"]},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        },
        {
            "Sid": "NoPlainHttp",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": arn,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    ]});
    Some(Queue { name, arn, attributes, policy })
}

fn chart(
    arguments: &Arguments,
    version: &Version,
    place: &Place,
    queue: Option<&Queue>,
    namespace: &str,
    service_account: &str,
) -> Option<Chart> {
    let chart = arguments.chart.clone().unwrap_or_default();
    if chart.create == Some(false) {
        return None;
    }
    let mut injected = json!({"settings": {"clusterName": place.cluster}, "serviceAccount": {"name": service_account}});
    if let Some(queue) = queue {
        injected["settings"]["interruptionQueue"] = json!(queue.name);
    }
    let arguments::Chart {
        create: _,
        repository,
        release_name,
        values,
        set,
        set_sensitive,
        max_history,
        atomic,
        create_namespace,
        manage_crds,
        delete_crds,
        adopt,
        wait,
    } = chart;
    let one = |name: Option<String>, value: Option<String>, kind: Option<SetType>, sensitive| {
        Some(SetValue { name: name?, value: value?, kind: kind.unwrap_or_default(), sensitive })
    };
    let plain = set.into_iter().flatten().filter_map(|arguments::SetValue { name, value, kind }| one(name, value, kind, false));
    let secret = set_sensitive.into_iter().flatten();
    let secret = secret.filter_map(|arguments::SetSensitive { name, value, kind }| one(name, value, kind, true));
    Some(Chart {
        repository: repository.unwrap_or_else(|| REPOSITORY.into()),
        version: version.clone(),
        release_name: release_name.unwrap_or_else(|| "karpenter".into()),
        namespace: namespace.to_owned(),
        create_namespace: create_namespace != Some(false),
        values: values.unwrap_or_default(),
        set: plain.chain(secret).collect(),
        injected,
        manage_crds: manage_crds != Some(false),
        delete_crds: delete_crds == Some(true),
        adopt: adopt == Some(true),
        wait: wait != Some(false),
        atomic: atomic == Some(true),
        max_history: max_history.map_or(MAX_HISTORY, |most| usize::try_from(most).unwrap_or_default()),
    })
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
        })
    }

    /// The cluster's ARN.
    pub fn arn(&self) -> String {
        format!("arn:{}:eks:{}:{}:cluster/{}", self.partition, self.region, self.account, self.cluster)
    }

    /// The ARN of a role or a policy; `path` starts and ends with a slash.
    fn iam_arn(&self, kind: &str, path: &str, name: &str) -> String {
        format!("arn:{}:iam::{}:{kind}{path}{name}", self.partition, self.account)
    }

    /// EC2's name in trust policies: China's partition has its own.
    fn ec2_service(&self) -> &'static str {
        if self.partition == "aws-cn" { "ec2.amazonaws.com.cn" } else { "ec2.amazonaws.com" }
    }
}

#[cfg(test)]
mod tests;
