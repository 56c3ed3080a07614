//! What plan and apply call, held against the documentation's lists, by an identity that has exactly the documented ClusterRole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeSet;

use common::{Lab, Options, Proxy, Tofu};
use karpenter::permissions::{Phase, iam, rbac};

const OBJECTS: &str = r#"
resource "karpenter_nodeclass" "this" {
  name       = "permissions"
  ami_family = "AL2023"
  role       = karpenter_bundle.this.node_role_name
  ami_selector_term { alias = "al2023@latest" }
  subnet_selector_term { tags = { "karpenter.sh/discovery" = "x" } }
  security_group_selector_term { tags = { "karpenter.sh/discovery" = "x" } }
}
resource "karpenter_nodepool" "this" {
  name = "permissions"
  template {
    node_class_ref { name = karpenter_nodeclass.this.name }
    requirements = { "kubernetes.io/arch" = ["arm64"] }
  }
}
"#;

fn configuration(lab: &Lab, kubernetes: &str, bundle: &str) -> String {
    format!(
        "provider \"karpenter\" {{
           cluster_name        = \"{}\"
           allowed_account_ids = [\"{}\"]
           {kubernetes}
         }}
         resource \"karpenter_bundle\" \"this\" {{
           {bundle}
           chart {{
             repository = \"{}\"
           }}
         }}
         {OBJECTS}",
        lab.cluster_name(),
        lab.account_id(),
        lab.chart_repository()
    )
}

/// The AWS calls since the last time, each of which the documented policy of the phase must allow.
fn take(proxy: &Proxy, phase: Phase, seen: &mut BTreeSet<String>) {
    let calls: BTreeSet<String> = proxy.calls().into_iter().filter(|c| c.service != "kubernetes").map(|c| c.key).collect();
    let missing: Vec<&String> = calls.iter().filter(|action| !iam::allows(phase, action)).collect();
    assert!(missing.is_empty(), "called in {phase:?}, but not listed for it in src/permissions/iam.rs: {missing:?}");
    seen.extend(calls);
    proxy.reset();
}

const INLINE: &str = "
    iam.put_role_policy(RoleName=f'{cluster}-karpenter-controller', PolicyName='by-hand', PolicyDocument=json.dumps(
        {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': 'ec2:DescribeImages', 'Resource': '*'}]}))
";

const BEHIND_OUR_BACK: &str = "
    account = sts.get_caller_identity()['Account']
    role = f'{cluster}-karpenter-controller'
    policy = f'arn:aws:iam::{account}:policy/{role}'
    nobody = json.dumps({'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Principal': {'Service': 'ec2.amazonaws.com'}, 'Action': 'sts:AssumeRole'}]})
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=nobody)
    for i in range(4): iam.create_policy_version(PolicyArn=policy, SetAsDefault=True,
        PolicyDocument=json.dumps({'Version': '2012-10-17', 'Statement': {'Effect': 'Allow', 'Action': 'sqs:*', 'Resource': '*'}}))
    url = sqs.get_queue_url(QueueName=f'{cluster}-karpenter')['QueueUrl']
    sqs.set_queue_attributes(QueueUrl=url, Attributes={'MessageRetentionPeriod': '60'})
    other = iam.create_role(RoleName='somebody-else', AssumeRolePolicyDocument=nobody)['Role']['Arn']
    for a in eks.list_pod_identity_associations(clusterName=cluster)['associations']:
        eks.update_pod_identity_association(clusterName=cluster, associationId=a['associationId'], roleArn=other)
    profile = f'{cluster}-left-by-karpenter'
    iam.create_instance_profile(InstanceProfileName=profile, Tags=[{'Key': f'kubernetes.io/cluster/{cluster}', 'Value': 'owned'}])
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=f'{cluster}-karpenter-node-role')
";

#[test]
fn the_lists_hold_what_is_called_and_nothing_else() {
    let lab = Lab::start(Options { cluster_name: "warrant".into(), admin: false, ..Options::default() });
    let (everything, said) = lab.try_kubectl(&["--kubeconfig", lab.var("EKS_KUBECONFIG"), "auth", "can-i", "*", "*", "--all-namespaces"]);
    assert!(!everything && said.starts_with("no"), "the EKS identity is no admin: {said}");
    let proxy = lab.proxy();
    let mut seen = BTreeSet::new();
    let first = "tags = { team = \"data\" }
        instance_profile { create = true }";
    let tofu = Tofu::new(&lab, &configuration(&lab, "", first)).through(&proxy);
    tofu.plan().ok();
    take(&proxy, Phase::Plan, &mut seen);
    tofu.apply_planned().ok();
    take(&proxy, Phase::Apply, &mut seen);
    tofu.plan().empty();
    take(&proxy, Phase::Plan, &mut seen);

    // other tags, a boundary, and what somebody else changed
    lab.boto3(BEHIND_OUR_BACK);
    let boundary = "tags = { owner = \"platform\" }
        instance_profile { create = true }
        controller_role {
          max_session_duration = 7200
          permissions_boundary = \"arn:aws:iam::aws:policy/PowerUserAccess\"
        }";
    tofu.write("main.tf", &configuration(&lab, "", boundary));
    tofu.plan().ok();
    take(&proxy, Phase::Plan, &mut seen);
    tofu.apply_planned().ok();
    tofu.plan().empty();
    tofu.write("main.tf", &configuration(&lab, "", first));
    tofu.apply().ok();
    take(&proxy, Phase::Apply, &mut seen);
    planning_needs_the_smaller_cluster_role(&lab, &tofu, first);
    proxy.reset();
    an_import_takes_over(&lab, &proxy, &mut seen);

    tofu.write("main.tf", &configuration(&lab, "", first));
    proxy.reset();
    tofu.destroy().ok();
    take(&proxy, Phase::Apply, &mut seen);
    let unseen: Vec<&str> =
        iam::CALLS.iter().filter(|call| call.unseen.is_empty() && !seen.contains(call.action)).map(|call| call.action).collect();
    assert_eq!(unseen, [""; 0], "listed, but never called: remove them, or say why");
    let seen_after_all: Vec<&str> =
        iam::CALLS.iter().filter(|c| !c.unseen.is_empty() && seen.contains(c.action)).map(|c| c.action).collect();
    assert_eq!(seen_after_all, [""; 0], "said not to be seen");
}

/// Another state imports the bundle, and takes what an inline policy allowed into its own.
fn an_import_takes_over(lab: &Lab, proxy: &Proxy, seen: &mut BTreeSet<String>) {
    lab.boto3(INLINE);
    let configuration = configuration(lab, "", "tags = { team = \"another\" }").replace(OBJECTS, "");
    let tofu = Tofu::new(lab, &configuration).through(proxy);
    tofu.import("karpenter_bundle.this", lab.cluster_name()).ok();
    tofu.plan().ok();
    take(proxy, Phase::Plan, seen);
    tofu.apply_planned().ok();
    take(proxy, Phase::Apply, seen);
}

/// A service account that has the ClusterRole for plan and nothing else refreshes and plans everything, and can change nothing.
fn planning_needs_the_smaller_cluster_role(lab: &Lab, tofu: &Tofu, bundle: &str) {
    lab.kubectl_apply(&rbac::cluster_role(Phase::Plan));
    let token = lab.limited_token("planner", "");
    let binding =
        ["create", "clusterrolebinding", "planner-plans", "--clusterrole=karpenter-tofu-plan", "--serviceaccount=default:planner"];
    lab.kubectl_text(&binding);
    let block = format!("kubernetes {{\n token = \"{token}\"\n }}");
    tofu.write("main.tf", &configuration(lab, &block, bundle));
    tofu.plan().empty();
    tofu.write("main.tf", &configuration(lab, &block, bundle).replace("[\"arm64\"]", "[\"amd64\"]"));
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodepool.this: update"]);
    let refused = tofu.apply_planned().err();
    assert!(refused.errors().iter().any(|e| e.text().contains("cannot patch") && e.text().contains("RBAC")), "{:?}", refused.errors());
}
