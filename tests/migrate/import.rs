//! `import` of a bundle that somebody else made: found names stay, only what is missing is planned, and what was not ours stays at the end.

use serde_json::{Value, json};

use super::common::{Lab, Tofu};
use super::{lab, makers};

const ADDRESS: &str = "karpenter_bundle.this";
const OWNER: &str = "drifted: tag karpenter-tofu/cluster missing";

fn provider(lab: &Lab) -> String {
    format!("provider \"karpenter\" {{\n  cluster_name = \"{}\"\n}}\n", lab.cluster_name())
}

fn importing(lab: &Lab, bundle: &str) -> Tofu {
    let import = format!("import {{\n  to = {ADDRESS}\n  id = \"{}\"\n}}\n", lab.cluster_name());
    Tofu::new(lab, &format!("{}{import}{bundle}", provider(lab)))
}

/// The names of AWS objects of these kinds, sorted.
fn names(lab: &Lab, kinds: &[&str]) -> Vec<String> {
    let inventory = lab.inventory();
    let keys = inventory["aws"].as_object().unwrap().keys();
    let of = |key: &&String| kinds.iter().any(|kind| key.starts_with(&format!("{kind} ")));
    let stays = |key: &&String| !key.contains("AWSServiceRoleFor") && !key.contains("-cluster-cluster");
    keys.filter(of).filter(stays).cloned().collect()
}

const EVERY: [&str; 6] = ["role", "policy", "queue", "rule", "pod-identity", "access-entry"];

/// Everything that the plan repairs: the lines of `objects` that are not in sync.
fn missing(plan: &super::common::Plan) -> Vec<String> {
    let change = plan.change(ADDRESS);
    assert_eq!(change["actions"], json!(["update"]), "{change:#}");
    assert!(change["importing"].is_object(), "{change:#}");
    let lines = change["before"]["objects"].as_object().unwrap();
    lines.iter().filter(|(_, line)| *line != "in sync").map(|(key, line)| format!("{key} = {}", line.as_str().unwrap())).collect()
}

#[test]
fn the_eks_modules_objects_keep_their_names_and_get_what_is_missing() {
    let (lab, _turn) = lab();
    makers::eks_module(lab);
    makers::install(lab, "kube-system", "karpenter-crd", "karpenter-crd", &[]);
    let values = "settings.clusterName=my-cluster,settings.interruptionQueue=Karpenter-my-cluster,serviceAccount.name=karpenter";
    makers::install(lab, "kube-system", "karpenter", "karpenter", &["--skip-crds", "--wait", "--set", values]);
    makers::class_and_pool(lab, "role: Karpenter-my-cluster-20240131090000000100000003");
    let (found, pool) = (names(lab, &EVERY), lab.kubectl(&["get", "nodepool", "general"]));
    let deployment = || lab.kubectl(&["-n", "kube-system", "get", "deployment", "karpenter"])["metadata"]["generation"].clone();
    let generation = deployment();

    let tofu = importing(lab, "resource \"karpenter_bundle\" \"this\" {}\n");
    let inventory = lab.inventory();
    let plan = tofu.plan().ok();
    assert_eq!(lab.inventory(), inventory, "a plan changes nothing");
    assert_eq!(
        missing(&plan),
        [
            "access_entry = not managed".to_owned(),
            format!("controller_policy_1 = drifted: document differs; {}", &OWNER["drifted: ".len()..]),
            format!("controller_role = {OWNER}"),
            "crds = drifted: owned by the Helm release kube-system/karpenter-crd".to_owned(),
            format!("interruption_queue = {OWNER}"),
            "node_role = not managed".to_owned(),
            format!("pod_identity_association = {OWNER}"),
            "rule_capacity_reservation_interruption = missing".to_owned(),
            format!("rule_health_event = {OWNER}"),
            format!("rule_instance_state_change = {OWNER}"),
            format!("rule_rebalance = {OWNER}"),
            format!("rule_spot_interruption = {OWNER}"),
            "spot_service_linked_role = missing".to_owned(),
        ]
    );
    let after = plan.change(ADDRESS)["after"].clone();
    assert_eq!(after["controller_role_name"], "KarpenterController-20240131090000000100000001");
    assert_eq!(after["node_role_name"], "Karpenter-my-cluster-20240131090000000100000003");
    assert_eq!(after["queue_name"], "Karpenter-my-cluster");

    tofu.apply_planned().ok();
    tofu.plan().empty();
    tofu.plan_with(&["-refresh=false"]).empty();
    let made: Vec<String> = names(lab, &EVERY).into_iter().filter(|name| !found.contains(name)).collect();
    assert_eq!(made, ["rule my-cluster-karpenter-capacity-reservation-interruption"], "and nothing else is new");
    assert_eq!(deployment(), generation, "no pod is replaced");
    assert_eq!(lab.kubectl(&["get", "nodepool", "general"])["metadata"], pool["metadata"], "nobody touched the pool");
    assert_eq!(lab.helm(&["list", "-n", "kube-system", "-q"]).trim(), "karpenter", "the record of the CRDs' release is retired");
    let versions = "result = len(iam.list_policy_versions(PolicyArn='arn:aws:iam::123456789012:policy/KarpenterController-20240131090000000100000002')['Versions'])";
    assert_eq!(lab.boto3(versions), json!(2));

    // another change does not bring default names back
    tofu.write("main.tf", &format!("{}resource \"karpenter_bundle\" \"this\" {{\n  tags = {{ team = \"data\" }}\n}}\n", provider(lab)));
    tofu.apply().ok();
    tofu.plan().empty();
    assert_eq!(
        names(lab, &["role", "queue"]),
        found.iter().filter(|n| n.starts_with("role") || n.starts_with("queue")).cloned().collect::<Vec<_>>()
    );

    // lost state: the tags say whose it is now, and the names are found again
    let again = importing(lab, "resource \"karpenter_bundle\" \"this\" {\n  tags = { team = \"data\" }\n}\n");
    again.apply().ok();
    again.plan().empty();
    assert_eq!(again.resource(ADDRESS)["controller_role_name"], "KarpenterController-20240131090000000100000001");

    // a destroy takes what is ours since the import; the node role stays with its access entry, since nodes may run with it
    lab.kubectl_text(&["delete", "nodepools.karpenter.sh,ec2nodeclasses.karpenter.k8s.aws", "--all"]);
    tofu.destroy().ok();
    assert_eq!(
        names(lab, &EVERY),
        [
            "access-entry my-cluster arn:aws:iam::123456789012:role/Karpenter-my-cluster-20240131090000000100000003",
            "role Karpenter-my-cluster-20240131090000000100000003",
        ]
    );
}

#[test]
fn eksctls_objects_become_hcl_that_plans_only_what_is_missing() {
    let (lab, _turn) = lab();
    makers::eksctl(lab);
    let values = "settings.clusterName=my-cluster,settings.interruptionQueue=my-cluster,serviceAccount.name=karpenter,replicas=1";
    let annotation = format!("serviceAccount.annotations.eks\\.amazonaws\\.com/role-arn={}", makers::EKSCTL_ROLE);
    makers::install(lab, "kube-system", "karpenter", "karpenter", &["--set", values, "--set", &annotation]);
    makers::class_and_pool(lab, "role: KarpenterNodeRole-my-cluster");
    let found = names(lab, &EVERY);

    let tofu = importing(lab, "");
    let plan = tofu.plan_with(&["-generate-config-out=generated.tf"]).ok();
    let lines = missing(&plan);
    let documents = |n: usize| format!("controller_policy_{n} = drifted: document differs; {}", &OWNER["drifted: ".len()..]);
    for n in 1..=4 {
        assert!(lines.contains(&documents(n)), "{lines:#?}");
    }
    assert!(lines.contains(&format!("controller_role = {OWNER}")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("chart")), "{lines:#?}");
    let generated = std::fs::read_to_string(tofu.dir().join("generated.tf")).unwrap();
    assert!(generated.contains("replicas: 1"), "{generated}");
    // the role stays one for the service account; the bundle itself says so to the chart
    assert_eq!(plan.change(ADDRESS)["after"]["credentials"], "irsa");
    assert!(generated.contains("\"irsa\"") && !generated.contains("role-arn"), "{generated}");
    tofu.apply().ok();
    tofu.plan().empty();
    let made: Vec<String> = names(lab, &EVERY).into_iter().filter(|name| !found.contains(name)).collect();
    assert_eq!(made, ["rule my-cluster-karpenter-capacity-reservation-interruption"]);
    assert_eq!(lab.kubectl(&["-n", "kube-system", "get", "deployment", "karpenter"])["spec"]["replicas"], 1);
    let account = lab.kubectl(&["-n", "kube-system", "get", "serviceaccount", "karpenter"]);
    assert_eq!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"], makers::EKSCTL_ROLE);
    // each statement is in one of the four policies
    let statements = lab.boto3(
        "
         attached = iam.list_attached_role_policies(RoleName=f'KarpenterControllerRole-{cluster}')['AttachedPolicies']
         document = lambda arn: iam.get_policy_version(PolicyArn=arn, VersionId=iam.get_policy(PolicyArn=arn)['Policy']['DefaultVersionId'])['PolicyVersion']['Document']
         result = [s['Sid'] for p in attached for s in document(p['PolicyArn'])['Statement']]",
    );
    let statements: Vec<&str> = statements.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(statements.contains(&"AllowPassingInstanceRole") && statements.contains(&"AllowInterruptionQueueActions"), "{statements:?}");
    assert_eq!(statements.len(), statements.iter().collect::<std::collections::BTreeSet<_>>().len(), "{statements:?}");
}

#[test]
fn what_a_person_made_is_found_wherever_it_is() {
    let (lab, _turn) = lab();
    makers::by_hand(lab);
    let values = "settings.clusterName=my-cluster,settings.interruptionQueue=interruptions,serviceAccount.name=autoscaler";
    makers::install(lab, "karpenter", "karp", "karpenter", &["--set", values]);
    makers::class_and_pool(lab, "instanceProfile: workers-profile");
    let found = names(lab, &EVERY);

    let tofu = importing(lab, "resource \"karpenter_bundle\" \"this\" {}\n");
    let plan = tofu.plan().ok();
    let after = plan.change(ADDRESS)["after"].clone();
    assert_eq!((&after["namespace"], &after["service_account"]), (&json!("karpenter"), &json!("autoscaler")));
    assert_eq!(after["controller_role_arn"], "arn:aws:iam::123456789012:role/platform/autoscaler");
    assert_eq!(after["node_role_arn"], "arn:aws:iam::123456789012:role/nodes/workers");
    let lines = missing(&plan);
    assert!(lines.contains(&"controller_policy_1 = missing".to_owned()), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("rule_health_event = drifted: event_pattern differs")), "{lines:#?}");
    tofu.apply_planned().ok();
    tofu.plan().empty();

    let made: Vec<String> = names(lab, &EVERY).into_iter().filter(|name| !found.contains(name)).collect();
    assert_eq!(
        made,
        [
            "policy autoscaler-karpenter",
            "rule my-cluster-karpenter-capacity-reservation-interruption",
            "rule my-cluster-karpenter-instance-state-change",
            "rule my-cluster-karpenter-rebalance",
            "rule my-cluster-karpenter-spot-interruption",
        ]
    );
    // the inline policy's permissions are in the bundle's now; the policy about keys is somebody else's business, whatever its name
    let role = lab.inventory()["aws"]["role autoscaler"].clone();
    assert_eq!((&role["inline"], &role["attached"]), (&json!([]), &json!(["autoscaler", "autoscaler-karpenter"])));
    let history: Value = lab.helm(&["-n", "karpenter", "history", "karp", "-o", "json"]).parse().unwrap();
    assert_eq!(history.as_array().unwrap().last().unwrap()["status"], "deployed");

    lab.kubectl_text(&["delete", "nodepools.karpenter.sh,ec2nodeclasses.karpenter.k8s.aws", "--all"]);
    tofu.destroy().ok();
    assert_eq!(
        names(lab, &EVERY),
        ["access-entry my-cluster arn:aws:iam::123456789012:role/nodes/workers", "policy autoscaler", "role workers"],
        "what is not ours stays"
    );
}

#[test]
fn nothing_to_import_is_said() {
    let (lab, _turn) = lab();
    let tofu = importing(lab, "resource \"karpenter_bundle\" \"this\" {}\n");
    let outcome = tofu.plan().outcome.err();
    assert!(outcome.errors().iter().any(|e| e.text().contains("nothing of it exists")), "{:#?}", outcome.errors());
}
