//! `terraform-provider-karpenter orphans`: nothing of a bundle that lives, everything that nothing living leads to.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::client::{End, Kept, binary};
use super::common::Lab;
use super::stage::{CLUSTER, shared};

/// The exit code and what was printed.
fn orphans(lab: &Lab, more: &[&str]) -> (Option<i32>, String) {
    let output = lab.command(&binary()).args(["orphans", "--cluster", CLUSTER]).args(more).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// Kinds with the last part of each id.
fn listed(text: &str) -> BTreeSet<String> {
    let report: Json = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let name = |orphan: &Json| {
        let id = orphan["id"].as_str().unwrap();
        let last = id.rsplit(['/', ':']).next().unwrap();
        // what AWS chose says nothing
        let chosen = id.starts_with("i-") || id.starts_with("lt-") || id.contains("association") || id.contains("access-entry");
        if chosen { orphan["kind"].as_str().unwrap().to_owned() } else { format!("{} {last}", orphan["kind"].as_str().unwrap()) }
    };
    report["orphans"].as_array().unwrap().iter().map(name).collect()
}

const LEFT: &str = "
    owner = {'karpenter-tofu/cluster': 'arn:aws:eks:us-east-1:123456789012:cluster/matrix'}
    tags = lambda m: [{'Key': k, 'Value': v} for k, v in m.items()]
    sqs.create_queue(QueueName='left', tags=owner)
    sqs.create_queue(QueueName='theirs', tags={'karpenter-tofu/cluster': 'arn:aws:eks:eu-west-1:123456789012:cluster/matrix'})
    events.put_rule(Name='left', EventPattern=json.dumps({'source': ['aws.health']}), Tags=tags(owner))
    iam.create_role(RoleName='left', AssumeRolePolicyDocument=json.dumps({'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Principal': {'Service': 'pods.eks.amazonaws.com'}, 'Action': 'sts:AssumeRole'}]}), Tags=tags({**owner, 'karpenter-tofu/creating': 'true'}))
    karpenters = {'kubernetes.io/cluster/matrix': 'owned', 'karpenter.sh/nodepool': 'default', 'karpenter.k8s.aws/ec2nodeclass': 'gone', 'karpenter.k8s.aws/cluster': 'matrix', 'topology.kubernetes.io/region': 'us-east-1'}
    image = ec2.describe_images()['Images'][0]['ImageId']
    spec = lambda kind, m: [{'ResourceType': kind, 'Tags': tags(m)}]
    one = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=spec('instance', karpenters))['Instances'][0]['InstanceId']
    other = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=spec('instance', {**karpenters, 'kubernetes.io/cluster/matrix': 'shared'}))['Instances'][0]['InstanceId']
    ec2.create_launch_template(LaunchTemplateName='karpenter.k8s.aws/1', LaunchTemplateData={}, TagSpecifications=spec('launch-template', karpenters))
    iam.create_instance_profile(InstanceProfileName='matrix_1', Tags=tags(karpenters))
    iam.create_instance_profile(InstanceProfileName='matrix_2', Tags=tags({**karpenters, 'topology.kubernetes.io/region': 'eu-west-1'}))
    result = [one, other]";

/// What takes the owner tag off objects that a bundle can be given, and what puts it on again.
const UNTAGGED: [(&str, &str); 2] = [
    (
        "of = eks.list_pod_identity_associations(clusterName=cluster)['associations'][0]['associationArn']\neks.untag_resource(resourceArn=of, tagKeys=['karpenter-tofu/cluster'])",
        "",
    ),
    (
        "iam.untag_role(RoleName='matrix-karpenter-controller', TagKeys=['karpenter-tofu/cluster'])",
        "iam.tag_role(RoleName='matrix-karpenter-controller', Tags=[{'Key': 'karpenter-tofu/cluster', 'Value': 'arn:aws:eks:us-east-1:123456789012:cluster/matrix'}])",
    ),
];

#[test]
fn orphans_lists_what_nothing_living_leads_to_and_nothing_else() {
    let stage = shared();
    stage.wipe(false);
    let mut kept = Kept::default();
    let another = json!([{"additional_arns": ["arn:aws:iam::123456789012:role/another"]}]);
    let arguments = stage.whole(json!({"instance_profile": [{"create": true}], "node_role": another}));
    assert_eq!(stage.apply(&mut kept, Some(&arguments)), End::Done);
    let nothing = (Some(0), "nothing of arn:aws:eks:us-east-1:123456789012:cluster/matrix is left behind\n".to_owned());
    assert_eq!(orphans(&stage.lab, &[]), nothing);
    // an association that somebody else made leads to the role, and then a role that somebody else made to nothing
    for (without, again) in UNTAGGED {
        stage.python(without);
        assert_eq!(orphans(&stage.lab, &[]), nothing, "{without}");
        stage.python(again);
    }

    let instances = stage.python(LEFT);
    let (code, text) = orphans(&stage.lab, &["--json"]);
    let left = ["queue left", "rule left", "role left", "instance", "launch template", "instance profile matrix_1"];
    assert_eq!((code, listed(&text)), (Some(2), left.map(str::to_owned).into()), "{text}");
    let (code, text) = orphans(&stage.lab, &[]);
    let lines = ["no bundle that lives leads to it", "did not finish", "no NodeClaim knows it", "its EC2NodeClass \"gone\" does not exist"];
    assert!(code == Some(2) && lines.iter().all(|line| text.contains(line)), "{text}");

    // a claim knows the instance, and the class is there after all
    let id = instances[0].as_str().unwrap();
    stage.python(&format!(
        "{}\n    delete(KARPENTER[0] + '/default')\n    patch(KARPENTER[1] + '/default-1/status', {{'status': {{'providerID': 'aws:///us-east-1a/{id}'}}}})\n    o = get(KARPENTER[2] + '/default')\n    post(KARPENTER[2], {{**o, 'metadata': {{'name': 'gone'}}}})",
        super::play::NODES
    ));
    assert_eq!(listed(&orphans(&stage.lab, &["--json"]).1), ["queue left", "rule left", "role left"].map(str::to_owned).into());

    // the cluster goes, and nothing of it lives any more
    stage.python("eks.delete_cluster(name=cluster)");
    let (code, text) = orphans(&stage.lab, &["--json", "--region", "us-east-1"]);
    let found = listed(&text);
    assert!(code == Some(2) && text.contains("\"cluster_exists\": false"), "{text}");
    for one in left.iter().copied().chain([
        "role matrix-karpenter-controller",
        "policy matrix-karpenter-controller",
        "queue matrix-karpenter",
        "role matrix-karpenter-node-role",
        "instance profile matrix-karpenter-node-role",
        "rule matrix-karpenter-rebalance",
    ]) {
        assert!(found.contains(one), "{one} is not among {found:?}");
    }
    assert!(!text.contains("theirs"), "another cluster's");
    stage.python(&format!(
        "ec2.terminate_instances(InstanceIds={instances})\nec2.delete_launch_template(LaunchTemplateName='karpenter.k8s.aws/1')"
    ));
    stage.wipe(false);
    let (code, text) = orphans(&stage.lab, &["--json"]);
    assert_eq!((code, listed(&text)), (Some(0), BTreeSet::new()), "{text}");

    let (code, text) = orphans(&stage.lab, &["--what"]);
    assert!(code == Some(1) && text.contains("orphans --cluster NAME"), "{text}");
    assert_eq!(json!(orphans(&stage.lab, &["--cluster", "arn:aws:eks:us-east-1:210987654321:cluster/x"]).0), json!(1), "another account");
}
