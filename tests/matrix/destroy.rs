//! Destroy: what it waits for, what it refuses, what it takes along, and what it leaves.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::cells::{Event, Phase};
use super::client::{End, Kept};
use super::common::Fault;
use super::play::{NODES, differences};
use super::stage::{Stage, shared};

fn created(stage: &Stage, arguments: Json) -> Kept {
    let mut kept = Kept::default();
    assert_eq!(stage.apply(&mut kept, Some(&stage.whole(arguments))), End::Done);
    kept
}

#[track_caller]
fn fails(end: End, parts: &[&str]) {
    let End::Failed(errors) = end else { panic!("{end:?}, want a refusal with {parts:?}") };
    assert!(errors.iter().any(|e| parts.iter().all(|part| e.contains(part))), "{errors:#?}, want {parts:?}");
}

#[track_caller]
fn unchanged(stage: &Stage, before: &Json) {
    assert_eq!(differences(before, &stage.count(), false), Vec::<String>::new());
}

/// The spot role and CRDs are all that is left of a bundle.
#[track_caller]
fn nothing_left(stage: &Stage, empty: &Json) {
    let left = differences(empty, &stage.count(), false);
    let left: Vec<&String> =
        left.iter().filter(|line| !line.contains("AWSServiceRoleFor") && !line.starts_with("kubernetes CRD")).collect();
    assert!(left.is_empty(), "{left:#?}");
}

const FREE_CLAIM: &str = "patch(KARPENTER[1] + '/default-1', {'metadata': {'finalizers': None}}); delete(KARPENTER[1] + '/default-1')";
const FREE_CLASS: &str = "patch(KARPENTER[2] + '/default', {'metadata': {'finalizers': None}})";
/// EKS Auto Mode's, which are none of the bundle's business.
const AUTO_MODE: &str = "
    if not get(KARPENTER[1] + '/auto-1'):
        post(KARPENTER[1], {'apiVersion': 'karpenter.sh/v1', 'kind': 'NodeClaim', 'metadata': {'name': 'auto-1'}, 'spec': {'requirements': [], 'nodeClassRef': {'group': 'eks.amazonaws.com', 'kind': 'NodeClass', 'name': 'default'}}})";

#[test]
fn a_destroy_is_refused_at_apply_while_nodes_run_and_names_them() {
    let stage = shared();
    stage.wipe(false);
    let empty = stage.count();
    let mut kept = created(&stage, json!({}));
    stage.python(NODES);
    stage.python(AUTO_MODE);
    let before = stage.count();
    // the plan of a destroy says nothing: `apply` above would have failed before the process that applies began
    stage.proxy.reset();
    let end = stage.apply(&mut kept, None);
    fails(
        end.clone(),
        &["NodeClaim default-1 (held by karpenter.sh/termination)", "EC2NodeClass default (held by", "force_destroy = true"],
    );
    let End::Failed(errors) = end else { unreachable!() };
    assert!(!errors.iter().any(|e| e.contains("auto-1")), "{errors:?}");
    assert_eq!(stage.proxy.calls().iter().filter(|c| c.mutating).count(), 0, "refused before the first write");
    unchanged(&stage, &before);

    stage.python(FREE_CLAIM);
    fails(stage.apply(&mut kept, None), &["EC2NodeClass default"]);
    stage.python(FREE_CLASS);
    assert_eq!(stage.apply(&mut kept, None), End::Done);
    let claim = |counted: &serde_json::Value| counted["kubernetes"]["nodeclaims auto-1"].clone();
    assert!(claim(&before).is_string());
    assert_eq!(claim(&stage.count()), claim(&before), "Auto Mode's claim stays");
    stage.python("delete(KARPENTER[0] + '/default'); delete(KARPENTER[1] + '/auto-1'); delete(KARPENTER[2] + '/default')");
    nothing_left(&stage, &empty);
}

#[test]
fn a_node_that_comes_while_the_controller_goes_keeps_its_permissions() {
    let stage = shared();
    stage.wipe(false);
    let empty = stage.count();
    let mut kept = created(&stage, json!({}));
    let going = |_| Fault::on("kubernetes:DELETE .*/deployments/karpenter$").hold();
    std::thread::scope(|scope| {
        let destroy = scope.spawn(|| stage.apply_under(&mut kept, None, Some(&going)));
        assert!(stage.proxy.held(Duration::from_secs(60)).is_some(), "the controller goes");
        stage.python(NODES);
        stage.proxy.release();
        fails(destroy.join().unwrap(), &["NodeClaim default-1", "launched them while it was being removed", "Apply the bundle again"]);
    });
    assert!(stage.count()["aws"]["role matrix-karpenter-node-role"].is_object());
    assert_eq!(stage.apply(&mut kept, Some(&stage.whole(json!({})))), End::Done, "the controller is back");
    stage.python("delete(KARPENTER[0] + '/default')");
    stage.python(FREE_CLAIM);
    stage.python(FREE_CLASS);
    stage.python("delete(KARPENTER[2] + '/default')");
    assert_eq!(stage.apply(&mut kept, None), End::Done);
    nothing_left(&stage, &empty);
}

#[test]
fn force_destroy_deletes_pools_first_waits_and_goes_on_only_without_nodes() {
    let stage = shared();
    stage.wipe(false);
    let empty = stage.count();
    let mut kept = created(&stage, json!({"force_destroy": true, "timeouts": [{"delete": "6s"}]}));
    stage.python(NODES);

    // nobody lets the node go: the wait ends, names what blocks, and the controller is still there to go on
    fails(
        stage.apply(&mut kept, None),
        &["still being deleted: NodeClaim default-1", "held by karpenter.sh/termination", "timeouts.delete"],
    );
    let left = stage.count();
    assert!(
        left["kubernetes"]["Deployment kube-system/karpenter"].is_string() && left["aws"]["role matrix-karpenter-controller"].is_object()
    );
    assert!(left["kubernetes"]["nodepools default"].is_null(), "the pool went first");
    assert!(!left["kubernetes"]["ec2nodeclasses default"].as_str().unwrap().ends_with("going"), "a node that runs needs its class");

    let arguments = stage.whole(json!({"force_destroy": true, "timeouts": [{"delete": "2m"}]}));
    assert_eq!(stage.apply(&mut kept, Some(&arguments)), End::Done);
    std::thread::scope(|scope| {
        let destroy = scope.spawn(|| stage.apply(&mut kept, None));
        // what the controller does: it lets a claim go when its node is gone, then the class that nothing uses
        for (what, object) in [("the claim", "KARPENTER[1] + '/default-1'"), ("the class", "KARPENTER[2] + '/default'")] {
            let end = Instant::now() + Duration::from_secs(60);
            while stage.python(&format!("o = get({object})\nresult = bool(o) and 'deletionTimestamp' in o['metadata']")) != json!(true) {
                assert!(Instant::now() < end && !destroy.is_finished(), "{what} is not deleted");
                std::thread::sleep(Duration::from_millis(100));
            }
            assert_eq!(stage.python("result = bool(get('/apis/apps/v1/namespaces/kube-system/deployments/karpenter'))"), json!(true));
            stage.python(&format!("patch({object}, {{'metadata': {{'finalizers': None}}}})"));
        }
        assert_eq!(destroy.join().unwrap(), End::Done);
    });
    nothing_left(&stage, &empty);
}

#[test]
fn a_failed_create_ignores_force_destroy_and_leaves_a_release_that_it_did_not_take() {
    let stage = shared();
    stage.wipe(false);
    let charts = format!("{}/karpenter", stage.lab.chart_repository());
    stage.lab.helm(&["-n", "kube-system", "install", "karpenter", &charts, "--plain-http", "--set", "settings.clusterName=matrix"]);
    stage.python(NODES);
    let before = stage.count();
    let arguments = stage.whole(json!({"force_destroy": true, "chart": [{"adopt": true}]}));
    let mut kept = Kept::default();
    let denied = |pid| Event::Denied.fault("sqs:CreateQueue", 1, pid);
    fails(stage.apply_under(&mut kept, Some(&arguments), Some(&denied)), &["sqs:CreateQueue"]);
    assert!(kept.tainted);
    fails(stage.apply(&mut kept, None), &["NodeClaim default-1", "tofu untaint"]);

    // without nodes it goes, and what it never took over stays
    stage.python(FREE_CLAIM);
    stage.python("delete(KARPENTER[0] + '/default')");
    stage.python(FREE_CLASS);
    assert_eq!(stage.apply(&mut kept, None), End::Done);
    stage.python("delete(KARPENTER[2] + '/default')");
    let left = differences(&before, &stage.count(), false);
    let left: Vec<&String> =
        left.iter().filter(|line| !line.contains("AWSServiceRoleFor") && !line.contains(" node") && !line.contains(" ec2node")).collect();
    assert!(left.is_empty(), "{left:#?}");
    stage.lab.helm(&["-n", "kube-system", "uninstall", "karpenter", "--wait"]);
}

/// An instance profile with the node role and these tags.
fn profile(stage: &Stage, name: &str, tags: &Json) {
    stage.python(&format!(
        "iam.create_instance_profile(InstanceProfileName='{name}', Tags=[{{'Key': k, 'Value': v}} for k, v in json.loads('{tags}').items()])\n\
         iam.add_role_to_instance_profile(InstanceProfileName='{name}', RoleName='matrix-karpenter-node-role')"
    ));
}

#[test]
fn instance_profiles_that_karpenter_left_go_and_those_of_others_are_named() {
    let stage = shared();
    stage.wipe(false);
    let empty = stage.count();
    let mut kept = created(&stage, json!({}));
    let karpenters = json!({"kubernetes.io/cluster/matrix": "owned", "karpenter.k8s.aws/ec2nodeclass": "default", "topology.kubernetes.io/region": "us-east-1"});
    profile(&stage, "matrix_1", &karpenters);
    profile(&stage, "elsewhere_1", &json!({"kubernetes.io/cluster/matrix": "owned", "topology.kubernetes.io/region": "eu-west-1"}));
    let began = Instant::now();
    fails(stage.apply(&mut kept, None), &["elsewhere_1", "matrix-karpenter-node-role"]);
    assert!(began.elapsed() < Duration::from_secs(60), "what stays for ever is not waited for");
    let left = stage.count();
    assert!(left["aws"]["instance-profile matrix_1"].is_null() && left["aws"]["instance-profile elsewhere_1"].is_object());
    assert_eq!(left["aws"]["role matrix-karpenter-node-role"]["attached"].as_array().unwrap().len(), 4, "its nodes may still run");
    stage.python(
        "iam.remove_role_from_instance_profile(InstanceProfileName='elsewhere_1', RoleName='matrix-karpenter-node-role')\niam.delete_instance_profile(InstanceProfileName='elsewhere_1')",
    );
    assert_eq!(stage.apply(&mut kept, None), End::Done);
    nothing_left(&stage, &empty);

    // a node role that is only used stays, with all but Karpenter's own profiles
    stage.python("iam.create_role(RoleName='matrix-karpenter-node-role', AssumeRolePolicyDocument='{}')");
    profile(&stage, "matrix_2", &json!({"kubernetes.io/cluster/matrix": "owned"}));
    let before = stage.count();
    let mut kept = created(&stage, json!({}));
    profile(&stage, "matrix_1", &karpenters);
    assert_eq!(stage.apply(&mut kept, None), End::Done);
    nothing_left(&stage, &before);
}

#[test]
fn a_bundle_whose_cluster_is_gone_is_kept_in_the_state_until_its_aws_objects_are_destroyed() {
    let stage = shared();
    stage.wipe(false);
    let mut kept = created(&stage, json!({}));
    let state = kept.state.clone();

    // EKS says once that there is no such cluster, and then that there is: nothing is done by half
    let before = stage.count();
    let missing = || Fault::on("^eks:DescribeCluster$").status(404, "ResourceNotFoundException", "No cluster found for name: matrix.");
    let once = |_| missing();
    fails(stage.apply_under(&mut kept, None, Some(&once)), &["find cluster", "eks:DescribeCluster finds it"]);
    unchanged(&stage, &before);
    stage.proxy.fault(missing());
    assert!(stage.refresh(&mut kept).is_err());
    stage.proxy.clear();
    assert_eq!(kept.state, state);

    stage.python("for a in eks.list_pod_identity_associations(clusterName=cluster)['associations']: eks.delete_pod_identity_association(clusterName=cluster, associationId=a['associationId'])\neks.delete_cluster(name=cluster)");
    stage.refresh(&mut kept).unwrap();
    assert_eq!(kept.state, state, "its AWS objects may still be there");
    assert_eq!(stage.apply(&mut kept, None), End::Done);
    let left = "result = [r['RoleName'] for r in iam.list_roles()['Roles'] if 'karpenter' in r['RoleName']] + [p['PolicyName'] for p in iam.list_policies(Scope='Local')['Policies']] + sqs.list_queues().get('QueueUrls', []) + events.list_rules()['Rules']";
    assert_eq!(stage.python(left), json!([]));
    assert!(kept.state.is_null());
    stage.wipe(false);
    let mut kept = Kept::default();
    assert_eq!(stage.apply(&mut kept, Phase::Create.arguments(&stage).as_ref()), End::Done, "a new cluster of that name");
}
