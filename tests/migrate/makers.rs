//! What others make for Karpenter, made by boto3, helm and kubectl as they would make it: the EKS module with helm_release, eksctl's
//! CloudFormation, and a person. Those tools need providers and services that a test cannot have.

use serde_json::Value;

use super::common::Lab;

/// Functions that all the scripts use; Python.
const SHARED: &str = r"
def trust(*statements): return json.dumps({'Version': '2012-10-17', 'Statement': list(statements)})
def service(name, *actions): return {'Sid': 'Made', 'Effect': 'Allow', 'Principal': {'Service': name}, 'Action': list(actions)}
account = sts.get_caller_identity()['Account']
ec2_trust = trust(service('ec2.amazonaws.com', 'sts:AssumeRole'))
pods_trust = trust(service('pods.eks.amazonaws.com', 'sts:TagSession', 'sts:AssumeRole'))
def permissions(queue, node_role):
    allow = lambda sid, actions, resource: {'Sid': sid, 'Effect': 'Allow', 'Action': actions, 'Resource': resource}
    return [allow('Launch', ['ec2:RunInstances', 'ec2:CreateFleet', 'ec2:CreateLaunchTemplate'], '*'),
            allow('Look', ['ec2:DescribeImages', 'ec2:DescribeSubnets', 'ssm:GetParameter', 'pricing:GetProducts'], '*'),
            allow('Events', ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'], f'arn:aws:sqs:us-east-1:{account}:{queue}'),
            allow('Pass', 'iam:PassRole', f'arn:aws:iam::{account}:role/{node_role}')]
def policy(name, statements, role):
    arn = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps({'Version': '2012-10-17', 'Statement': statements}))['Policy']['Arn']
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
def queue(name):
    arn = f'arn:aws:sqs:us-east-1:{account}:{name}'
    document = {'Version': '2012-10-17', 'Id': 'Made', 'Statement': [
        {'Sid': 'DenyHTTP', 'Effect': 'Deny', 'Action': 'sqs:*', 'Resource': arn, 'Principal': '*', 'Condition': {'Bool': {'aws:SecureTransport': False}}},
        {'Sid': 'SqsWrite', 'Effect': 'Allow', 'Action': ['sqs:SendMessage'], 'Resource': [arn], 'Principal': {'Service': ['sqs.amazonaws.com', 'events.amazonaws.com']}}]}
    sqs.create_queue(QueueName=name, Attributes={'MessageRetentionPeriod': '300', 'SqsManagedSseEnabled': 'true', 'Policy': json.dumps(document)}, tags={'Environment': 'dev'})
    return arn
def rule(name, source, kinds, target):
    events.put_rule(Name=name, EventPattern=json.dumps({'source': source, 'detail-type': kinds}), Tags=[{'Key': 'Environment', 'Value': 'dev'}])
    events.put_targets(Rule=name, Targets=[{'Id': 'KarpenterInterruptionQueueTarget', 'Arn': target}])
EVENTS = [('HealthEvent', 'aws.health', 'AWS Health Event'), ('SpotInterrupt', 'aws.ec2', 'EC2 Spot Instance Interruption Warning'),
          ('InstanceRebalance', 'aws.ec2', 'EC2 Instance Rebalance Recommendation'), ('InstanceStateChange', 'aws.ec2', 'EC2 Instance State-change Notification')]
def node_role(name, path='/'):
    arn = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=ec2_trust)['Role']['Arn']
    for p in ('AmazonEKSWorkerNodePolicy', 'AmazonEKS_CNI_Policy', 'AmazonEC2ContainerRegistryReadOnly'):
        iam.attach_role_policy(RoleName=name, PolicyArn='arn:aws:iam::aws:policy/' + p)
    eks.create_access_entry(clusterName=cluster, principalArn=arn, type='EC2_LINUX')
    return arn
";

fn make(lab: &Lab, script: &str) -> Value {
    let script: String = script.lines().map(|line| format!("{}\n", line.strip_prefix("        ").unwrap_or(line))).collect();
    lab.boto3(&format!("{SHARED}{script}"))
}

/// The EKS module's submodule `karpenter` with its defaults, whose names end in what Terraform picks.
pub fn eks_module(lab: &Lab) {
    make(
        lab,
        "
        node = f'Karpenter-{cluster}-20240131090000000100000003'
        role = 'KarpenterController-20240131090000000100000001'
        arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=pods_trust, Tags=[{'Key': 'Environment', 'Value': 'dev'}])['Role']['Arn']
        policy('KarpenterController-20240131090000000100000002', permissions(f'Karpenter-{cluster}', node), role)
        node_role(node)
        eks.create_pod_identity_association(clusterName=cluster, namespace='kube-system', serviceAccount='karpenter', roleArn=arn)
        target = queue(f'Karpenter-{cluster}')
        for at, (name, source, kind) in enumerate(EVENTS): rule(f'Karpenter{name}-2024013109000000010000001{at}', [source], [kind], target)",
    );
}

/// The role that [`eksctl`] makes.
pub const EKSCTL_ROLE: &str = "arn:aws:iam::123456789012:role/KarpenterControllerRole-my-cluster";

/// What eksctl's users made with Karpenter's getting-started guide: a CloudFormation stack with four policies, and the controller's role as
/// an IAM role for its service account, which the chart's values name ([`EKSCTL_ROLE`]).
pub fn eksctl(lab: &Lab) {
    make(
        lab,
        "
        node, role = f'KarpenterNodeRole-{cluster}', f'KarpenterControllerRole-{cluster}'
        issuer = eks.describe_cluster(name=cluster)['cluster']['identity']['oidc']['issuer'].removeprefix('https://')
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust({
            'Effect': 'Allow', 'Principal': {'Federated': f'arn:aws:iam::{account}:oidc-provider/{issuer}'}, 'Action': 'sts:AssumeRoleWithWebIdentity',
            'Condition': {'StringEquals': {f'{issuer}:aud': 'sts.amazonaws.com', f'{issuer}:sub': 'system:serviceaccount:kube-system:karpenter'}}}))
        for name, statement in zip(('NodeLifecycle', 'ResourceDiscovery', 'Interruption', 'IAMIntegration'), permissions(cluster, node)):
            policy(f'KarpenterController{name}Policy-{cluster}', [statement], role)
        node_role(node)
        target = queue(cluster)
        for at, (name, source, kind) in enumerate(EVENTS): rule(f'Karpenter-{cluster}-{name}Rule-{at}ABCDEFGHIJKL', [source], [kind], target)",
    );
}

/// A person's: paths, one inline policy and one that holds more than Karpenter needs, one rule for everything, a node role behind an
/// instance profile. The policy is called as its role is, and so as the bundle's would be.
pub fn by_hand(lab: &Lab) {
    make(
        lab,
        "
        node = node_role('workers', '/nodes/')
        iam.create_instance_profile(InstanceProfileName='workers-profile')
        iam.add_role_to_instance_profile(InstanceProfileName='workers-profile', RoleName='workers')
        arn = iam.create_role(RoleName='autoscaler', Path='/platform/', AssumeRolePolicyDocument=pods_trust)['Role']['Arn']
        iam.put_role_policy(RoleName='autoscaler', PolicyName='launch', PolicyDocument=json.dumps({'Version': '2012-10-17', 'Statement': permissions('interruptions', 'nodes/workers')}))
        policy('autoscaler', [{'Effect': 'Allow', 'Action': 'kms:Decrypt', 'Resource': '*'}], 'autoscaler')
        eks.create_pod_identity_association(clusterName=cluster, namespace='karpenter', serviceAccount='autoscaler', roleArn=arn)
        rule('everything', ['aws.ec2', 'aws.health'], [kind for _, _, kind in EVENTS], queue('interruptions'))",
    );
}

/// `helm install`, as helm_release and people do.
pub fn install(lab: &Lab, namespace: &str, release: &str, chart: &str, more: &[&str]) {
    let chart = format!("{}/{chart}", lab.chart_repository());
    let fixed = ["install", release, &chart, "--namespace", namespace, "--create-namespace", "--version", "1.14.1", "--plain-http"];
    lab.helm(&[&fixed[..], more].concat());
}

/// An EC2NodeClass and a NodePool, as kubectl_manifest and people apply them. `identity` is the class's line about who nodes are.
pub fn class_and_pool(lab: &Lab, identity: &str) {
    lab.kubectl_apply(&format!(
        "
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {{name: default}}
spec:
  amiFamily: AL2023
  {identity}
  amiSelectorTerms: [{{alias: al2023@latest}}]
  subnetSelectorTerms: [{{tags: {{karpenter.sh/discovery: {cluster}}}}}]
  securityGroupSelectorTerms: [{{tags: {{karpenter.sh/discovery: {cluster}}}}}]
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {{name: general}}
spec:
  limits: {{cpu: '100'}}
  template:
    spec:
      nodeClassRef: {{group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}}
      requirements: [{{key: kubernetes.io/arch, operator: In, values: [amd64]}}]
",
        cluster = lab.cluster_name()
    ));
}
