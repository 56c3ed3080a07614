//! `karpenter_bundle` as users drive it: create, update, drift, import, what is refused, destroy. What verifies is boto3, kubectl
//! and helm, never the provider.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{Fault, Lab, Options, Outcome, Tofu};
use serde_json::{Value, json};

const ADDRESS: &str = "karpenter_bundle.this";

fn lab(cluster_name: &str) -> Lab {
    // the identity has what the documentation lists, and no more
    Lab::start(Options { cluster_name: cluster_name.into(), admin: false, ..Options::default() })
}

/// A bundle with these arguments, and a chart block of its own.
fn hcl(lab: &Lab, arguments: &str, chart: &str) -> String {
    format!(
        "provider \"karpenter\" {{\n  cluster_name = \"{}\"\n}}\nresource \"karpenter_bundle\" \"this\" {{\n{arguments}\n  chart {{\n{chart}\n  }}\n}}\n",
        lab.cluster_name()
    )
}

fn whole(lab: &Lab, arguments: &str, values: &str) -> String {
    hcl(lab, arguments, &format!("    repository = \"{}\"\n{values}", lab.chart_repository()))
}

fn aws_only(lab: &Lab, arguments: &str) -> String {
    hcl(lab, arguments, "    create = false")
}

/// The lines of `objects` that a plan turns back, sorted.
fn drifted(tofu: &Tofu) -> Vec<String> {
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), [format!("{ADDRESS}: update")]);
    let change = plan.change(ADDRESS);
    let after = change["after"]["objects"].as_object().expect("known: only drift is repaired");
    assert!(after.values().all(|line| line == "in sync" || line == "not managed"), "{after:#?}");
    let before = change["before"]["objects"].as_object().expect("the lines so far");
    before
        .iter()
        .filter(|(_, line)| *line != "in sync" && *line != "not managed")
        .map(|(key, line)| format!("{key} = {}", line.as_str().unwrap()))
        .collect()
}

#[track_caller]
fn refused(outcome: Outcome, part: &str) {
    let outcome = outcome.err();
    assert!(outcome.errors().iter().any(|e| e.text().contains(part)), "no {part:?} in {:#?}", outcome.errors());
}

#[test]
fn a_bundle_lives_through_updates_and_drift() {
    let lab = lab("granite");
    let before = lab.inventory();
    let tofu = Tofu::new(&lab, &whole(&lab, "  tags = { team = \"data\" }", ""));
    let planned = tofu.plan().ok().change(ADDRESS)["after"].clone();
    assert_eq!(planned["node_role_name"], "granite-karpenter-node-role");
    assert_eq!(planned["controller_role_arn"], "arn:aws:iam::123456789012:role/granite-karpenter-controller");
    assert_eq!(planned["queue_arn"], "arn:aws:sqs:us-east-1:123456789012:granite-karpenter");
    tofu.apply_planned().ok();
    tofu.plan().empty();
    tofu.plan_with(&["-refresh=false"]).empty();
    let state = tofu.resource(ADDRESS);
    assert_eq!((&state["ready"], &state["version"]), (&json!(true), &json!("1.14.1")));
    assert_eq!(
        live(&lab),
        json!({
            "trust": {"Service": "pods.eks.amazonaws.com"},
            "creating": false,
            "association": "arn:aws:iam::123456789012:role/granite-karpenter-controller",
            "owners": ["arn:aws:eks:us-east-1:123456789012:cluster/granite"],
            "teams": ["data"],
            "versions": [1],
            "rules": 5,
            "entry": "EC2_LINUX",
            "retention": "300",
        })
    );

    // tags and values change in place: the policy keeps its version, the release gets a revision
    tofu.write("main.tf", &whole(&lab, "  tags = { owner = \"platform\" }", "    values = [yamlencode({ replicas = 2 })]"));
    assert_eq!(tofu.plan().ok().changes(), [format!("{ADDRESS}: update")]);
    tofu.apply_planned().ok();
    tofu.plan().empty();
    let now = live(&lab);
    assert_eq!((&now["teams"], &now["versions"]), (&json!([]), &json!([1])));
    assert_eq!(lab.kubectl(&["-n", "kube-system", "get", "deployment", "karpenter"])["spec"]["replicas"], 2);
    let history: Value = serde_json::from_str(&lab.helm(&["-n", "kube-system", "history", "karpenter", "-o", "json"])).unwrap();
    assert_eq!(history.as_array().unwrap().last().unwrap()["status"], "deployed");
    assert_eq!(history.as_array().unwrap().len(), 2);

    // drift shows by name and is repaired alone
    lab.boto3(
        "
         url = sqs.get_queue_url(QueueName=f'{cluster}-karpenter')['QueueUrl']
         policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=['Policy'])['Attributes']['Policy']
         sqs.set_queue_attributes(QueueUrl=url, Attributes={'MessageRetentionPeriod': '60', 'Policy': policy})
         rule = f'{cluster}-karpenter-rebalance'
         events.remove_targets(Rule=rule, Ids=[t['Id'] for t in events.list_targets_by_rule(Rule=rule)['Targets']])
         events.delete_rule(Name=rule)
         events.disable_rule(Name=f'{cluster}-karpenter-spot-interruption')
         arn = f'arn:aws:iam::123456789012:policy/{cluster}-karpenter-controller'
         iam.detach_role_policy(RoleName=f'{cluster}-karpenter-controller', PolicyArn=arn)
         iam.untag_role(RoleName=f'{cluster}-karpenter-node-role', TagKeys=['owner'])
         eks.delete_access_entry(clusterName=cluster, principalArn=f'arn:aws:iam::123456789012:role/{cluster}-karpenter-node-role')",
    );
    lab.kubectl_text(&["-n", "kube-system", "scale", "deployment", "karpenter", "--replicas=3"]);
    assert_eq!(
        drifted(&tofu),
        [
            "access_entry = missing",
            "chart = drifted: Deployment karpenter spec.replicas is 3, want 2",
            "controller_role = drifted: policy granite-karpenter-controller not attached",
            "interruption_queue = drifted: message_retention_seconds 60, want 300",
            "node_role = drifted: tag owner missing",
            "rule_rebalance = missing",
            "rule_spot_interruption = drifted: disabled, want enabled",
        ]
    );
    tofu.apply_planned().ok();
    tofu.plan().empty();
    assert_eq!(live(&lab), now);
    assert_eq!(lab.kubectl(&["-n", "kube-system", "get", "deployment", "karpenter"])["spec"]["replicas"], 2);

    // another state takes the finished bundle only by import
    let lost = Tofu::new(&lab, &whole(&lab, "  tags = { owner = \"platform\" }", "    values = [yamlencode({ replicas = 2 })]"));
    let inventory = lab.inventory();
    refused(lost.apply(), "id = \"granite\"");
    assert_eq!(lab.inventory(), inventory, "refused before the first write");
    lost.import(ADDRESS, "granite").ok();
    lost.apply().ok();
    lost.plan().empty();
    assert_eq!(live(&lab), now);

    // nodes would be orphaned: refused, and everything is still there
    lab.kubectl_apply(NODE_CLAIM);
    let inventory = lab.inventory();
    refused(tofu.destroy(), "NodeClaim orphan");
    assert_eq!(lab.inventory(), inventory);
    tofu.plan().empty();
    lab.kubectl_text(&["delete", "nodeclaims.karpenter.sh", "orphan"]);

    tofu.destroy().ok();
    let left = lab.inventory();
    let stays = |key: &String| key.contains("spot.amazonaws.com") || key.contains("AWSServiceRoleFor");
    let aws = |inventory: &Value| inventory["aws"].as_object().unwrap().keys().filter(|key| !stays(key)).cloned().collect::<Vec<_>>();
    assert_eq!(aws(&left), aws(&before));
    assert!(lab.exists(&["crd", "nodepools.karpenter.sh"]) && !lab.exists(&["-n", "kube-system", "deployment", "karpenter"]));
}

const NODE_CLAIM: &str = "
apiVersion: karpenter.sh/v1
kind: NodeClaim
metadata: {name: orphan}
spec:
  nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
  requirements: [{key: kubernetes.io/os, operator: In, values: [linux]}]
";

/// The AWS side of the bundle with default names, as boto3 sees it.
fn live(lab: &Lab) -> Value {
    lab.boto3(
        "
         role = iam.get_role(RoleName=f'{cluster}-karpenter-controller')['Role']
         tags = lambda ts: {t['Key']: t['Value'] for t in ts}
         url = sqs.get_queue_url(QueueName=f'{cluster}-karpenter')['QueueUrl']
         rules = [r for r in events.list_rules()['Rules'] if r['State'] == 'ENABLED']
         node = iam.get_role(RoleName=f'{cluster}-karpenter-node-role')['Role']
         policies = [p['PolicyArn'] for p in iam.list_attached_role_policies(RoleName=role['RoleName'])['AttachedPolicies']]
         association = eks.list_pod_identity_associations(clusterName=cluster, namespace='kube-system', serviceAccount='karpenter')['associations'][0]
         association = eks.describe_pod_identity_association(clusterName=cluster, associationId=association['associationId'])['association']
         entry = eks.describe_access_entry(clusterName=cluster, principalArn=node['Arn'])['accessEntry']
         every = [tags(role['Tags']), tags(node['Tags']), sqs.list_queue_tags(QueueUrl=url)['Tags'], association['tags'], entry['tags']]
         every += [tags(iam.list_policy_tags(PolicyArn=p)['Tags']) for p in policies]
         every += [tags(events.list_tags_for_resource(ResourceARN=r['Arn'])['Tags']) for r in rules]
         assert all(len(events.list_targets_by_rule(Rule=r['Name'])['Targets']) == 1 for r in rules)
         result = {
             'trust': role['AssumeRolePolicyDocument']['Statement'][0]['Principal'],
             'creating': 'karpenter-tofu/creating' in tags(role['Tags']),
             'association': association['roleArn'],
             'owners': sorted({t.get('karpenter-tofu/cluster') for t in every}),
             'teams': sorted({t['team'] for t in every if 'team' in t}),
             'versions': [len(iam.list_policy_versions(PolicyArn=p)['Versions']) for p in policies],
             'rules': len(rules),
             'entry': entry['type'],
             'retention': sqs.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])['Attributes']['MessageRetentionPeriod'],
         }",
    )
}

#[test]
fn names_move_in_place_and_leave_nothing_behind() {
    let lab = lab("basalt");
    let proxy = lab.proxy();
    let tofu = Tofu::new(&lab, &aws_only(&lab, "")).through(&proxy);
    let before = lab.inventory();
    tofu.apply().ok();
    assert_eq!(proxy.count("kubernetes:"), 0, "chart.create = false never contacts the API server");
    tofu.write(
        "main.tf",
        &aws_only(
            &lab,
            "  service_account = \"other\"\n  controller_role {\n    name = \"moved\"\n    path = \"/platform/\"\n  }\n  interruption_queue {\n    name = \"moved\"\n  }\n",
        ),
    );
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), [format!("{ADDRESS}: update")]);
    assert_eq!(plan.change(ADDRESS)["after"]["controller_role_arn"], "arn:aws:iam::123456789012:role/platform/moved");
    tofu.apply_planned().ok();
    tofu.plan().empty();
    let found = lab.boto3(
        "
         roles = [r['RoleName'] for r in iam.list_roles()['Roles']]
         associations = eks.list_pod_identity_associations(clusterName=cluster)['associations']
         result = [[r for r in roles if r in ('moved', f'{cluster}-karpenter-controller')], [q.rsplit('/', 1)[1] for q in sqs.list_queues()['QueueUrls']],
                   [a['serviceAccount'] for a in associations], [p['PolicyName'] for p in iam.list_policies(Scope='Local')['Policies']]]",
    );
    assert_eq!(found, json!([["moved"], ["moved"], ["other"], ["moved"]]));

    // without a queue there are no rules, and the policy says nothing of it
    tofu.write("main.tf", &aws_only(&lab, "  interruption_queue {\n    enabled = false\n  }\n"));
    tofu.apply().ok();
    tofu.plan().empty();
    assert_eq!(tofu.resource(ADDRESS)["queue_url"], Value::Null);
    assert_eq!(lab.boto3("result = [sqs.list_queues().get('QueueUrls'), events.list_rules()['Rules']]"), json!([null, []]));

    // a node role that an instance profile of Karpenter still names stays, and goes with a later change
    lab.boto3(
        "tags = {f'kubernetes.io/cluster/{cluster}': 'owned', 'karpenter.k8s.aws/ec2nodeclass': 'default'}
iam.create_instance_profile(InstanceProfileName='default_1', Tags=[{'Key': k, 'Value': v} for k, v in tags.items()])
iam.add_role_to_instance_profile(InstanceProfileName='default_1', RoleName=f'{cluster}-karpenter-node-role')",
    );
    let workers = |more: &str| aws_only(&lab, &format!("  node_role {{\n    name = \"workers\"\n  }}\n{more}"));
    let roles = "roles = [r['RoleName'] for r in iam.list_roles()['Roles']] + eks.list_access_entries(clusterName=cluster)['accessEntries']
result = [sum(r.endswith(name) for r in roles) for name in (f'{cluster}-karpenter-node-role', 'workers')]";
    tofu.write("main.tf", &workers(""));
    let outcome = tofu.apply().ok();
    let told = |text: &str| outcome.warnings().iter().any(|w| format!("{} {}", w.summary, w.detail).contains(text));
    assert!(told("could not delete the former node role basalt-karpenter-node-role") && told("default_1"), "{:#?}", outcome.warnings());
    assert_eq!(lab.boto3(roles), json!([2, 2]), "role and access entry, each");
    tofu.plan().empty();
    lab.boto3(
        "iam.remove_role_from_instance_profile(InstanceProfileName='default_1', RoleName=f'{cluster}-karpenter-node-role')
iam.delete_instance_profile(InstanceProfileName='default_1')",
    );
    tofu.write("main.tf", &workers("  tags = { team = \"data\" }"));
    tofu.apply().ok();
    assert_eq!(lab.boto3(roles), json!([0, 2]));

    // it disappears: the next plan creates it
    tofu.destroy().ok();
    let left = lab.inventory();
    assert_eq!(left["aws"].as_object().unwrap().len(), before["aws"].as_object().unwrap().len() + 1, "only the spot role stays: {left:#}");
}

#[test]
fn a_bundle_that_disappeared_is_planned_anew() {
    let lab = lab("slate");
    let tofu = Tofu::new(&lab, &aws_only(&lab, ""));
    tofu.apply().ok();
    let copy = Tofu::new(&lab, &aws_only(&lab, ""));
    std::fs::copy(tofu.dir().join("terraform.tfstate"), copy.dir().join("terraform.tfstate")).unwrap();
    copy.destroy().ok();
    assert_eq!(tofu.plan().ok().changes(), [format!("{ADDRESS}: create")]);
    tofu.apply().ok();
    tofu.plan().empty();

    // it stays where it is, whatever the provider's cluster becomes: also where its replacement is asked for
    tofu.write("main.tf", &aws_only(&lab, "").replace("\"slate\"", "\"granite\""));
    tofu.plan().empty();
    let moved = tofu.plan_with(&[&format!("-replace={ADDRESS}")]).outcome.err();
    assert!(moved.errors().iter().any(|e| e.text().contains("in cluster \"slate\", but")), "{:#?}", moved.errors());
    tofu.write("main.tf", &aws_only(&lab, ""));

    // the cluster goes: what does not go with it is still the bundle's, and a destroy removes it
    lab.boto3("eks.delete_cluster(name=cluster)");
    let plan = tofu.plan().empty();
    assert!(plan.outcome.warnings().iter().any(|w| w.summary.contains("cluster is gone")), "{:#?}", plan.outcome.warnings());
    tofu.destroy().ok();
    let left = "result = [r['RoleName'] for r in iam.list_roles()['Roles'] if 'karpenter' in r['RoleName']] + sqs.list_queues().get('QueueUrls', []) + events.list_rules()['Rules']";
    assert_eq!(lab.boto3(left), json!([]));
}

#[test]
fn an_import_finds_the_names_that_were_chosen_and_a_namespace_moves_in_place() {
    let lab = lab("quartz");
    let arguments = |namespace: &str| {
        format!(
            "  namespace = \"{namespace}\"\n  service_account = \"autoscaler\"\n  controller_role {{\n    name = \"mine\"\n    path = \"/platform/\"\n  }}\n  interruption_queue {{\n    name = \"mine-{namespace}\"\n  }}\n"
        )
    };
    let tofu = Tofu::new(&lab, &whole(&lab, &arguments("kube-system"), ""));
    tofu.apply().ok();
    let inventory = lab.inventory();
    let imported = Tofu::new(&lab, &whole(&lab, &arguments("kube-system"), ""));
    imported.import(ADDRESS, "quartz").ok();
    let (made, found) = (tofu.resource(ADDRESS), imported.resource(ADDRESS));
    for name in ["controller_role_arn", "queue_arn", "queue_url", "service_account", "version", "objects", "ready", "node_role_arn"] {
        assert_eq!(found[name], made[name], "{name}");
    }
    imported.apply().ok();
    imported.plan().empty();
    assert_eq!(lab.inventory(), inventory, "an import leads to no change");

    let left = "result = [[a['namespace'] for a in eks.list_pod_identity_associations(clusterName=cluster)['associations']],
                          [url.split('/')[-1] for url in sqs.list_queues().get('QueueUrls', [])]]";
    // one that fails on its way is not forgotten: neither by a destroy, nor by the apply that goes on with it, nor by one to elsewhere
    let proxy = lab.proxy();
    let imported = imported.through(&proxy);
    let failing = |namespace: &str| {
        proxy.fault(Fault::on(&format!("PATCH .*/namespaces/{namespace}/deployments/")).times(100).status(403, "Forbidden", "not today"));
        imported.write("main.tf", &whole(&lab, &arguments(namespace), ""));
        refused(imported.apply(), "not today");
        proxy.clear();
    };
    for namespace in ["first", "second"] {
        lab.kubectl_text(&["create", "namespace", namespace]);
        failing(namespace);
        assert!(lab.exists(&["-n", namespace, "serviceaccount", "autoscaler"]));
    }
    assert!(!lab.exists(&["-n", "first", "serviceaccount", "autoscaler"]), "the second went on from the first");
    imported.apply().ok();
    imported.plan().empty();
    assert_eq!(lab.boto3(left), json!([["second"], ["mine-second"]]));
    failing("first");
    imported.destroy().ok();
    for namespace in ["first", "second", "kube-system"] {
        assert_eq!(lab.helm(&["list", "-aqn", namespace]), "", "{namespace}");
        assert!(!lab.exists(&["-n", namespace, "serviceaccount", "autoscaler"]), "{namespace}");
    }
    assert_eq!(lab.boto3(left), json!([[], []]));
    tofu.apply().ok();

    lab.kubectl_text(&["create", "namespace", "karpenter"]);
    tofu.write("main.tf", &whole(&lab, &arguments("karpenter"), ""));
    assert_eq!(tofu.plan().ok().changes(), [format!("{ADDRESS}: update")]);
    tofu.apply_planned().ok();
    tofu.plan().empty();
    assert!(lab.exists(&["-n", "karpenter", "deployment", "karpenter"]) && !lab.exists(&["-n", "kube-system", "deployment", "karpenter"]));
    assert_eq!(lab.boto3(left), json!([["karpenter"], ["mine-karpenter"]]));
    tofu.destroy().ok();
}

#[test]
fn what_belongs_to_others_is_refused_or_used_as_it_is() {
    let lab = Lab::start(Options { cluster_name: "marble".into(), node_role: true, ..Options::default() });
    let node_role = "result = iam.list_role_tags(RoleName=f'{cluster}-karpenter-node-role')['Tags']";
    let tofu = Tofu::new(&lab, &aws_only(&lab, ""));

    for (make, remove) in [
        (
            "sqs.create_queue(QueueName=f'{cluster}-karpenter')",
            "sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=f'{cluster}-karpenter')['QueueUrl'])",
        ),
        (
            "iam.create_role(RoleName=f'{cluster}-karpenter-controller', AssumeRolePolicyDocument='{}', Tags=[{'Key': 'karpenter-tofu/cluster', 'Value': 'arn:aws:eks:eu-west-1:123456789012:cluster/marble'}])",
            "iam.delete_role(RoleName=f'{cluster}-karpenter-controller')",
        ),
        (
            "events.put_rule(Name=f'{cluster}-karpenter-rebalance', EventPattern='{\"source\": [\"x\"]}')",
            "events.delete_rule(Name=f'{cluster}-karpenter-rebalance')",
        ),
    ] {
        lab.boto3(make);
        let inventory = lab.inventory();
        refused(tofu.apply(), "it exists and");
        assert_eq!(lab.inventory(), inventory, "refused before the first write");
        lab.boto3(remove);
    }

    // the node role is there and untagged: used, never changed or deleted; so it is where a bundle with one of its own turns to it
    tofu.write("main.tf", &aws_only(&lab, "  node_role {\n    name = \"own\"\n  }"));
    tofu.apply().ok();
    lab.boto3("sqs.create_queue(QueueName='theirs')");
    let inventory = lab.inventory();
    tofu.write("main.tf", &aws_only(&lab, "  interruption_queue {\n    name = \"theirs\"\n  }"));
    refused(tofu.apply(), "it exists and this bundle did not make it");
    assert_eq!(lab.inventory(), inventory, "refused before the first write");
    tofu.write("main.tf", &aws_only(&lab, ""));
    tofu.apply().ok();
    tofu.plan().empty();
    assert_eq!(tofu.resource(ADDRESS)["objects"]["node_role"], "not managed");
    assert_eq!(lab.boto3(node_role), json!([]));
    tofu.destroy().ok();
    assert_eq!(lab.boto3(node_role), json!([]));
}

#[test]
fn failures_are_named_waited_for_or_left_in_the_state() {
    let lab = lab("gneiss");
    let proxy = lab.proxy();
    let tofu = Tofu::new(&lab, &aws_only(&lab, "")).through(&proxy);

    // what passes by itself is waited for
    let unknown_role = || {
        Fault::on("eks:Create(PodIdentityAssociation|AccessEntry)").status(
            400,
            "InvalidParameterException",
            "Role provided in the request does not exist",
        )
    };
    proxy.fault(unknown_role().times(2));
    proxy.fault(Fault::on("sqs:CreateQueue").times(2).status(400, "AWS.SimpleQueueService.QueueDeletedRecently", "wait 60 seconds"));
    // a failed create leaves what is there in the state, and another apply converges
    proxy.fault(Fault::on("iam:CreatePolicy$").times(1).status(403, "AccessDenied", "not allowed"));
    refused(tofu.apply(), "iam:CreatePolicy");
    proxy.clear();
    let state = tofu.resource(ADDRESS);
    assert_eq!(state["objects"]["controller_role"], "in sync");
    assert!(state["objects"]["controller_policy_1"].as_str().unwrap().starts_with("failed"), "{state:#}");
    tofu.run(&["untaint", ADDRESS]).ok();
    tofu.apply().ok();
    tofu.plan().empty();
    assert_eq!(live(&lab)["creating"], json!(false));

    // forbidden is no absence
    proxy.fault(Fault::on("iam:GetRole").times(1000).status(403, "AccessDenied", "not authorized"));
    let outcome = tofu.plan().outcome;
    refused(outcome, "iam:GetRole");
    proxy.clear();
    tofu.plan().empty();

    // six versions of a policy: IAM keeps five, the oldest goes
    lab.boto3(
        "
         arn = f'arn:aws:iam::123456789012:policy/{cluster}-karpenter-controller'
         for i in range(4): iam.create_policy_version(PolicyArn=arn, SetAsDefault=True,
             PolicyDocument=json.dumps({'Version': '2012-10-17', 'Statement': {'Effect': 'Allow', 'Action': 'sqs:*', 'Resource': '*'}}))",
    );
    assert_eq!(drifted(&tofu), ["controller_policy_1 = drifted: document differs"]);
    tofu.apply_planned().ok();
    tofu.plan().empty();
    tofu.destroy().ok();
}
