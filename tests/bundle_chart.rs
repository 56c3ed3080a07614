//! The chart block of `karpenter_bundle` as users drive it: values, secrets, namespaces, what helm does behind our back, adoption,
//! upgrades with Karpenter's CRDs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{Lab, Outcome, Tofu};
use serde_json::{Value, json};

const ADDRESS: &str = "karpenter_bundle.this";

/// A bundle with this namespace and these arguments of its chart.
fn hcl(lab: &Lab, namespace: &str, chart: &str) -> String {
    format!(
        "provider \"karpenter\" {{\n  cluster_name = \"{}\"\n}}\nresource \"karpenter_bundle\" \"this\" {{\n  namespace = \"{namespace}\"\n  chart {{\n    repository = \"{}\"\n{chart}\n  }}\n}}\n",
        lab.cluster_name(),
        lab.chart_repository()
    )
}

fn deployment(lab: &Lab, namespace: &str) -> Value {
    lab.kubectl(&["get", "deployment", "karpenter", "-n", namespace])
}

fn history(lab: &Lab, namespace: &str) -> Vec<(u64, String)> {
    let json: Value = serde_json::from_str(&lab.helm(&["history", "karpenter", "-n", namespace, "-o", "json"])).unwrap();
    json.as_array().unwrap().iter().map(|r| (r["revision"].as_u64().unwrap(), r["status"].as_str().unwrap().to_owned())).collect()
}

#[track_caller]
fn refused(outcome: Outcome, part: &str) {
    let outcome = outcome.err();
    assert!(outcome.errors().iter().any(|e| e.text().contains(part)), "no {part:?} in {:#?}", outcome.errors());
}

/// One life on one cluster: each step goes on from the one before.
#[test]
fn a_chart_lives_among_values_secrets_and_helm() {
    let lab = Lab::shared();
    let absent = Tofu::new(lab, &hcl(lab, "far-away", "    create_namespace = false"));
    let inventory = lab.inventory();
    refused(absent.apply(), "namespace \"far-away\" does not exist");
    assert_eq!(lab.inventory(), inventory, "refused before the first write");

    // the namespace is made, what the user sets wins, and no plan shows a secret
    let secret = "hunter2-not-for-plans";
    let with = |more: &str| {
        hcl(
            lab,
            "far-away",
            &format!(
                "    values = [yamlencode({{ settings = {{ interruptionQueue = \"mine\" }}, replicas = 1 }})]
    max_history = 3
    delete_crds = true
    set {{
      name  = \"podLabels.team\"
      value = \"5\"
      type  = \"string\"
    }}
    set_sensitive {{
      name  = \"controller.env[0].name\"
      value = \"SECRET\"
    }}
    set_sensitive {{
      name  = \"controller.env[0].value\"
      value = \"{secret}\"
    }}
{more}"
            ),
        )
    };
    let tofu = Tofu::new(lab, &with(""));
    let plan = tofu.plan().ok();
    let warning = plan.outcome.warnings().iter().map(|w| w.text()).collect::<String>();
    assert!(warning.contains("settings.interruptionQueue is another than \"harbor-karpenter\""), "{warning}");
    let shown = tofu.run(&["show", "-no-color", "tfplan"]).ok().stdout;
    assert!(shown.contains("(sensitive value)") && !shown.contains(secret), "{shown}");
    tofu.apply_planned().ok();
    tofu.plan().empty();
    let live = deployment(lab, "far-away");
    let env = live["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
    assert!(env.contains(&json!({"name": "SECRET", "value": secret})), "{env:#?}");
    assert!(env.iter().any(|e| e["name"] == "INTERRUPTION_QUEUE" && e["value"] == "mine"), "{env:#?}");
    assert_eq!(live["spec"]["template"]["metadata"]["labels"]["team"], "5");

    // drift names fields, but nothing of what is in them
    lab.kubectl_text(&["set", "env", "deployment/karpenter", "-n", "far-away", "SECRET=leaked-by-hand"]);
    let plan = tofu.plan().ok();
    let line = plan.change(ADDRESS)["before"]["objects"]["chart"].as_str().unwrap().to_owned();
    assert!(line.contains("env[SECRET].value differs") && !line.contains("leaked") && !line.contains(secret), "{line}");
    tofu.apply_planned().ok();
    tofu.plan().empty();
    assert_eq!(history(lab, "far-away"), [(1, "deployed".to_owned())], "drift needs no revision");

    // what helm did is named, and one revision puts it right
    let repository = format!("{}/karpenter", lab.chart_repository());
    lab.helm(&[
        "upgrade",
        "karpenter",
        &repository,
        "--plain-http",
        "--version",
        "1.14.1",
        "-n",
        "far-away",
        "--reuse-values",
        "--set",
        "logLevel=debug",
    ]);
    let line = tofu.plan().ok().change(ADDRESS)["before"]["objects"]["chart"].as_str().unwrap().to_owned();
    assert!(line.contains("value logLevel differs"), "{line}");
    tofu.apply_planned().ok();
    tofu.plan().empty();
    assert_eq!(history(lab, "far-away"), [(1, "superseded".to_owned()), (2, "superseded".to_owned()), (3, "deployed".to_owned())]);

    // no more revisions than asked for; an atomic upgrade that fails leaves the state as it was
    tofu.write("main.tf", &with("    set {\n      name  = \"logLevel\"\n      value = \"error\"\n    }\n"));
    tofu.apply().ok();
    assert_eq!(history(lab, "far-away").iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), [2, 3, 4]);
    tofu.write("main.tf", &with("    atomic = true\n    set {\n      name  = \"replicas\"\n      value = \"-1\"\n    }\n"));
    refused(tofu.apply(), "rolled back to revision 4");
    tofu.write("main.tf", &with("    set {\n      name  = \"logLevel\"\n      value = \"error\"\n    }\n"));
    tofu.plan().empty();
    assert_eq!(history(lab, "far-away").last(), Some(&(6, "deployed".to_owned())));

    // the CRDs go as asked, but not with objects
    lab.kubectl_apply(NODE_POOL);
    refused(tofu.destroy(), "objects of it are left");
    assert!(lab.exists(&["deployment", "karpenter", "-n", "far-away"]), "refused before anything was deleted");
    lab.kubectl_text(&["delete", "nodepool", "last"]);
    tofu.destroy().ok();
    assert!(!lab.exists(&["crd", "nodepools.karpenter.sh"]) && lab.exists(&["namespace", "far-away"]));

    adopts_what_helm_installed(lab);
    takes_over_a_helm_release(lab);
}

const NODE_POOL: &str = "
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: last}
spec:
  template:
    spec:
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      requirements: [{key: kubernetes.io/os, operator: In, values: [linux]}]
";

/// A release and CRDs that helm installed: refused, then adopted; removed fields really go.
fn adopts_what_helm_installed(lab: &Lab) {
    let repository = lab.chart_repository();
    let set = "settings.clusterName=harbor,podLabels.left=behind,replicas=1";
    let install = |chart: &str, more: &[&str]| {
        let place = format!("{repository}/{chart}");
        lab.helm(&[&["install", chart, &place, "--plain-http", "--version", "1.14.1", "-n", "kube-system"], more].concat())
    };
    install("karpenter-crd", &[]);
    install("karpenter", &["--skip-crds", "--set", set]);
    let tofu = Tofu::new(lab, &hcl(lab, "kube-system", ""));
    let inventory = lab.inventory();
    refused(tofu.apply(), "adopt = true");
    assert_eq!(lab.inventory(), inventory, "refused before the first write");
    tofu.write("main.tf", &hcl(lab, "kube-system", "    adopt = true"));
    tofu.apply().ok();
    tofu.plan().empty();
    assert_eq!(deployment(lab, "kube-system")["spec"]["template"]["metadata"]["labels"]["left"], Value::Null);
    assert_eq!(history(lab, "kube-system"), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
    assert_eq!(lab.helm(&["list", "-n", "kube-system", "-q"]).trim(), "karpenter", "the record of karpenter-crd is retired");
    tofu.destroy().ok();
    assert!(lab.exists(&["crd", "nodepools.karpenter.sh"]));
}

/// `moved {}` from the state of a `helm_release` counts as `adopt` for that release.
fn takes_over_a_helm_release(lab: &Lab) {
    let place = format!("{}/karpenter", lab.chart_repository());
    let set = "settings.clusterName=harbor,serviceAccount.name=karpenter,podLabels.left=behind";
    lab.helm(&["install", "karpenter", &place, "--plain-http", "--version", "1.14.1", "-n", "kube-system", "--skip-crds", "--set", set]);
    let moved = "moved {\n  from = helm_release.karpenter\n  to   = karpenter_bundle.this\n}\n";
    let tofu = Tofu::new(lab, &(hcl(lab, "kube-system", "") + moved));
    let attributes = json!({
        "name": "karpenter", "namespace": "kube-system", "chart": "karpenter", "repository": place, "version": "1.14.1",
        "metadata": [{"name": "karpenter", "namespace": "kube-system", "chart": "karpenter", "version": "1.14.1", "revision": 1}],
    });
    let state = json!({
        "version": 4, "terraform_version": "1.9.0", "serial": 1, "lineage": "moved", "outputs": {},
        "resources": [{
            "mode": "managed", "type": "helm_release", "name": "karpenter", "provider": "provider[\"registry.opentofu.org/hashicorp/helm\"]",
            "instances": [{"schema_version": 1, "attributes": attributes}],
        }],
    });
    tofu.write("terraform.tfstate", &state.to_string());
    // nothing is asked of that provider; a program must stand for it
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_terraform-provider-karpenter"));
    std::os::unix::fs::symlink(program, tofu.dir().join("terraform-provider-helm")).unwrap();
    let overrides = format!(
        "    \"karpenter-tofu/karpenter\" = \"{}\"\n    \"hashicorp/helm\" = \"{}\"\n",
        program.parent().unwrap().display(),
        tofu.dir().display()
    );
    tofu.write(".tofurc", &format!("provider_installation {{\n  dev_overrides {{\n{overrides}  }}\n}}\n"));
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), [format!("{ADDRESS}: update")]);
    tofu.apply_planned().ok();
    tofu.plan().empty();
    assert_eq!(deployment(lab, "kube-system")["spec"]["template"]["metadata"]["labels"]["left"], Value::Null);
    assert_eq!(history(lab, "kube-system"), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
    tofu.destroy().ok();
}

/// Karpenter's own charts, which are not in this repository: upgrades and downgrades through all versions that the directory holds.
#[test]
#[ignore = "needs KARPENTER_CHARTS, a directory with karpenter-VERSION.tgz of the versions to go through"]
fn karpenters_own_charts_go_up_and_down() {
    let directory = std::env::var("KARPENTER_CHARTS").expect("KARPENTER_CHARTS is set");
    let version = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        semver::Version::parse(name.strip_prefix("karpenter-")?.strip_suffix(".tgz")?).ok()
    };
    let mut versions: Vec<semver::Version> = std::fs::read_dir(&directory).unwrap().filter_map(version).collect();
    versions.sort();
    // of Kubernetes, one that all of them run on
    let lab = Lab::start(common::Options { cluster_name: "real".into(), kubernetes_version: "1.31".into(), ..common::Options::default() });
    let hcl = |version: &semver::Version| {
        format!(
            "provider \"karpenter\" {{\n  cluster_name = \"real\"\n}}\nresource \"karpenter_bundle\" \"this\" {{\n  version = \"{version}\"\n  chart {{\n    repository = \"{directory}\"\n    values     = [yamlencode({{ replicas = 1 }})]\n  }}\n}}\n"
        )
    };
    let up: Vec<_> = versions.iter().collect();
    let down: Vec<_> = versions.iter().rev().skip(1).collect();
    let far = [versions.last().unwrap(), versions.first().unwrap()];
    let tofu = Tofu::new(&lab, &hcl(up[0]));
    for (revision, version) in up.into_iter().chain(down).chain(far).enumerate() {
        tofu.write("main.tf", &hcl(version));
        tofu.apply().ok();
        tofu.plan().empty();
        let list: Value = serde_json::from_str(&lab.helm(&["list", "-n", "kube-system", "-o", "json"])).unwrap();
        assert_eq!((&list[0]["chart"], &list[0]["status"]), (&json!(format!("karpenter-{version}")), &json!("deployed")));
        println!("revision {}: {version}", revision + 1);
    }
    tofu.destroy().ok();
}
