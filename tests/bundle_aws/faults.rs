//! AWS as it is: answers that get lost, objects that are known late, roles that may not be made, clusters without access entries.

use serde_json::{Value, json};

use crate::common::{Fault, Lab, Options, Tofu};
use crate::{ADDRESS, aws_only, named, refused, warned};

/// How many there are of what a bundle makes, and what is left of the creation.
fn counted(lab: &Lab, prefix: &str) -> Value {
    lab.boto3(&format!(
        "
         prefix = '{prefix}'
         versions = [len(iam.list_policy_versions(PolicyArn=p['Arn'])['Versions']) for p in iam.list_policies(Scope='Local')['Policies'] if p['PolicyName'].startswith(prefix)]
         role = iam.get_role(RoleName=prefix + '-controller')['Role']
         result = {{
             'versions': versions, 'creating': 'karpenter-tofu/creating' in [t['Key'] for t in role['Tags']],
             'associations': len(eks.list_pod_identity_associations(clusterName=cluster, serviceAccount=prefix)['associations']),
             'attached': len(iam.list_attached_role_policies(RoleName=prefix + '-controller')['AttachedPolicies']),
             'targets': [len(events.list_targets_by_rule(Rule=r['Name'])['Targets']) for r in events.list_rules(NamePrefix=prefix)['Rules']],
             'profile': [[r['RoleName'] for r in p['Roles']] for p in iam.list_instance_profiles()['InstanceProfiles'] if p['InstanceProfileName'].startswith(prefix)],
         }}"
    ))
}

fn whole() -> Value {
    json!({"versions": [1], "creating": false, "associations": 1, "attached": 1, "targets": [1, 1, 1, 1, 1], "profile": [["lost-node"]]})
}

#[test]
fn answers_that_get_lost_make_nothing_twice() {
    let lab = Lab::shared();
    let proxy = lab.proxy();
    let arguments = named("lost") + "  instance_profile {\n    create = true\n  }\n";
    let tofu = Tofu::new(lab, &aws_only(lab, &arguments)).through(&proxy);
    for call in [
        "iam:CreateRole",
        "iam:CreateInstanceProfile",
        "iam:CreatePolicy$",
        "eks:CreatePodIdentityAssociation",
        "eks:CreateAccessEntry",
        "sqs:CreateQueue",
        "events:PutRule",
        "events:PutTargets",
        "iam:AttachRolePolicy",
        "iam:AddRoleToInstanceProfile",
    ] {
        proxy.fault(Fault::on(call).times(1).after_effect().close());
    }
    tofu.apply().ok();
    assert_eq!(counted(lab, "lost"), whole());
    tofu.plan().empty();

    // IAM knows what was just made seconds later
    tofu.destroy().ok();
    proxy.clear();
    for call in ["iam:AttachRolePolicy", "iam:AddRoleToInstanceProfile"] {
        proxy.fault(Fault::on(call).times(3).status(404, "NoSuchEntity", "cannot be found"));
    }
    proxy.fault(Fault::on("iam:UntagRole").times(1).status(409, "ConcurrentModification", "try again"));
    // throttled calls are tried again, a quota never
    proxy.fault(Fault::on("events:PutRule").times(2).status(400, "ThrottlingException", "slow down"));
    proxy.fault(Fault::on("iam:CreatePolicy$").times(1).status(409, "LimitExceeded", "quota"));
    proxy.reset();
    refused(tofu.apply(), "iam:CreatePolicy lost-controller");
    assert_eq!(proxy.count("iam:CreatePolicy"), 1, "a quota is not tried again");
    tofu.run(&["untaint", ADDRESS]).ok();
    tofu.apply().ok();
    assert_eq!(counted(lab, "lost"), whole());
    tofu.plan().empty();
    tofu.destroy().ok();
}

#[test]
fn a_spot_role_that_may_not_be_made_is_a_warning_and_no_drift() {
    let lab = Lab::start(Options { cluster_name: "spotless".into(), karpenter_ready: false, ..Options::default() });
    let proxy = lab.proxy();
    let tofu = Tofu::new(&lab, &aws_only(&lab, "")).through(&proxy);
    proxy.fault(Fault::on("iam:CreateServiceLinkedRole").times(1000).status(403, "AccessDenied", "not allowed"));
    warned(&tofu.apply().ok(), "create-service-linked-role");
    assert_eq!(tofu.resource(ADDRESS)["objects"]["spot_service_linked_role"], "not managed");
    tofu.plan().empty();
    // somebody else makes it: nothing to do, and it is ours to want again
    lab.boto3("iam.create_service_linked_role(AWSServiceName='spot.amazonaws.com')");
    assert_eq!(tofu.plan().ok().changes(), Vec::<String>::new());

    // a cluster without access entries: nodes are let in by a ConfigMap that is not the bundle's
    tofu.destroy().ok();
    lab.boto3("eks.update_cluster_config(name=cluster, accessConfig={'authenticationMode': 'CONFIG_MAP'})");
    proxy.clear();
    proxy.reset();
    let outcome = tofu.apply().ok();
    warned(&outcome, "rolearn: arn:aws:iam::123456789012:role/spotless-karpenter-node-role");
    assert_eq!(proxy.count("eks:CreateAccessEntry") + proxy.count("eks:DescribeAccessEntry"), 0);
    tofu.plan().empty();
    assert_eq!(tofu.resource(ADDRESS)["access_entry_arn"], Value::Null);
    tofu.destroy().ok();
    tofu.apply().ok();
    assert_eq!(proxy.count("eks:CreateAccessEntry") + proxy.count("eks:DescribeAccessEntry"), 0, "EKS would answer with an error");
    // the mode changes: the entry is missing from then on
    lab.boto3("eks.update_cluster_config(name=cluster, accessConfig={'authenticationMode': 'API_AND_CONFIG_MAP'})");
    assert_eq!(tofu.plan().ok().change(ADDRESS)["before"]["objects"]["access_entry"], "missing");
    tofu.apply_planned().ok();
    tofu.plan().empty();
    assert!(tofu.resource(ADDRESS)["access_entry_arn"].is_string());

    // an entry is of the role that was there when it was made, whatever it is called
    lab.boto3(
        "role = 'spotless-karpenter-node-role'
for policy in iam.list_attached_role_policies(RoleName=role)['AttachedPolicies']:
    iam.detach_role_policy(RoleName=role, PolicyArn=policy['PolicyArn'])
iam.delete_role(RoleName=role)",
    );
    proxy.reset();
    tofu.apply().ok();
    assert_eq!((proxy.count("eks:DeleteAccessEntry"), proxy.count("eks:CreateAccessEntry")), (1, 1));
    tofu.plan().empty();
    tofu.destroy().ok();
}
