//! A second emulator of AWS, ministack, runs the bundle's create, no-op, update and destroy: where moto and we agree by mistake, it may not.
//! The Kubernetes side is the lab's. What ministack lacks against AWS is listed in [`GAPS`], and each gap is asserted still to be there, so
//! that a newer version tells which lines of this file can go.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::common::{Lab, Tofu, lab_home};
use super::{lab, run};

const ADDRESS: &str = "karpenter_bundle.this";

/// What AWS does and ministack 1.5.33 does not: each an expression of Python that is true while the gap is there.
const GAPS: [(&str, &str); 13] = [
    (
        "a retried clientRequestToken is refused",
        "refused(lambda: associate('a', clientRequestToken='t'), lambda: associate('a', clientRequestToken='t'))",
    ),
    (
        "a page of associations has no token for the next",
        "associate('b') and associate('c') and 'nextToken' not in eks.list_pod_identity_associations(clusterName=cluster, maxResults=1)",
    ),
    (
        "an EC2_LINUX access entry has no user name",
        "eks.create_access_entry(clusterName=cluster, principalArn=role, type='EC2_LINUX')['accessEntry']['username'] == ''",
    ),
    ("a role that does not exist gets an association", "associate('d', roleArn=role + '-none') is not None"),
    (
        "tags of an access entry never change",
        "eks.tag_resource(resourceArn=entry()['accessEntryArn'], tags={'a': '1'}) and entry()['tags'] == {}",
    ),
    (
        "an association cannot be tagged",
        "'Invalid resourceArn' in error(lambda: eks.tag_resource(resourceArn=associate('e')['association']['associationArn'], tags={'a': '1'}))",
    ),
    ("a cluster has no certificate authority", "eks.describe_cluster(name=cluster)['cluster']['certificateAuthority']['data'] == ''"),
    ("there are twelve instance types", "len(ec2.describe_instance_types()['InstanceTypes']) == 12"),
    (
        "a managed policy that AWS does not have is attached",
        "iam.attach_role_policy(RoleName='gaps', PolicyArn='arn:aws:iam::aws:policy/None') is not None",
    ),
    (
        "a policy may be longer than 6,144 characters",
        "iam.create_policy(PolicyName='long', PolicyDocument=statement('x' * 7000)) is not None",
    ),
    ("a trust policy may be anything", "iam.create_role(RoleName='any', AssumeRolePolicyDocument='nonsense') is not None"),
    (
        "a queue is made anew at once after its deletion",
        "sqs.delete_queue(QueueUrl=sqs.create_queue(QueueName='q')['QueueUrl']) is not None and sqs.create_queue(QueueName='q') is not None",
    ),
    (
        "PutRule changes the tags of a rule that exists",
        "put_rule('a') and put_rule('b') and [t['Key'] for t in events.list_tags_for_resource(ResourceARN=put_rule('b')['RuleArn'])['Tags']] == ['b']",
    ),
];

struct Ministack {
    url: String,
    child: Child,
    dir: TempDir,
}

impl Ministack {
    /// On a free loopback port, until dropped; it goes with this process, however that ends, as its standard input does.
    fn start(lab: &Lab) -> Ministack {
        let program = lab_home().join("ministack/bin/ministack");
        assert!(program.exists(), "no {}: `make tools` builds it", program.display());
        // free for now; taken meanwhile by another, ministack ends, and the test says so
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", "\"$1\" < /dev/null & read -r _; kill -9 $!", "bash"]).arg(&program).current_dir(dir.path()).env_clear();
        command.envs([("PATH", lab.var("PATH")), ("BIND_HOST", "127.0.0.1"), ("SFTP_ENABLED", "0"), ("IOT_MTLS_ENABLED", "0")]);
        command.envs([("DOCKER_HOST", "unix:///nonexistent"), ("MINISTACK_ACCOUNT_ID", "123456789012")]);
        command.env("GATEWAY_PORT", port.to_string()).env("HOME", dir.path()).env("TMPDIR", dir.path());
        let child = command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let ministack = Ministack { url: format!("http://127.0.0.1:{port}"), child, dir };
        let end = Instant::now() + Duration::from_secs(90);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "ministack does not answer: {}", ministack.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        ministack
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// As [`Lab::boto3`], against ministack.
    fn boto3(&self, lab: &Lab, script: &str) -> Value {
        let clients = "iam, sqs, eks, events, ec2, sts = (boto3.client(s) for s in ('iam', 'sqs', 'eks', 'events', 'ec2', 'sts'))";
        let script = format!(
            "import boto3, json, os\ncluster = os.environ['CLUSTER_NAME']\n{clients}\nresult = None\n{script}\nprint(json.dumps(result, default=str))"
        );
        let (ok, printed) = run(lab.command(lab.var("LAB_PYTHON")).args(["-c", &script]).env("AWS_ENDPOINT_URL", &self.url));
        assert!(ok, "{script}\n{printed}\n{}", self.log());
        printed.trim().parse().unwrap_or_else(|e| panic!("{e}: {printed}"))
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        let _ = self.child.stdin.take().map(|mut input| input.write_all(b"\n"));
        let _ = self.child.wait();
    }
}

/// The AWS side of a bundle with default names.
const LIVE: &str = "
tags = lambda ts: {t['Key']: t['Value'] for t in ts}
roles = [iam.get_role(RoleName=f'{cluster}-karpenter-{n}')['Role'] for n in ('controller', 'node-role')]
policies = [p['PolicyArn'] for p in iam.list_attached_role_policies(RoleName=roles[0]['RoleName'])['AttachedPolicies']]
url = sqs.get_queue_url(QueueName=QUEUE)['QueueUrl']
rules = events.list_rules()['Rules']
association = eks.list_pod_identity_associations(clusterName=cluster)['associations'][0]
association = eks.describe_pod_identity_association(clusterName=cluster, associationId=association['associationId'])['association']
entry = eks.describe_access_entry(clusterName=cluster, principalArn=roles[1]['Arn'])['accessEntry']
every = [tags(r.get('Tags', [])) for r in roles] + [tags(iam.list_policy_tags(PolicyArn=p)['Tags']) for p in policies]
every += [sqs.list_queue_tags(QueueUrl=url)['Tags'], association['tags'], entry['tags']]
every += [tags(events.list_tags_for_resource(ResourceARN=r['Arn'])['Tags']) for r in rules]
result = {
    'owners': sorted({t.get('karpenter-tofu/cluster') for t in every}), 'teams': sorted({t['team'] for t in every if 'team' in t}),
    'creating': any('karpenter-tofu/creating' in t for t in every), 'entry': entry['type'], 'association': association['roleArn'],
    'node policies': len(iam.list_attached_role_policies(RoleName=roles[1]['RoleName'])['AttachedPolicies']), 'policies': len(policies),
    'rules': len(rules), 'targets': [[t['Arn'] for t in events.list_targets_by_rule(Rule=r['Name'])['Targets']] == [f'arn:aws:sqs:us-east-1:123456789012:{QUEUE}'] for r in rules],
    'retention': sqs.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])['Attributes']['MessageRetentionPeriod'],
}";

#[test]
fn a_second_emulator_agrees_on_create_no_op_update_and_destroy() {
    let (lab, _turn) = lab();
    let ministack = Ministack::start(lab);
    ministack.boto3(
        lab,
        "
role = iam.create_role(RoleName='cluster', AssumeRolePolicyDocument='{}')['Role']['Arn']
eks.create_cluster(name=cluster, version='1.34', roleArn=role, resourcesVpcConfig={'subnetIds': ['subnet-1']}, accessConfig={'authenticationMode': 'API'})
eks.get_waiter('cluster_active').wait(name=cluster)",
    );
    let hcl = |arguments: &str, values: &str| {
        format!(
            "{}resource \"karpenter_bundle\" \"this\" {{\n{arguments}\n  chart {{\n    repository = \"{}\"\n    values     = [yamlencode({{ {values} }})]\n  }}\n}}\n",
            provider(lab),
            lab.chart_repository()
        )
    };
    let tofu = Tofu::new(lab, &hcl("  tags = { team = \"data\" }", "")).env("AWS_ENDPOINT_URL", &ministack.url);
    tofu.apply().ok();
    tofu.plan().empty();
    let live = |queue: &str| ministack.boto3(lab, &format!("QUEUE = {queue:?}{LIVE}"));
    let expected = json!({
        "owners": ["arn:aws:eks:us-east-1:123456789012:cluster/my-cluster"], "teams": ["data"], "creating": false, "entry": "EC2_LINUX",
        "association": "arn:aws:iam::123456789012:role/my-cluster-karpenter-controller", "node policies": 4, "policies": 1,
        "rules": 5, "targets": [true, true, true, true, true], "retention": "300",
    });
    assert_eq!(live("my-cluster-karpenter"), expected);

    tofu.write(
        "main.tf",
        &hcl(
            "  tags = { team = \"data\" }\n  service_account = \"autoscaler\"\n  interruption_queue {\n    name = \"moved\"\n  }",
            "replicas = 1",
        ),
    );
    tofu.apply().ok();
    tofu.plan().empty();
    assert_eq!(live("moved"), expected);

    // drift is seen and mended here, too
    ministack.boto3(lab, "url = sqs.get_queue_url(QueueName='moved')['QueueUrl']\nsqs.set_queue_attributes(QueueUrl=url, Attributes={'MessageRetentionPeriod': '60'})\niam.detach_role_policy(RoleName=f'{cluster}-karpenter-controller', PolicyArn=f'arn:aws:iam::123456789012:policy/{cluster}-karpenter-controller')");
    let plan = tofu.plan().ok();
    let lines = plan.change(ADDRESS)["before"]["objects"].clone();
    assert_eq!(lines["interruption_queue"], "drifted: message_retention_seconds 60, want 300");
    assert_eq!(lines["controller_role"], "drifted: policy my-cluster-karpenter-controller not attached");
    tofu.apply_planned().ok();
    tofu.plan().empty();
    assert_eq!(live("moved"), expected);

    tofu.destroy().ok();
    let left = "
result = [r['RoleName'] for r in iam.list_roles()['Roles'] if 'karpenter' in r['RoleName']] + sqs.list_queues().get('QueueUrls', []) + events.list_rules()['Rules']
result += [p['PolicyName'] for p in iam.list_policies(Scope='Local')['Policies']]
result += eks.list_pod_identity_associations(clusterName=cluster)['associations']
result += [a for a in eks.list_access_entries(clusterName=cluster)['accessEntries'] if 'karpenter' in a]";
    assert_eq!(ministack.boto3(lab, left), json!([]));

    gaps(lab, &ministack);
}

/// What the test cannot show here, and would have to if ministack learned it.
fn gaps(lab: &Lab, ministack: &Ministack) {
    let prelude = "
role = iam.create_role(RoleName='gaps', AssumeRolePolicyDocument='{}')['Role']['Arn']
def associate(name, roleArn=role, **more): return eks.create_pod_identity_association(clusterName=cluster, namespace='gaps', serviceAccount=name, roleArn=roleArn, **more)
def statement(resource): return json.dumps({'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': 'a:B', 'Resource': resource}]})
def put_rule(tag): return events.put_rule(Name='gaps', EventPattern='{\"source\": [\"x\"]}', Tags=[{'Key': tag, 'Value': ''}])
def refused(first, second):
    first()
    try: second()
    except eks.exceptions.ResourceInUseException: return True
def error(call):
    try: return str(call())
    except Exception as e: return str(e)
def entry(): return eks.describe_access_entry(clusterName=cluster, principalArn=role)['accessEntry']
def still(gap):
    try: return bool(eval(gap))
    except Exception as e: return f'{e}'
";
    let gaps: Vec<&str> = GAPS.iter().map(|(_, gap)| *gap).collect();
    let found = ministack.boto3(lab, &format!("{prelude}result = [still(gap) for gap in json.loads({:?})]", json!(gaps).to_string()));
    for ((gap, _), still) in GAPS.iter().zip(found.as_array().unwrap()) {
        assert_eq!(still, true, "this gap is gone, take it off the list: {gap}");
    }
}

/// DescribeCluster there names no API server, so the lab's is told.
fn provider(lab: &Lab) -> String {
    let account = "second-emulator";
    let _ = lab.try_kubectl(&["create", "serviceaccount", account, "-n", "default"]);
    let subject = format!("--serviceaccount=default:{account}");
    let _ = lab.try_kubectl(&["create", "clusterrolebinding", account, "--clusterrole=cluster-admin", &subject]);
    let token = lab.kubectl_text(&["create", "token", account, "-n", "default", "--duration=4h"]);
    let ca = lab.dir().join("certs/ca.crt");
    format!(
        "provider \"karpenter\" {{\n  cluster_name = \"{}\"\n  kubernetes {{\n    host                   = \"{}\"\n    cluster_ca_certificate = file(\"{}\")\n    token                  = \"{}\"\n  }}\n}}\n",
        lab.cluster_name(),
        lab.var("CLUSTER_ENDPOINT"),
        ca.display(),
        token.trim()
    )
}
