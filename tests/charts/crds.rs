//! The life of CRDs: applied, adopted, converted, refused, deleted. One test, since a cluster has them once.

use karpenter::Kind;
use karpenter::helm::{self, conversion, crds};
use kube::Client;
use serde_json::{Value, json};

use crate::common::Lab;
use crate::{chart, client};

const POOLS: &str = "nodepools.karpenter.sh";

#[tokio::test(flavor = "multi_thread")]
async fn crds_are_applied_kept_and_never_taken_from_a_live_release() {
    let lab = Lab::shared();
    let client = client(lab, lab.var("CLUSTER_ENDPOINT")).await;
    let crds = chart(lab, "1.14.1").await.crds().unwrap();
    assert!(crds.len() >= 3);
    helm::apply_crds(&client, &crds, "kube-system", false, false).await.unwrap();
    assert!(helm::read_crds(&client, &crds, false).await.unwrap().iter().all(|crd| crd.drift == "in sync"));
    lab.kubectl(&["get", "nodepools"]);

    lab.kubectl_text(&["annotate", "crd", "nodepools.karpenter.sh", "meta.helm.sh/release-name-"]);
    lab.kubectl_text(&[
        "patch",
        "crd",
        "nodepools.karpenter.sh",
        "--type=json",
        "-p",
        r#"[{"op":"add","path":"/spec/names/shortNames","value":["np"]}]"#,
    ]);
    helm::apply_crds(&client, &crds, "kube-system", false, false).await.unwrap();
    // the marks are there: helm takes the CRDs as its own
    let repository = format!("{}/karpenter-crd", lab.chart_repository());
    for (program, revision) in [("helm", "1"), ("helm4", "2")] {
        let args = ["upgrade", "--install", "karpenter-crd", &repository, "--plain-http", "--version", "1.14.1", "-n", "kube-system"];
        let said = if program == "helm" { lab.helm(&args) } else { lab.helm4(&args) };
        assert!(said.contains(&format!("REVISION: {revision}")), "{said}");
    }
    let error = helm::apply_crds(&client, &crds, "kube-system", false, false).await.unwrap_err();
    assert_eq!(error.kind, Kind::AlreadyExists);
    assert!(error.action.contains("kube-system/karpenter-crd"), "{error}");
    helm::apply_crds(&client, &crds, "kube-system", true, false).await.unwrap();
    assert_eq!(lab.helm(&["list", "-n", "kube-system", "-a", "-q"]), "", "its record is retired");
    assert_eq!(helm::find_crds(&client, &crds, false).await.unwrap().len(), crds.len());
    assert!(lab.exists(&["crd", "nodepools.karpenter.sh"]));

    a_webhook_of_karpenter_1_0_comes_and_goes(lab, &client, &crds).await;
    stored_objects_are_never_stranded(&client, &crds).await;
    crds_go_only_when_empty(lab, &client).await;
    those_of_eks_auto_mode_are_left_alone(lab, &client, &crds).await;
}

/// The same CRDs with another one for node pools.
fn with_pools(crds: &[Value], change: impl Fn(&mut Value)) -> Vec<Value> {
    let mut crds = crds.to_vec();
    crds.iter_mut().filter(|crd| crd["metadata"]["name"] == POOLS).for_each(change);
    crds
}

async fn a_webhook_of_karpenter_1_0_comes_and_goes(lab: &Lab, client: &Client, crds: &[Value]) {
    // as `crds/` of Karpenter 1.0 has it
    let mut chart = chart(lab, "1.14.1").await;
    let webhook = with_pools(crds, |crd| {
        crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
            "conversionReviewVersions": ["v1beta1", "v1"],
            "clientConfig": {"service": {"name": "karpenter", "namespace": "kube-system", "port": 8443}},
        }});
    });
    let text: String = webhook.iter().map(|crd| format!("---\n{crd}\n")).collect();
    chart.files = vec![helm::chart::File { name: "crds/all.yaml".into(), data: text.into_bytes() }];
    let values = |text: &str| helm::values::parse("values", &[text.to_owned()]).unwrap();
    let adjusted = conversion::crds(&chart, &values("webhook: {enabled: true, port: 9443}"), "ship", "harbor").unwrap();
    helm::apply_crds(client, &adjusted, "kube-system", false, false).await.unwrap();
    let service = lab.kubectl(&["get", "crd", POOLS])["spec"]["conversion"]["webhook"]["clientConfig"]["service"].clone();
    assert_eq!(service, json!({"name": "ship-karpenter", "namespace": "harbor", "port": 9443}));
    assert!(helm::read_crds(client, &adjusted, false).await.unwrap().iter().all(|crd| crd.drift == "in sync"));
    let disabled = conversion::crds(&chart, &values("webhook: {enabled: false}"), "ship", "harbor").unwrap();
    assert_eq!(disabled.iter().find(|crd| crd["metadata"]["name"] == POOLS).unwrap()["spec"]["conversion"], json!({"strategy": "None"}));

    // the controller puts in its certificate; the CRDs of 1.1 know of no webhook, and nothing of it may stay
    let bundle = r#"[{"op": "add", "path": "/spec/conversion/webhook/clientConfig/caBundle", "value": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K"}]"#;
    let _ = lab.try_kubectl(&["patch", "crd", POOLS, "--type=json", "-p", bundle]);
    let drift = helm::read_crds(client, crds, false).await.unwrap().into_iter().find(|crd| crd.name == POOLS).unwrap().drift;
    assert_eq!(drift, "drifted: spec.conversion.strategy is \"Webhook\", want \"None\"");
    helm::apply_crds(client, crds, "kube-system", false, false).await.unwrap();
    assert_eq!(lab.kubectl(&["get", "crd", POOLS])["spec"]["conversion"], json!({"strategy": "None"}));
    assert!(helm::read_crds(client, crds, false).await.unwrap().iter().all(|crd| crd.drift == "in sync"));
}

async fn stored_objects_are_never_stranded(client: &Client, crds: &[Value]) {
    let both = with_pools(crds, |crd| {
        let mut old = crd["spec"]["versions"][0].clone();
        old["name"] = "v1beta1".into();
        old["storage"] = true.into();
        crd["spec"]["versions"][0]["storage"] = false.into();
        crd["spec"]["versions"].as_array_mut().unwrap().push(old);
    });
    helm::apply_crds(client, &both, "kube-system", false, false).await.unwrap();
    let live = helm::read_crds(client, crds, false).await.unwrap();
    assert!(live.iter().any(|crd| crd.name == POOLS && crd.stored.contains(&"v1beta1".to_owned())), "{live:?}");
    crds::refuse_stranding(&both, &live).unwrap();
    let error = crds::refuse_stranding(crds, &live).unwrap_err();
    assert!(error.kind == Kind::Invalid && error.message.contains("v1beta1") && error.action.contains(POOLS), "{error:?}");
    assert!(error.remedy.contains("storedVersions\":[\"v1\"]"), "{}", error.remedy);
    // what the remedy says makes it possible
    let only = with_pools(&both, |crd| {
        let versions = crd["spec"]["versions"].as_array_mut().unwrap();
        versions[0]["storage"] = true.into();
        versions[1]["storage"] = false.into();
    });
    helm::apply_crds(client, &only, "kube-system", false, false).await.unwrap();
    let lab = Lab::shared();
    lab.kubectl_text(&["patch", "crd", POOLS, "--subresource=status", "--type=merge", "-p", r#"{"status":{"storedVersions":["v1"]}}"#]);
    crds::refuse_stranding(crds, &helm::read_crds(client, crds, false).await.unwrap()).unwrap();
    helm::apply_crds(client, crds, "kube-system", false, false).await.unwrap();
}

async fn crds_go_only_when_empty(lab: &Lab, client: &Client) {
    lab.kubectl_apply(
        "
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: last}
spec:
  template:
    spec:
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      requirements: [{key: kubernetes.io/os, operator: In, values: [linux]}]
",
    );
    let error = helm::delete_crds(client, "kube-system").await.unwrap_err();
    assert!(error.kind == Kind::Conflict && error.message.contains("last"), "{error}");
    assert!(lab.exists(&["crd", "ec2nodeclasses.karpenter.k8s.aws"]), "none of them is gone");
    lab.kubectl_text(&["delete", "nodepool", "last"]);
    helm::delete_crds(client, "somewhere-else").await.unwrap();
    assert!(lab.exists(&["crd", POOLS]), "those of another release stay");
    helm::delete_crds(client, "kube-system").await.unwrap();
    assert!(!lab.exists(&["crd", POOLS]) && !lab.exists(&["crd", "ec2nodeclasses.karpenter.k8s.aws"]));
}

async fn those_of_eks_auto_mode_are_left_alone(lab: &Lab, client: &Client, crds: &[Value]) {
    // EKS keeps Karpenter's core CRDs, but not those of its AWS part
    let dir = tempfile::tempdir().unwrap();
    for crd in
        crds.iter().filter(|crd| ["nodepools.karpenter.sh", "nodeclaims.karpenter.sh"].contains(&crd["metadata"]["name"].as_str().unwrap()))
    {
        let file = dir.path().join("crd.json");
        std::fs::write(&file, crd.to_string()).unwrap();
        lab.kubectl_text(&["apply", "--server-side", "--field-manager=eks", "-f", file.to_str().unwrap()]);
    }
    let before = lab.kubectl(&["get", "crd", POOLS, "--show-managed-fields"]);
    for auto_mode in [true, false] {
        let mut newer = crds.to_vec();
        newer.iter_mut().for_each(|crd| crd["spec"]["names"]["shortNames"] = json!(["x"]));
        for crd in &mut newer {
            let first = crd["metadata"]["name"].as_str().unwrap().chars().take(6).collect::<String>();
            crd["spec"]["names"]["shortNames"] = json!([format!("x{first}")]);
        }
        helm::apply_crds(client, &newer, "kube-system", false, auto_mode).await.unwrap();
        let states = helm::read_crds(client, &newer, auto_mode).await.unwrap();
        assert!(states.iter().all(|crd| crd.drift == "in sync"), "{states:?}");
        let eks: Vec<&str> = states.iter().filter(|crd| crd.eks).map(|crd| crd.name.as_str()).collect();
        assert_eq!(eks, ["nodeclaims.karpenter.sh", POOLS]);
        assert!(lab.exists(&["crd", "ec2nodeclasses.karpenter.k8s.aws"]));
    }
    let after = lab.kubectl(&["get", "crd", POOLS, "--show-managed-fields"]);
    assert_eq!((&before["spec"], &before["metadata"]["labels"]), (&after["spec"], &after["metadata"]["labels"]));
    assert!(!after["metadata"]["managedFields"].to_string().contains("helm"));
}
