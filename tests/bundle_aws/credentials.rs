//! Pod Identity, IRSA, and the way from one to the other: the controller's pods get what they need before anything goes.

use serde_json::{Value, json};

use crate::common::{Lab, Options, Tofu};
use crate::{ADDRESS, refused, warned, whole};

/// Trust, associations, the service account's annotation and the pods' uids, as others see them.
fn live(lab: &Lab) -> (Value, Vec<Value>) {
    let mut found = lab.boto3(
        "
         role = iam.get_role(RoleName=f'{cluster}-karpenter-controller')['Role']
         result = {'trust': [s['Principal'] for s in role['AssumeRolePolicyDocument']['Statement']],
             'conditions': [s.get('Condition') for s in role['AssumeRolePolicyDocument']['Statement']],
             'associations': len(eks.list_pod_identity_associations(clusterName=cluster)['associations'])}",
    );
    let account = lab.kubectl(&["-n", "kube-system", "get", "serviceaccount", "karpenter"]);
    found["annotation"] = account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].clone();
    // an apply may end with one old pod still there
    lab.kubectl_text(&["-n", "kube-system", "rollout", "status", "deployment/karpenter", "--timeout=120s"]);
    let pods = lab.kubectl(&["-n", "kube-system", "get", "pods", "-l", "app.kubernetes.io/name=karpenter"]);
    let running = pods["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    (found, running.map(|pod| pod["metadata"]["uid"].clone()).collect())
}

fn disjoint(one: &[Value], other: &[Value]) -> bool {
    one.iter().all(|uid| !other.contains(uid))
}

#[test]
fn credentials_change_in_place_and_pods_get_the_new_ones() {
    let lab = Lab::start(Options { cluster_name: "creds".into(), ..Options::default() });
    let issuer = lab.boto3("result = eks.describe_cluster(name=cluster)['cluster']['identity']['oidc']['issuer']");
    let issuer = issuer.as_str().unwrap().trim_start_matches("https://").to_owned();
    let tofu = Tofu::new(&lab, &whole(&lab, "  credentials = \"irsa\""));

    // without IAM's OIDC provider: told at plan, refused before the first write
    let plan = tofu.plan().ok();
    warned(&plan.outcome, "aws_iam_openid_connect_provider");
    let inventory = lab.inventory();
    refused(tofu.apply(), &format!("oidc-provider/{issuer} does not exist"));
    assert_eq!(lab.inventory(), inventory, "refused before the first write");
    lab.boto3(&format!(
        "iam.create_open_id_connect_provider(Url='https://{issuer}', ClientIDList=['sts.amazonaws.com'], ThumbprintList=['{}'])",
        "0".repeat(40)
    ));

    let applied = tofu.apply().ok();
    assert!(applied.warnings().is_empty(), "{:#?}", applied.warnings());
    tofu.plan().empty();
    let irsa = json!({
        "trust": [{"Federated": format!("arn:aws:iam::123456789012:oidc-provider/{issuer}")}],
        "conditions": [{"StringEquals": {
            format!("{issuer}:aud"): "sts.amazonaws.com",
            format!("{issuer}:sub"): "system:serviceaccount:kube-system:karpenter",
        }}],
        "associations": 0,
        "annotation": "arn:aws:iam::123456789012:role/creds-karpenter-controller",
    });
    let (found, first) = live(&lab);
    assert_eq!((found, first.len()), (irsa.clone(), 2));

    // to Pod Identity: the association comes first, then the pods anew, then the federated trust goes
    lab.kubectl_text(&["-n", "kube-system", "delete", "daemonset", "eks-pod-identity-agent"]);
    tofu.write("main.tf", &whole(&lab, ""));
    assert_eq!(tofu.plan().ok().changes(), [format!("{ADDRESS}: update")]);
    let proxy = lab.proxy();
    let tofu = tofu.through(&proxy);
    warned(&tofu.apply().ok(), "eks-pod-identity-agent");
    let calls: Vec<String> = proxy.calls().into_iter().filter(|call| call.mutating).map(|call| call.key).collect();
    let trusts: Vec<usize> = calls.iter().enumerate().filter(|(_, key)| *key == "iam:UpdateAssumeRolePolicy").map(|(at, _)| at).collect();
    let rolled = calls.iter().rposition(|key| key.ends_with("/deployments/karpenter")).expect("the pods are made anew");
    assert!(trusts.len() == 2 && trusts[0] < rolled && rolled < trusts[1], "both are trusted meanwhile: {calls:#?}");
    tofu.plan().empty();
    let identity = json!({"trust": [{"Service": "pods.eks.amazonaws.com"}], "conditions": [null], "associations": 1, "annotation": null});
    let (found, second) = live(&lab);
    assert_eq!((found, second.len(), disjoint(&first, &second)), (identity.clone(), 2, true));

    // an association that is made again is newer than the pods, which get its credentials only when they are made anew
    lab.boto3("for a in eks.list_pod_identity_associations(clusterName=cluster)['associations']: eks.delete_pod_identity_association(clusterName=cluster, associationId=a['associationId'])");
    tofu.apply().ok();
    tofu.plan().empty();
    let (found, third) = live(&lab);
    assert_eq!((found, third.len(), disjoint(&second, &third)), (identity, 2, true));

    // and back: the association goes last
    proxy.reset();
    tofu.write("main.tf", &whole(&lab, "  credentials = \"irsa\""));
    tofu.apply().ok();
    let calls: Vec<String> = proxy.calls().into_iter().filter(|call| call.mutating).map(|call| call.key).collect();
    let at = |part: &str| calls.iter().rposition(|key| key.contains(part)).unwrap_or_else(|| panic!("no {part} in {calls:#?}"));
    assert!(at("/deployments/karpenter") < at("eks:DeletePodIdentityAssociation"), "{calls:#?}");
    tofu.plan().empty();
    let (found, fourth) = live(&lab);
    assert_eq!((found, fourth.len(), disjoint(&third, &fourth)), (irsa, 2, true));

    // what changes nothing about credentials leaves the pods alone
    tofu.write("main.tf", &whole(&lab, "  credentials = \"irsa\"\n  tags = { team = \"data\" }"));
    tofu.apply().ok();
    assert_eq!(live(&lab).1.iter().filter(|uid| fourth.contains(uid)).count(), 2);
    tofu.destroy().ok();
}
