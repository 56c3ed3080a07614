//! The guides do what they say: their configurations and commands are taken from `docs/guides/` and run.
//!
//! What stands in for what a test cannot have: the providers hashicorp/helm and gavinbunney/kubectl and the EKS module come from registries,
//! so their objects are made by helm, kubectl and boto3, and their addresses in the state are held by `terraform_data`, of the same name but
//! for a prefix, in the configuration before and in `removed`. Karpenter's public chart repository is the lab's.

use std::cell::{Cell, RefCell};

use serde_json::{Value, json};

use super::common::{Call, Tofu, repository};
use super::guide::{Block, blocks, file_of, follow};
use super::{lab, makers, run};

const MODULE: &str = "Karpenter-my-cluster-20240131090000000100000003";

/// The addresses of a configuration's blocks of these kinds: `helm_release.karpenter`.
fn addresses(hcl: &str) -> Vec<String> {
    let quoted = |line: &str| line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let of = |line: &str| match (line.split_whitespace().next(), quoted(line).as_slice()) {
        (Some("module"), [name]) => Some(format!("module.{name}")),
        (Some("resource"), [kind, name]) => Some(format!("{kind}.{name}")),
        _ => None,
    };
    hcl.lines().filter_map(of).collect()
}

fn stood_in(text: &str) -> String {
    text.replace("helm_release.", "terraform_data.helm_release_").replace("kubectl_manifest.", "terraform_data.kubectl_manifest_")
}

#[test]
fn the_guide_from_the_eks_module_and_helm_release_leads_here_and_back() {
    let (lab, _turn) = lab();
    let guide = blocks("migrating");
    let configuration = |name: &str| guide.iter().find(|block| file_of(block) == Some(name)).map(|block| block.text.clone()).unwrap();
    let before = addresses(&configuration("before.tf"));
    let forgotten = configuration("migrate.tf");
    assert_eq!(before.len(), 5);
    before.iter().for_each(|address| assert!(forgotten.contains(&format!("from = {address}\n")), "{address} is not forgotten"));

    makers::eks_module(lab);
    makers::install(lab, "kube-system", "karpenter-crd", "karpenter-crd", &[]);
    let values = "replicas=1,settings.clusterName=my-cluster,settings.interruptionQueue=Karpenter-my-cluster,serviceAccount.name=karpenter";
    makers::install(lab, "kube-system", "karpenter", "karpenter", &["--skip-crds", "--wait", "--set", values]);
    makers::class_and_pool(lab, &format!("role: {MODULE}"));
    let tofu = Tofu::new(lab, "");
    let stands: String = before.iter().filter(|address| !address.starts_with("module")).fold(String::new(), |hcl, address| {
        let (kind, name) = address.split_once('.').unwrap();
        hcl + &format!("resource \"terraform_data\" \"{kind}_{name}\" {{}}\n")
    });
    tofu.write("before.tf", &format!("module \"karpenter\" {{\n  source = \"./karpenter\"\n}}\n{stands}"));
    std::fs::create_dir(tofu.dir().join("karpenter")).unwrap();
    tofu.write("karpenter/main.tf", "resource \"terraform_data\" \"role\" {}\n");
    tofu.run(&["get"]).ok();
    tofu.apply().ok();
    let aws = |inventory: Value| inventory["aws"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let uid = |kind: &str, name: &str| lab.kubectl(&["-n", "kube-system", "get", kind, name])["metadata"]["uid"].clone();
    let uids = || {
        [uid("deployment", "karpenter"), uid("nodepool", "general"), uid("ec2nodeclass", "default"), uid("crd", "nodepools.karpenter.sh")]
    };
    let (found, lived) = (aws(lab.inventory()), uids());

    follow("migrating", lab, &tofu, |block: &Block| match file_of(block) {
        Some("before.tf") => None,
        Some("migrate.tf") => {
            std::fs::remove_file(tofu.dir().join("before.tf")).unwrap();
            Some(stood_in(&block.text))
        }
        _ => Some(block.text.clone()),
    });
    assert_eq!(
        lab.kubectl_text(&["get", "pods", "-n", "kube-system", "-l", "app.kubernetes.io/name=karpenter", "-o", "name"]).lines().count(),
        1
    );
    assert_eq!(uids(), lived, "nothing was made again");
    let now = aws(lab.inventory());
    assert!(found.iter().all(|name| now.contains(name)), "{now:#?}");
    assert_eq!(tofu.show()["values"]["root_module"]["resources"].as_array().map_or(0, Vec::len), 0, "the state is empty");
    // helm goes on with the release
    let chart = format!("{}/karpenter", lab.chart_repository());
    lab.helm(&[
        "upgrade",
        "karpenter",
        &chart,
        "-n",
        "kube-system",
        "--version",
        "1.14.1",
        "--plain-http",
        "--reuse-values",
        "--set",
        "replicas=2",
    ]);
    assert_eq!(lab.kubectl(&["-n", "kube-system", "get", "deployment", "karpenter"])["spec"]["replicas"], 2);
}

#[test]
fn the_guide_to_upgrade_leads_up_and_down() {
    let (lab, _turn) = lab();
    let package = repository().join("tests/charts/package.sh");
    let packages = tempfile::tempdir().unwrap();
    let pushed = run(lab.command("bash").arg(package).arg(packages.path()).arg("1.9.0"));
    assert!(pushed.0, "{}", pushed.1);
    let proxy = lab.proxy();
    let tofu = Tofu::new(lab, "").through(&proxy);
    let (configurations, upgrade, rules) = (Cell::new(0), RefCell::new(vec![]), RefCell::new(vec![]));
    let count = || lab.boto3("result = len(events.list_rules()['Rules'])");
    follow("upgrading", lab, &tofu, |block| {
        if block.language == "hcl" {
            // what the configuration so far has led to
            match configurations.replace(configurations.get() + 1) {
                0 => {}
                1 => rules.borrow_mut().push(count()),
                _ => {
                    rules.borrow_mut().push(count());
                    *upgrade.borrow_mut() = proxy.calls();
                }
            }
            proxy.reset();
        }
        Some(block.text.replace("oci://public.ecr.aws/karpenter", &lab.chart_repository()))
    });
    rules.borrow_mut().push(count());
    assert_eq!(rules.into_inner(), [json!(4), json!(5), json!(4)], "the rule about capacity reservations comes and goes with 1.10");
    in_this_order(&upgrade.into_inner());
    tofu.destroy().ok();
}

/// The order that the guide tells: CRDs, permissions and rules, chart.
fn in_this_order(calls: &[Call]) {
    let first = |key: &str| {
        let found = calls.iter().filter(|call| call.mutating && call.key.starts_with(key)).map(|call| call.start);
        found.reduce(f64::min).unwrap_or_else(|| panic!("no {key} in {:#?}", calls.iter().map(|call| &call.key).collect::<Vec<_>>()))
    };
    let order = [
        first("kubernetes:PATCH /apis/apiextensions.k8s.io/v1/customresourcedefinitions/"),
        first("iam:CreatePolicyVersion"),
        first("kubernetes:PATCH /apis/apps/v1/namespaces/kube-system/deployments/karpenter"),
    ];
    assert!(order.is_sorted(), "{order:?}");
    assert!(first("events:PutRule") < order[2]);
}
