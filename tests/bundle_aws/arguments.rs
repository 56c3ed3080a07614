//! Every argument about AWS, on and off again.

use serde_json::{Value, json};

use crate::common::{Lab, Tofu};
use crate::{ADDRESS, aws_only, configuration, named, refused};

const EVERYTHING: &str = r#"
  tags            = { team = "data" }
  service_account = "knobs"
  controller_role {
    name                 = "knobs-controller"
    path                 = "/platform/"
    description          = "ours"
    permissions_boundary = "arn:aws:iam::aws:policy/PowerUserAccess"
    max_session_duration = 7200
    additional_policies  = { audit = "arn:aws:iam::aws:policy/ReadOnlyAccess" }
    tags                 = { team = "platform", tier = "1" }
    policy_statement {
      sid       = "Mine"
      actions   = ["ec2:DescribeTags"]
      resources = ["*"]
      condition {
        test     = "StringEquals"
        variable = "aws:RequestedRegion"
        values   = ["us-east-1"]
      }
    }
    assume_role_statement {
      actions = ["sts:AssumeRole"]
      principals {
        type        = "AWS"
        identifiers = ["arn:aws:iam::123456789012:root"]
      }
    }
  }
  node_role {
    name                 = "knobs-node"
    path                 = "/nodes/"
    description          = "theirs"
    max_session_duration = 3600
    attach_cni_policy    = true
    ip_family            = "ipv6"
    additional_policies  = { logs = "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy" }
    tags                 = { tier = "2" }
    additional_arns      = ["arn:aws:iam::123456789012:role/knobs-other"]
  }
  instance_profile {
    create = true
    path   = "/nodes/"
  }
  interruption_queue {
    name                              = "knobs"
    kms_key_id                        = "alias/knobs"
    kms_data_key_reuse_period_seconds = 600
    policy_statement {
      sid     = "Peek"
      actions = ["sqs:GetQueueAttributes"]
      principals {
        type        = "AWS"
        identifiers = ["arn:aws:iam::123456789012:root"]
      }
    }
  }
  rules {
    prefix = "knobs-"
  }
"#;

/// All that differs by an argument, as boto3 sees it.
fn live(lab: &Lab) -> Value {
    lab.boto3(
        "
         tags = lambda ts: {t['Key']: t['Value'] for t in ts if t['Key'] != 'karpenter-tofu/cluster'}
         def role(name):
             r = iam.get_role(RoleName=name)['Role']
             attached = [p['PolicyName'] for p in iam.list_attached_role_policies(RoleName=name)['AttachedPolicies']]
             return {'path': r['Path'], 'description': r['Description'], 'session': r.get('MaxSessionDuration', 3600), 'tags': tags(r['Tags']),
                     'boundary': r.get('PermissionsBoundary', {}).get('PermissionsBoundaryArn'), 'attached': sorted(attached),
                     'trust': [s['Principal'] for s in r['AssumeRolePolicyDocument']['Statement']]}
         statements = {}
         for p in iam.list_policies(Scope='Local')['Policies']:
             if p['PolicyName'].startswith('knobs-controller'):
                 document = iam.get_policy_version(PolicyArn=p['Arn'], VersionId=p['DefaultVersionId'])['PolicyVersion']['Document']
                 statements.update({s['Sid']: s for s in document['Statement']})
         url = sqs.get_queue_url(QueueName='knobs')['QueueUrl']
         queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])['Attributes']
         profiles = [p for p in iam.list_instance_profiles()['InstanceProfiles'] if p['InstanceProfileName'] == 'knobs-node']
         result = {
             'controller': role('knobs-controller'), 'node': role('knobs-node'),
             'mine': statements.get('Mine'), 'kms': statements.get('AllowInterruptionQueueDecryption', {}).get('Condition'),
             'passed': statements['AllowPassingInstanceRole']['Resource'],
             'profile': [[p['Path'], [r['RoleName'] for r in p['Roles']]] for p in profiles],
             'key': queue.get('KmsMasterKeyId') or None, 'reuse': queue.get('KmsDataKeyReusePeriodSeconds'),
             'queue': [s['Sid'] for s in json.loads(queue['Policy'])['Statement']],
             'rules': sorted(r['Name'] for r in events.list_rules(NamePrefix='knobs-')['Rules']),
             'entries': sorted(a for a in eks.list_access_entries(clusterName=cluster)['accessEntries'] if 'knobs' in a),
         }",
    )
}

#[test]
fn every_knob_turns_on_and_off_again() {
    let lab = Lab::shared();
    lab.boto3(
        "
         iam.create_role(RoleName='knobs-other', AssumeRolePolicyDocument='{}')
         iam.create_policy(PolicyName='AmazonEKS_CNI_IPv6_Policy', PolicyDocument=json.dumps({'Version': '2012-10-17', 'Statement': {'Effect': 'Allow', 'Action': 'ec2:AssignIpv6Addresses', 'Resource': '*'}}))",
    );
    let tofu = Tofu::new(lab, &aws_only(lab, EVERYTHING));
    let planned = tofu.plan().ok().change(ADDRESS)["after"].clone();
    assert_eq!(planned["node_role_arn"], "arn:aws:iam::123456789012:role/nodes/knobs-node");
    assert_eq!(planned["instance_profile_arn"], "arn:aws:iam::123456789012:instance-profile/nodes/knobs-node");
    tofu.apply_planned().ok();
    tofu.plan().empty();
    assert_eq!(
        live(lab),
        json!({
            "controller": {
                "path": "/platform/", "description": "ours", "session": 7200, "tags": {"team": "platform", "tier": "1"},
                "boundary": "arn:aws:iam::aws:policy/PowerUserAccess", "attached": ["ReadOnlyAccess", "knobs-controller", "knobs-controller-2"],
                "trust": [{"Service": "pods.eks.amazonaws.com"}, {"AWS": "arn:aws:iam::123456789012:root"}],
            },
            "node": {
                "path": "/nodes/", "description": "theirs", "session": 3600, "tags": {"team": "data", "tier": "2"}, "boundary": null,
                "attached": ["AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_IPv6_Policy", "AmazonSSMManagedInstanceCore", "CloudWatchAgentServerPolicy"],
                "trust": [{"Service": "ec2.amazonaws.com"}],
            },
            "mine": {"Sid": "Mine", "Effect": "Allow", "Action": "ec2:DescribeTags", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}},
            "kms": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/knobs"}},
            "passed": ["arn:aws:iam::123456789012:role/nodes/knobs-node", "arn:aws:iam::123456789012:role/knobs-other"],
            "profile": [["/nodes/", ["knobs-node"]]], "key": "alias/knobs", "reuse": "600", "queue": ["EventsMaySend", "NoPlainHttp", "Peek"],
            "rules": ["knobs-capacity-reservation-interruption", "knobs-health-event", "knobs-instance-state-change", "knobs-rebalance", "knobs-spot-interruption"],
            "entries": ["arn:aws:iam::123456789012:role/knobs-other", "arn:aws:iam::123456789012:role/nodes/knobs-node"],
        })
    );
    outputs(lab, &tofu.resource(ADDRESS));

    // off again: everything goes but what has a name
    let bare = "  service_account = \"knobs\"\n  controller_role {\n    name = \"knobs-controller\"\n    path = \"/platform/\"\n  }\n  node_role {\n    name = \"knobs-node\"\n    path = \"/nodes/\"\n  }\n  \
                interruption_queue {\n    name = \"knobs\"\n  }\n  rules {\n    create = false\n  }\n  access_entry {\n    create = false\n  }\n  pod_identity_association {\n    create = false\n  }\n";
    tofu.write("main.tf", &aws_only(lab, bare));
    assert_eq!(tofu.plan().ok().changes(), [format!("{ADDRESS}: update")]);
    tofu.apply_planned().ok();
    tofu.plan().empty();
    let off = live(lab);
    assert_eq!(off["controller"]["attached"], json!(["knobs-controller"]));
    assert_eq!(
        (&off["controller"]["tags"], &off["controller"]["session"], &off["controller"]["boundary"]),
        (&json!({}), &json!(3600), &Value::Null)
    );
    assert_eq!(off["controller"]["trust"], json!([{"Service": "pods.eks.amazonaws.com"}]));
    let four = ["AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonSSMManagedInstanceCore"];
    assert_eq!((&off["node"]["attached"], &off["node"]["tags"]), (&json!(four), &json!({})));
    for gone in ["mine", "kms", "key"] {
        assert_eq!(off[gone], Value::Null, "{gone}");
    }
    for gone in ["profile", "rules", "entries"] {
        assert_eq!(off[gone], json!([]), "{gone}");
    }
    assert_eq!(
        (&off["queue"], &off["passed"]),
        (&json!(["EventsMaySend", "NoPlainHttp"]), &json!("arn:aws:iam::123456789012:role/nodes/knobs-node"))
    );

    tofu.destroy().ok();
    assert_eq!(left(lab, "knobs"), json!(["knobs-other"]), "only the role that somebody else made");
}

/// Roles, policies, profiles, queues, rules, associations and entries whose name has this in it.
fn left(lab: &Lab, part: &str) -> Value {
    let found = lab.boto3(
        "
         names = [r['RoleName'] for r in iam.list_roles()['Roles']] + [p['PolicyName'] for p in iam.list_policies(Scope='Local')['Policies']]
         names += [p['InstanceProfileName'] for p in iam.list_instance_profiles()['InstanceProfiles']] + sqs.list_queues().get('QueueUrls', [])
         names += [r['Name'] for r in events.list_rules()['Rules']] + eks.list_access_entries(clusterName=cluster)['accessEntries']
         result = names + [a['serviceAccount'] for a in eks.list_pod_identity_associations(clusterName=cluster)['associations']]",
    );
    found.as_array().unwrap().iter().filter(|name| name.as_str().unwrap().contains(part)).cloned().collect()
}

/// What the EKS module outputs, too.
fn outputs(lab: &Lab, state: &Value) {
    let ids = lab.boto3(
        "
         result = {'controller_role_unique_id': iam.get_role(RoleName='knobs-controller')['Role']['RoleId'],
             'node_role_unique_id': iam.get_role(RoleName='knobs-node')['Role']['RoleId'],
             'instance_profile_unique_id': iam.get_instance_profile(InstanceProfileName='knobs-node')['InstanceProfile']['InstanceProfileId'],
             'access_entry_arn': eks.describe_access_entry(clusterName=cluster, principalArn='arn:aws:iam::123456789012:role/nodes/knobs-node')['accessEntry']['accessEntryArn'],
             'queue_url': sqs.get_queue_url(QueueName='knobs')['QueueUrl']}",
    );
    for (name, id) in ids.as_object().unwrap() {
        assert_eq!(&state[name], id, "{name}");
    }
    assert_eq!(state["instance_profile_name"], "knobs-node");
    assert_eq!(state["event_rules"]["knobs-rebalance"], "arn:aws:events:us-east-1:123456789012:rule/knobs-rebalance");
    assert_eq!((&state["crd_versions"], &state["ready_reason"]), (&json!({}), &Value::Null));
    let lines = state["objects"].as_object().unwrap();
    assert!(lines.values().all(|line| line == "in sync"), "{lines:#?}");
    assert!(lines.contains_key("access_entry_knobs-other") && lines.contains_key("instance_profile"), "{lines:#?}");
}

#[test]
fn what_others_made_is_used_as_it_is() {
    let lab = Lab::shared();
    lab.boto3(
        "
         for name in ('given-controller', 'given-node'): iam.create_role(RoleName=name, AssumeRolePolicyDocument='{}')
         sqs.create_queue(QueueName='given')",
    );
    let given = |queue: &str| {
        format!(
            "  service_account = \"given\"\n  controller_role {{\n    create = false\n    name   = \"given-controller\"\n  }}\n  node_role {{\n    create = false\n    name   = \"given-node\"\n  }}\n  \
             interruption_queue {{\n    create = false\n    name   = \"{queue}\"\n  }}\n  rules {{\n    create = false\n  }}\n  access_entry {{\n    create = false\n  }}\n  spot_role {{\n    create = false\n  }}\n"
        )
    };
    let proxy = lab.proxy();
    let tofu = Tofu::new(lab, &aws_only(lab, &given("absent"))).through(&proxy);
    refused(tofu.apply(), "there is no such queue");
    tofu.write("main.tf", &aws_only(lab, &given("given")));
    proxy.reset();
    tofu.apply().ok();
    let writes: Vec<String> = proxy.calls().into_iter().filter(|call| call.mutating).map(|call| call.key).collect();
    assert_eq!(writes, ["eks:CreatePodIdentityAssociation"]);
    tofu.plan().empty();
    let state = tofu.resource(ADDRESS);
    assert_eq!(state["queue_arn"], "arn:aws:sqs:us-east-1:123456789012:given");
    assert!(state["queue_url"].as_str().unwrap().ends_with("/given") && state["controller_role_unique_id"].is_string(), "{state:#}");
    let lines = json!({
        "controller_role": "not managed", "node_role": "not managed", "interruption_queue": "not managed",
        "spot_service_linked_role": "not managed", "pod_identity_association": "in sync",
    });
    assert_eq!(state["objects"], lines);
    tofu.destroy().ok();
    assert_eq!(left(lab, "given").as_array().unwrap().len(), 3);
}

#[test]
fn tags_that_others_put_on_are_ignored_where_asked_for() {
    let lab = Lab::shared();
    let provider = |ignore: &str| format!("  default_tags {{\n    tags = {{ env = \"test\" }}\n  }}\n{ignore}");
    let ignore = "  ignore_tags {\n    keys         = [\"env\"]\n    key_prefixes = [\"audit:\"]\n  }\n";
    let tofu = Tofu::new(lab, &configuration(lab, &provider(""), &(named("tagged") + "  tags = { owner = \"me\" }\n"), "create = false"));
    tofu.apply().ok();
    lab.boto3(
        "
         iam.tag_role(RoleName='tagged-controller', Tags=[{'Key': 'env', 'Value': 'theirs'}, {'Key': 'audit:seen', 'Value': '1'}])
         sqs.tag_queue(QueueUrl=sqs.get_queue_url(QueueName='tagged')['QueueUrl'], Tags={'env': 'theirs', 'owner': 'them'})",
    );
    let plan = tofu.plan().ok();
    assert_eq!(plan.change(ADDRESS)["before"]["objects"]["controller_role"], "drifted: tag env is theirs, want test");
    tofu.write("main.tf", &configuration(lab, &provider(ignore), &(named("tagged") + "  tags = { owner = \"me\" }\n"), "create = false"));
    let before = tofu.plan().ok().change(ADDRESS)["before"]["objects"].clone();
    assert_eq!(
        (&before["controller_role"], &before["interruption_queue"]),
        (&json!("in sync"), &json!("drifted: tag owner is them, want me"))
    );
    tofu.apply_planned().ok();
    tofu.plan().empty();
    let tags = "
        role = {t['Key']: t['Value'] for t in iam.list_role_tags(RoleName='tagged-controller')['Tags']}
        queue = sqs.list_queue_tags(QueueUrl=sqs.get_queue_url(QueueName='tagged')['QueueUrl'])['Tags']
        result = [role['env'], role['audit:seen'], queue['env'], queue['owner']]";
    assert_eq!(lab.boto3(tags), json!(["theirs", "1", "theirs", "me"]));
    tofu.destroy().ok();
}

#[test]
fn permissions_that_no_role_carries_are_refused_at_plan() {
    let lab = Lab::shared();
    let role = |contents: &str| aws_only(lab, &format!("  controller_role {{\n{contents}\n  }}\n"));
    let long = "    policy_statement {\n      actions   = [\"ec2:Describe*\"]\n      resources = [for i in range(300) : \"arn:aws:ec2:us-east-1:123456789012:subnet/${i}\"]\n    }\n";
    let tofu = Tofu::new(lab, &role(long));
    let outcome = tofu.plan().outcome.err();
    let error = outcome.errors()[0].text();
    assert!(error.contains("characters longer than the 6144") && outcome.errors()[0].code().contains("policy_statement"), "{error}");
    tofu.write("main.tf", &role("    additional_policies = { for i in range(10) : i => \"arn:aws:iam::123456789012:policy/${i}\" }"));
    refused(tofu.plan().outcome, "additional_policies take 10, which leaves 0");
}

#[test]
fn bad_arguments_are_refused_offline() {
    let lab = Lab::shared();
    let tofu = Tofu::new(lab, "");
    for (arguments, part) in [
        ("  credentials = \"static\"", "one of"),
        ("  cluster_name = \"my cluster\"", "no name of an EKS cluster"),
        ("  controller_role {\n    additional_policies = { x = \"AdministratorAccess\" }\n  }", "no ARN of an IAM policy"),
        ("  controller_role {\n    policy_statement {\n      resources = [\"*\"]\n    }\n  }", "either actions or not_actions"),
        ("  controller_role {\n    assume_role_statement {\n      actions = [\"sts:AssumeRole\"]\n    }\n  }", "needs either principals"),
        ("  controller_role {\n    max_session_duration = 60\n  }", "3600"),
        ("  node_role {\n    additional_arns = [\"x\"]\n  }", "arn:aws"),
        ("  node_role {\n    tags = { \"karpenter-tofu/x\" = \"y\" }\n  }", "are taken"),
        ("  interruption_queue {\n    create = false\n  }", "which queue to use"),
        ("  interruption_queue {\n    kms_key_id = \"alias/aws/sqs\"\n  }", "AWS manages that key"),
        ("  interruption_queue {\n    kms_key_id = \"x\"\n    sqs_managed_sse_enabled = true\n  }", "either by SQS' own key"),
        ("  rules {\n    prefix = \"0123456789012345678901234567890123456789\"\n  }", "31"),
        ("  version = \"latest\"", "is no version"),
        ("  namespace = \"Karpenter\"", "namespace is \"Karpenter\""),
        ("  service_account = \"my_karpenter\"", "lower-case letters"),
        ("  controller_role {\n    name = \"karpenter controller\"\n  }", "karpenter controller"),
        ("  node_role {\n    name = \"nodes/karpenter\"\n  }", "nodes/karpenter"),
        ("  instance_profile {\n    name = \"a b\"\n  }", "a b"),
        ("  interruption_queue {\n    name = \"karpenter.fifo\"\n  }", "karpenter.fifo"),
        ("  rules {\n    prefix = \"karpenter/\"\n  }", "karpenter/"),
        ("  controller_role {\n    create = false\n  }", "which role to use"),
        ("  controller_role {\n    path = \"platform\"\n  }", "start and end with a slash"),
        ("  tags = { \"aws:x\" = \"y\" }", "are taken"),
        ("  timeouts {\n    create = \"soon\"\n  }", "soon"),
    ] {
        tofu.write("main.tf", &aws_only(lab, arguments));
        refused(tofu.validate(), part);
    }
    for (chart, part) in [("values = [\"a: [\"]", "chart.values"), ("release_name = \"my_karpenter\"", "lower-case letters")] {
        tofu.write("main.tf", &configuration(lab, "", "", chart));
        refused(tofu.validate(), part);
    }
}
