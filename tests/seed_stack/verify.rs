//! What must exist after the example was applied, as kubectl, helm and boto3 see it.

use serde_json::{Value, json};

use crate::common::{Lab, Tofu};

/// Every object of the stack is there, with the content that the example asks for.
pub fn everything_is_there(lab: &Lab, tofu: &Tofu) {
    node_class(lab);
    node_pools(lab);
    chart(lab);
    account(lab);
    outputs(tofu);
}

fn node_class(lab: &Lab) {
    let class = lab.kubectl(&["get", "ec2nodeclasses.karpenter.k8s.aws", "karpenter-nodeclass-default"]);
    let expected = json!({
        "amiFamily": "AL2023",
        "amiSelectorTerms": [{"alias": "al2023@latest"}],
        "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"deleteOnTermination": true, "encrypted": true, "volumeSize": "100Gi", "volumeType": "gp3"}}],
        "detailedMonitoring": true,
        // the last two are the API server's defaults
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2, "httpEndpoint": "enabled", "httpProtocolIPv6": "disabled"},
        "role": node_role(lab),
        "securityGroupSelectorTerms": [{"tags": {"Name": format!("{}-node", lab.cluster_name())}}],
        "subnetSelectorTerms": [{"tags": {"Name": format!("{}-private*", lab.account_id())}}],
    });
    assert_eq!(class["spec"], expected);
    assert_eq!(condition(&class, "Ready"), "True");
    // the selectors find what the account has
    let found = lab.boto3(&format!(
        "name = lambda value: [{{'Name': 'tag:Name', 'Values': [value]}}]\n\
         result = [len(ec2.describe_subnets(Filters=name('{}'))['Subnets']), len(ec2.describe_security_groups(Filters=name('{}'))['SecurityGroups'])]",
        class["spec"]["subnetSelectorTerms"][0]["tags"]["Name"].as_str().unwrap(),
        class["spec"]["securityGroupSelectorTerms"][0]["tags"]["Name"].as_str().unwrap(),
    ));
    assert_eq!(found, json!([2, 1]));
}

fn node_pools(lab: &Lab) {
    type Pool = (&'static str, Value, Value, [&'static str; 2], Value, &'static str, Value);
    let pools: [Pool; 3] = [
        (
            "trino-xsmall",
            json!(50),
            json!({"cpu": "1000", "memory": "4000Gi"}),
            ["WhenEmptyOrUnderutilized", "5m"],
            json!(["r8g.large"]),
            "arm64",
            json!(["on-demand", "spot"]),
        ),
        (
            "airflow-worker",
            json!(100),
            json!({"cpu": "2000", "memory": "8000Gi"}),
            ["WhenEmpty", "2m"],
            json!(["m5.large"]),
            "amd64",
            json!(["spot", "on-demand"]),
        ),
        (
            "jupyterhub-small",
            Value::Null,
            json!({"cpu": "1600", "memory": "16000Gi"}),
            ["WhenEmptyOrUnderutilized", "5m"],
            json!(["t3.large", "t3.xlarge", "t3.2xlarge"]),
            "amd64",
            json!(["spot", "on-demand"]),
        ),
    ];
    for (name, weight, limits, [policy, after], types, arch, capacity) in pools {
        let pool = lab.kubectl(&["get", "nodepools.karpenter.sh", name]);
        let spec = &pool["spec"];
        assert_eq!(spec["weight"], weight, "{name}");
        assert_eq!(spec["limits"], limits, "{name}");
        assert_eq!(
            spec["disruption"],
            json!({"consolidationPolicy": policy, "consolidateAfter": after, "budgets": [{"nodes": "10%"}]}),
            "{name}"
        );
        let template = &spec["template"]["spec"];
        assert_eq!(template["expireAfter"], "720h", "{name}");
        assert_eq!(
            template["nodeClassRef"],
            json!({"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "karpenter-nodeclass-default"}),
            "{name}"
        );
        assert_eq!(template["taints"], json!([{"key": name, "effect": "NoSchedule"}]), "{name}");
        let requirement = |key: &str| {
            let mut matching = template["requirements"].as_array().unwrap().iter().filter(|r| r["key"] == key);
            let (one, none) = (matching.next().unwrap(), matching.next());
            assert!(none.is_none() && one["operator"] == "In", "{name} {key}: {one}");
            sorted(&one["values"])
        };
        assert_eq!(template["requirements"].as_array().map(Vec::len), Some(4), "{name}");
        assert_eq!(requirement("node.kubernetes.io/instance-type"), sorted(&types), "{name}");
        assert_eq!(requirement("kubernetes.io/arch"), json!([arch]), "{name}");
        assert_eq!(requirement("kubernetes.io/os"), json!(["linux"]), "{name}");
        assert_eq!(requirement("karpenter.sh/capacity-type"), sorted(&capacity), "{name}");
        assert_eq!(condition(&pool, "Ready"), "True", "{name}");
    }
}

fn chart(lab: &Lab) {
    let crds = lab.kubectl(&["get", "crds"]);
    let names = crds["items"].as_array().unwrap().iter().filter_map(|c| c["metadata"]["name"].as_str());
    let mut karpenters: Vec<&str> = names.filter(|n| n.ends_with("karpenter.sh") || n.ends_with("karpenter.k8s.aws")).collect();
    karpenters.sort_unstable();
    for needed in ["ec2nodeclasses.karpenter.k8s.aws", "nodeclaims.karpenter.sh", "nodepools.karpenter.sh"] {
        assert!(karpenters.contains(&needed), "{karpenters:?}");
    }
    // both of helm's generations read the release record
    for list in [lab.helm(&["list", "-A", "-o", "json"]), lab.helm4(&["list", "-A", "-o", "json"])] {
        let releases: Vec<Value> = serde_json::from_str(&list).unwrap();
        let ours: Vec<&Value> = releases.iter().filter(|r| r["name"] == "karpenter").collect();
        assert_eq!(ours.len(), 1, "{list}");
        assert_eq!([&ours[0]["status"], &ours[0]["namespace"], &ours[0]["revision"]], ["deployed", "kube-system", "1"], "{list}");
    }
    let values: Value = serde_json::from_str(&lab.helm(&["-n", "kube-system", "get", "values", "karpenter", "-o", "json"])).unwrap();
    assert_eq!(values["settings"]["clusterName"], lab.cluster_name());
    let queue = queue_name(lab);
    assert_eq!(values["settings"]["interruptionQueue"], queue);
    let deployment = lab.kubectl(&["-n", "kube-system", "get", "deployment", "karpenter"]);
    let replicas = deployment["spec"]["replicas"].as_i64().unwrap();
    assert!(replicas > 0 && deployment["status"]["readyReplicas"] == replicas, "{}", deployment["status"]);
    assert_eq!(deployment["spec"]["template"]["spec"]["serviceAccountName"], "karpenter");
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let variable = |name: &str| env.iter().find(|e| e["name"] == name).map(|e| e["value"].clone());
    assert_eq!(variable("CLUSTER_NAME"), Some(lab.cluster_name().into()));
    assert_eq!(variable("INTERRUPTION_QUEUE"), Some(queue.into()));
}

fn account(lab: &Lab) {
    let inventory = lab.inventory();
    let aws = inventory["aws"].as_object().unwrap();
    let cluster_arn = format!("arn:aws:eks:us-east-1:{}:cluster/{}", lab.account_id(), lab.cluster_name());
    let ours = |kind: &str| -> Vec<(&String, &Value)> {
        let tagged = |details: &&Value| details["tags"].as_object().is_some_and(|t| t.values().any(|v| *v == *cluster_arn));
        aws.iter().filter(|(name, details)| name.starts_with(&format!("{kind} ")) && tagged(details)).collect()
    };

    let roles = ours("role");
    assert_eq!(roles.len(), 2, "{roles:?}");
    let (node, controller): (Vec<_>, Vec<_>) = roles.iter().partition(|(name, _)| **name == format!("role {}", node_role(lab)));
    let [(_, node), (controller_name, controller)] = [node[0], controller[0]];
    assert_eq!(
        node["attached"],
        json!(["AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonSSMManagedInstanceCore"])
    );
    let trust = &controller["trust"]["Statement"][0];
    assert_eq!(trust["Principal"]["Service"], "pods.eks.amazonaws.com");
    assert_eq!(sorted(&trust["Action"]), json!(["sts:AssumeRole", "sts:TagSession"]));

    let policies = ours("policy");
    let names: Vec<&str> = policies.iter().filter_map(|(name, _)| name.strip_prefix("policy ")).collect();
    assert!(!names.is_empty() && sorted(&controller["attached"]) == sorted(&json!(names)), "{names:?} {controller}");
    for (name, policy) in &policies {
        assert!(
            policy["characters"].as_u64().unwrap() <= 6144 && policy["versions"] == 1 && policy["attached_to"] == 1,
            "{name}: {policy}"
        );
    }

    let association = ours("pod-identity");
    assert_eq!(association.len(), 1, "{association:?}");
    assert!(association[0].0.starts_with(&format!("pod-identity {}/kube-system/karpenter ", lab.cluster_name())), "{association:?}");
    assert_eq!(association[0].1["role"], controller_name.replace("role ", &format!("arn:aws:iam::{}:role/", lab.account_id())));

    let queue = queue_name(lab);
    let (_, queue_details) = ours("queue")[0];
    assert_eq!([&queue_details["retention"], &queue_details["encryption"]], ["300", "true"]);
    let statements = queue_details["policy"]["Statement"].as_array().unwrap();
    let allowed = statements.iter().find(|s| s["Effect"] == "Allow").unwrap();
    assert_eq!(sorted(&allowed["Principal"]["Service"]), json!(["events.amazonaws.com", "sqs.amazonaws.com"]));
    assert!(statements.iter().any(|s| s["Effect"] == "Deny" && s["Condition"]["Bool"]["aws:SecureTransport"] == "false"), "{statements:?}");

    let rules = ours("rule");
    let mut sources: Vec<String> =
        rules.iter().map(|(_, r)| format!("{} {}", r["pattern"]["source"][0], r["pattern"]["detail-type"][0])).collect();
    sources.sort();
    let expected = [
        "\"aws.ec2\" \"EC2 Capacity Reservation Instance Interruption Warning\"",
        "\"aws.ec2\" \"EC2 Instance Rebalance Recommendation\"",
        "\"aws.ec2\" \"EC2 Instance State-change Notification\"",
        "\"aws.ec2\" \"EC2 Spot Instance Interruption Warning\"",
        "\"aws.health\" \"AWS Health Event\"",
    ];
    assert_eq!(sources, expected);
    let target = json!([format!("arn:aws:sqs:us-east-1:{}:{queue}", lab.account_id())]);
    for (name, rule) in rules {
        assert!(rule["targets"] == target && rule["state"] == "ENABLED", "{name}: {rule}");
    }

    let entry = &aws[&format!("access-entry {} arn:aws:iam::{}:role/{}", lab.cluster_name(), lab.account_id(), node_role(lab))];
    assert_eq!(entry["type"], "EC2_LINUX");
    assert!(aws.keys().any(|name| name.starts_with("role AWSServiceRoleFor")), "the spot service-linked role");
}

fn outputs(tofu: &Tofu) {
    let placement = tofu.output("placement");
    for pool in ["trino-xsmall", "airflow-worker", "jupyterhub-small"] {
        assert_eq!(placement[pool]["nodeSelector"], json!({"karpenter.sh/nodepool": pool}));
        let tolerations: Vec<Value> = placement[pool]["tolerations"].as_array().unwrap().iter().map(without_nulls).collect();
        assert_eq!(tolerations, [json!({"key": pool, "operator": "Exists", "effect": "NoSchedule"})]);
    }
    let bundle = tofu.resource("karpenter_bundle.this");
    assert_eq!(bundle["ready"], true);
    let objects = bundle["objects"].as_object().unwrap();
    assert!(!objects.is_empty() && objects.values().all(|state| state == "in sync"), "{objects:?}");
}

/// The name of the one queue that is tagged for the cluster; its default name unless AWS' limit of 80 cut it.
fn queue_name(lab: &Lab) -> String {
    let urls = lab.boto3("result = [u for u in sqs.list_queues()['QueueUrls'] if any(cluster in v for v in sqs.list_queue_tags(QueueUrl=u).get('Tags', {}).values())]");
    assert_eq!(urls.as_array().map(Vec::len), Some(1), "{urls}");
    let name = urls[0].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let full = format!("{}-karpenter", lab.cluster_name());
    assert!(name == full || (full.len() > 80 && name.len() <= 80), "{name}");
    name
}

/// The node role's name as the access entry has it; its default name unless AWS' limit of 64 cut it.
fn node_role(lab: &Lab) -> String {
    let arns = lab.boto3("result = [e for e in eks.list_access_entries(clusterName=cluster)['accessEntries'] if eks.describe_access_entry(clusterName=cluster, principalArn=e)['accessEntry']['type'] == 'EC2_LINUX']");
    assert_eq!(arns.as_array().map(Vec::len), Some(1), "{arns}");
    let name = arns[0].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let full = format!("{}-karpenter-node-role", lab.cluster_name());
    assert!(name == full || (full.len() > 64 && name.len() <= 64), "{name}");
    name
}

fn condition(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().find(|c| c["type"] == kind).and_then(|c| c["status"].as_str()).unwrap_or("absent").to_owned()
}

fn sorted(list: &Value) -> Value {
    let mut values = list.as_array().cloned().unwrap_or_default();
    values.sort_by_key(Value::to_string);
    values.into()
}

fn without_nulls(value: &Value) -> Value {
    value
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, v)| !v.is_null())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
