//! Objects of the bundle's names that belong to another cluster, to another state, or to nobody: refused with their owner named, or
//! used, and left as they are.

use super::cells::Phase;
use super::client::{End, Kept};
use super::play::differences;
use super::stage::shared;

const OURS: &str = "arn:aws:eks:us-east-1:123456789012:cluster/matrix";
const ANOTHERS: &str = "arn:aws:eks:eu-west-1:123456789012:cluster/matrix";

/// An object by what makes it, given its tags as a list `L` and as a map `M`.
const OBJECTS: [(&str, &str); 7] = [
    ("controller role", "iam.create_role(RoleName='matrix-karpenter-controller', AssumeRolePolicyDocument='{}', Tags=L)"),
    (
        "controller policy 1",
        "iam.create_policy(PolicyName='matrix-karpenter-controller', PolicyDocument=json.dumps({'Version': '2012-10-17', 'Statement': {'Effect': 'Allow', 'Action': '*', 'Resource': '*'}}), Tags=L)",
    ),
    (
        "pod identity association",
        "eks.create_pod_identity_association(clusterName=cluster, namespace='kube-system', serviceAccount='karpenter', roleArn='arn:aws:iam::123456789012:role/matrix-cluster', tags=M)",
    ),
    ("interruption queue", "sqs.create_queue(QueueName='matrix-karpenter', tags=M)"),
    ("rule rebalance", "events.put_rule(Name='matrix-karpenter-rebalance', EventPattern=json.dumps({'source': ['x']}), Tags=L)"),
    ("node role", "iam.create_role(RoleName='matrix-karpenter-node-role', AssumeRolePolicyDocument='{}', Tags=L)"),
    (
        "access entry",
        "iam.create_role(RoleName='matrix-karpenter-node-role', AssumeRolePolicyDocument='{}'); eks.create_access_entry(clusterName=cluster, principalArn='arn:aws:iam::123456789012:role/matrix-karpenter-node-role', type='EC2_LINUX', tags=M)",
    ),
];

#[test]
fn what_belongs_to_others_is_refused_with_its_owner_or_used_and_left_as_it_is() {
    let stage = shared();
    let arguments = Phase::Create.arguments(&stage);
    for (object, script) in OBJECTS {
        for owner in [Some(ANOTHERS), Some(OURS), None] {
            let at = format!("{object} of {owner:?}");
            stage.wipe(false);
            let tags = owner.map_or("{'of': 'somebody'}".to_owned(), |arn| format!("{{'karpenter-tofu/cluster': '{arn}'}}"));
            stage.python(&format!("M = {tags}\nL = [{{'Key': k, 'Value': v}} for k, v in M.items()]\n{script}"));
            let before = stage.count();
            let mut kept = Kept::default();
            let end = stage.apply(&mut kept, arguments.as_ref());
            let used = object == "access entry" && owner != Some(OURS) || object == "node role" && owner.is_none();
            // the rest of what a bundle of ours consists of is gone: what is left of it is taken up again
            let taken_up = owner == Some(OURS) && matches!(object, "controller policy 1" | "access entry");
            match end {
                End::Done if used => {
                    let changed = differences(&before, &stage.count(), false);
                    let theirs: Vec<&String> = changed.iter().filter(|line| !line.ends_with("want null")).collect();
                    assert!(theirs.is_empty(), "{at}: {theirs:#?}");
                    assert_eq!(stage.apply(&mut kept, None), End::Done, "{at}");
                    let stays = |line: &&String| line.contains("AWSServiceRoleFor") || line.starts_with("kubernetes CRD");
                    let left = differences(&before, &stage.count(), false);
                    let left: Vec<&String> = left.iter().filter(|line| !stays(line)).collect();
                    assert!(left.is_empty(), "{at}, after a destroy: {left:#?}");
                }
                End::Done => assert!(taken_up, "{at} was taken"),
                End::Failed(errors) => {
                    assert!(!used && !taken_up, "{at}: {errors:?}");
                    let says = match owner {
                        Some(OURS) => "import {",
                        Some(arn) => arn,
                        None => "this bundle did not make it",
                    };
                    assert!(errors.iter().any(|e| e.contains(&format!("make {object}")) && e.contains(says)), "{at}: {errors:?}");
                    assert_eq!(differences(&before, &stage.count(), false), Vec::<String>::new(), "{at}: refused before the first write");
                }
                other => panic!("{at}: {other:?}"),
            }
        }
    }
}
