//! Every object that a bundle owns, deleted or changed by somebody else: found by its name in `objects`, and repaired alone.

use serde_json::Value as Json;

use super::cells::Phase;
use super::client::{Client, End, Kept};
use super::play::differences;
use super::random::Random;
use super::stage::{Stage, shared};

/// How many of them `make test` tries.
const SAMPLE: usize = 8;

/// What somebody does, what `objects` says then, and how many calls may write to mend it.
type Change = (&'static str, &'static [&'static str], usize);

const OF_AWS: &[Change] = &[
    (
        "iam.update_assume_role_policy(RoleName=C, PolicyDocument=json.dumps({'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Principal': {'Service': 'ec2.amazonaws.com'}, 'Action': 'sts:AssumeRole'}]}))",
        &["controller_role = drifted: trust_policy differs"],
        1,
    ),
    ("iam.untag_role(RoleName=C, TagKeys=['team'])", &["controller_role = drifted: tag team missing"], 1),
    ("iam.detach_role_policy(RoleName=C, PolicyArn=P)", &["controller_role = drifted: policy matrix-karpenter-controller not attached"], 1),
    ("iam.detach_role_policy(RoleName=C, PolicyArn=P); iam.delete_role(RoleName=C)", &["controller_role = missing"], 2),
    (
        "iam.create_policy_version(PolicyArn=P, SetAsDefault=True, PolicyDocument=json.dumps({'Version': '2012-10-17', 'Statement': {'Effect': 'Allow', 'Action': '*', 'Resource': '*'}}))",
        &["controller_policy_1 = drifted: document differs"],
        1,
    ),
    ("iam.untag_policy(PolicyArn=P, TagKeys=['team'])", &["controller_policy_1 = drifted: tag team missing"], 1),
    (
        "iam.detach_role_policy(RoleName=C, PolicyArn=P)\nfor v in iam.list_policy_versions(PolicyArn=P)['Versions']:\n    if not v['IsDefaultVersion']: iam.delete_policy_version(PolicyArn=P, VersionId=v['VersionId'])\niam.delete_policy(PolicyArn=P)",
        &["controller_policy_1 = missing", "controller_role = drifted: policy matrix-karpenter-controller not attached"],
        2,
    ),
    (
        "eks.delete_pod_identity_association(clusterName=cluster, associationId=A['associationId'])",
        &["pod_identity_association = missing"],
        1,
    ),
    (
        "eks.update_pod_identity_association(clusterName=cluster, associationId=A['associationId'], roleArn=R + 'matrix-cluster')",
        &[
            "pod_identity_association = drifted: role_arn arn:aws:iam::123456789012:role/matrix-cluster, want arn:aws:iam::123456789012:role/matrix-karpenter-controller",
        ],
        1,
    ),
    ("eks.untag_resource(resourceArn=A['associationArn'], tagKeys=['team'])", &["pod_identity_association = drifted: tag team missing"], 1),
    (
        "policy = sqs.get_queue_attributes(QueueUrl=Q, AttributeNames=['Policy'])['Attributes']['Policy']\nsqs.set_queue_attributes(QueueUrl=Q, Attributes={'MessageRetentionPeriod': '60', 'Policy': policy})",
        &["interruption_queue = drifted: message_retention_seconds 60, want 300"],
        1,
    ),
    (
        "sqs.set_queue_attributes(QueueUrl=Q, Attributes={'Policy': json.dumps({'Version': '2012-10-17', 'Statement': []})})",
        &["interruption_queue = drifted: policy differs"],
        1,
    ),
    ("sqs.untag_queue(QueueUrl=Q, TagKeys=['team'])", &["interruption_queue = drifted: tag team missing"], 1),
    ("sqs.delete_queue(QueueUrl=Q)", &["interruption_queue = missing"], 1),
    (
        "iam.detach_role_policy(RoleName=N, PolicyArn='arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy')",
        &["node_role = drifted: policy AmazonEKS_CNI_Policy not attached"],
        1,
    ),
    ("iam.untag_role(RoleName=N, TagKeys=['team'])", &["node_role = drifted: tag team missing"], 1),
    (
        "for p in iam.list_attached_role_policies(RoleName=N)['AttachedPolicies']: iam.detach_role_policy(RoleName=N, PolicyArn=p['PolicyArn'])\niam.delete_role(RoleName=N)",
        &["node_role = missing"],
        5,
    ),
    ("eks.delete_access_entry(clusterName=cluster, principalArn=R + N)", &["access_entry = missing"], 1),
    (
        "eks.delete_access_entry(clusterName=cluster, principalArn=R + N); eks.create_access_entry(clusterName=cluster, principalArn=R + N, tags=T)",
        &["access_entry = drifted: type STANDARD, want EC2_LINUX"],
        2,
    ),
    ("iam.delete_role(RoleName='AWSServiceRoleForEC2Spot')", &["spot_service_linked_role = missing"], 1),
];

/// The same of each rule; `X` is its name.
const OF_RULES: &[(&str, &str, usize)] = &[
    ("events.remove_targets(Rule=X, Ids=['KarpenterInterruptionQueue']); events.delete_rule(Name=X)", "missing", 2),
    ("events.disable_rule(Name=X)", "drifted: disabled, want enabled", 1),
    ("events.put_rule(Name=X, EventPattern=json.dumps({'source': ['aws.s3']}))", "drifted: event_pattern differs", 1),
    ("events.remove_targets(Rule=X, Ids=['KarpenterInterruptionQueue'])", "drifted: target missing", 1),
    ("events.untag_resource(ResourceARN=events.describe_rule(Name=X)['Arn'], TagKeys=['team'])", "drifted: tag team missing", 1),
];

const NAMES: &str = "
C, N, R = 'matrix-karpenter-controller', 'matrix-karpenter-node-role', 'arn:aws:iam::123456789012:role/'
P, T = 'arn:aws:iam::123456789012:policy/' + C, {'team': 'a', 'karpenter-tofu/cluster': 'arn:aws:eks:us-east-1:123456789012:cluster/matrix'}
A = eks.list_pod_identity_associations(clusterName=cluster)['associations'][0]
Q = sqs.get_queue_url(QueueName='matrix-karpenter')['QueueUrl']
";

#[test]
fn what_changes_behind_our_back_is_named_and_repaired_alone() {
    let stage = shared();
    stage.wipe(true);
    let mut kept = Kept::default();
    assert_eq!(stage.apply(&mut kept, Phase::Create.arguments(&stage).as_ref()), End::Done);
    let mut bundle = Mended { want: stage.count(), stage: &stage, kept };

    for (script, lines, writes) in chosen(changes(&bundle.want)) {
        bundle.mend(&script, &lines, writes);
    }
    assert_eq!(stage.apply(&mut bundle.kept, None), End::Done);
}

/// Everything that is changed in turn.
fn changes(want: &Json) -> Vec<(String, Vec<String>, usize)> {
    let of_aws =
        OF_AWS.iter().map(|(script, lines, writes)| (format!("{NAMES}{script}"), lines.iter().map(|l| (*l).to_owned()).collect(), *writes));
    let mut all: Vec<(String, Vec<String>, usize)> = of_aws.collect();
    for rule in ["health-event", "spot-interruption", "rebalance", "instance-state-change", "capacity-reservation-interruption"] {
        all.extend(OF_RULES.iter().map(|(script, line, writes)| {
            let line = format!("rule_{} = {line}", rule.replace('-', "_"));
            (format!("X = 'matrix-karpenter-{rule}'\n{script}"), vec![line], *writes)
        }));
    }
    for object in want["kubernetes"].as_object().unwrap().keys() {
        let (kind, name) = object.split_once(' ').unwrap();
        let (at, id) = match (kind, name.split_once('/')) {
            ("CRD", _) => (format!("CRDS + '/{name}'"), name.to_owned()),
            (_, Some((namespace, name))) => {
                (format!("at(*KINDS['{kind}'], {{'namespace': '{namespace}', 'name': '{name}'}})"), format!("{kind} {name}"))
            }
            (_, None) => (format!("at(*KINDS['{kind}'], {{'name': '{name}'}})"), format!("{kind} {name}")),
        };
        let (key, change) = match kind {
            "CRD" => ("crds", "{'annotations': {'controller-gen.kubebuilder.io/version': 'x'}}"),
            _ => ("chart", "{'labels': {'app.kubernetes.io/name': 'x'}}"),
        };
        let gone = format!("delete({at})\nwhile get({at}): time.sleep(0.1)");
        all.push((gone, vec![format!("{key} = drifted: {id} missing")], 1));
        all.push((format!("patch({at}, {{'metadata': {change}}})"), vec![format!("{key} = drifted: {id} metadata.")], 1));
    }
    all
}

/// All of them in the full matrix, else some.
fn chosen(mut all: Vec<(String, Vec<String>, usize)>) -> Vec<(String, Vec<String>, usize)> {
    println!("{} changes behind our back", all.len());
    if std::env::var("MATRIX_CELLS").as_deref() != Ok("all") {
        Random::new(crate::variable("MATRIX_SEED", 1)).shuffle(&mut all);
        all.truncate(SAMPLE);
    }
    all
}

struct Mended<'a> {
    stage: &'a Stage,
    kept: Kept,
    want: Json,
}

impl Mended<'_> {
    /// Somebody runs `script`; then exactly these lines drifted (by their beginnings), so many calls write, and all is as before.
    fn mend(&mut self, script: &str, lines: &[String], writes: usize) {
        let (stage, arguments) = (self.stage, Phase::Create.arguments(self.stage).unwrap());
        stage.python(script);
        stage.refresh(&mut self.kept).unwrap_or_else(|errors| panic!("{script}\n{errors:?}"));
        let drifted = Client::drifted(&self.kept);
        let as_told = drifted.len() == lines.len() && drifted.iter().zip(lines).all(|(found, want)| found.starts_with(want.as_str()));
        assert!(as_told, "{script}\n{drifted:#?}, want {lines:#?}");
        stage.proxy.reset();
        assert_eq!(stage.apply(&mut self.kept, Some(&arguments)), End::Done, "{script}");
        let wrote: Vec<String> = stage.proxy.calls().into_iter().filter(|c| c.mutating && c.status < 300).map(|c| c.key).collect();
        assert_eq!(wrote.len(), writes, "{script}\n{wrote:#?}");
        assert_eq!(stage.plans_a_change(&mut self.kept, &arguments), Ok(false), "{script}: {:?}", Client::drifted(&self.kept));
        // IAM keeps the versions that somebody made
        let found = differences(&self.want, &stage.count(), false);
        let more: Vec<&String> = found.iter().filter(|line| !line.starts_with("aws policy ") && !line.contains(" rolled ")).collect();
        assert!(more.is_empty(), "{script}\n{more:#?}");
    }
}
