//! `manifest`: the class as text, with the same types, validation, placeholders, equality and drift as arguments.

use serde_json::{Value, json};

use super::{ADDRESS, KIND, configured, edit, lab, live, workspace};
use crate::common::{Diagnostic, Tofu};

const TEXT: &str = r#"apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata:
  name: NAME
spec:
  role: "{{ cluster_name }}-node" # by name
  amiSelectorTerms:
    - alias: al2023@latest
  subnetSelectorTerms:
    - tags: {Name: "{{ ext_account_id }}-private*"}
    - id: subnet-0123456789abcdef0
  securityGroupSelectorTerms:
    - tags: {Name: node}
  tags:
    "{{ cluster_name }}/owner": data
  userData: |
    #!/bin/sh
    echo {{ cluster_name }} {{ ds }}
  blockDeviceMappings:
    - deviceName: /dev/xvda
      ebs: {volumeSize: 100Gi, encrypted: true}
  kubelet:
    maxPods: 58
    kubeReserved: {cpu: 1000m}
"#;

fn text(name: &str) -> String {
    TEXT.replace("NAME", name)
}

fn by_manifest(text: &str, more: &str) -> String {
    format!("resource \"karpenter_nodeclass\" \"this\" {{\n  manifest = <<-EOT\n{text}EOT\n  {more}\n}}\n")
}

fn written(tofu: &Tofu, text: &str, more: &str) {
    tofu.write("main.tf", &configured(&by_manifest(text, more)));
}

#[test]
fn a_manifest_is_applied_with_its_placeholders_rewritten_and_shortened() {
    let lab = lab();
    let proxy = lab.proxy();
    let tofu = workspace(&by_manifest(&text("textual"), "")).through(&proxy);
    tofu.apply().ok();
    let (cluster, account) = (lab.cluster_name(), lab.account_id());
    let spec = live("textual")["spec"].clone();
    assert_eq!(spec["role"], format!("{cluster}-node"));
    assert_eq!(spec["subnetSelectorTerms"][0]["tags"]["Name"], format!("{account}-private*"));
    assert_eq!(spec["tags"], json!({format!("{cluster}/owner"): "data"}));
    assert_eq!(spec["userData"], format!("#!/bin/sh\necho {cluster} {{{{ ds }}}}\n"));
    let state = tofu.resource(ADDRESS);
    assert_eq!((&state["manifest"], &state["name"], &state["role"]), (&json!(text("textual")), &json!("textual"), &Value::Null));
    tofu.plan().empty();
    tofu.plan_with(&["-refresh=false"]).empty();

    // the same, otherwise written
    let other = text("textual")
        .replace("1000m", "\"1\"")
        .replace("    - id: subnet-0123456789abcdef0\n", "")
        .replace("  subnetSelectorTerms:\n", "  subnetSelectorTerms:\n    - id: subnet-0123456789abcdef0\n");
    written(&tofu, &other, "");
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), ["karpenter_nodeclass.this: update"]);
    assert!(plan.outcome.warnings().is_empty(), "nothing rolls: {:#?}", plan.outcome.warnings());
    proxy.reset();
    tofu.apply_planned().ok();
    assert!(proxy.calls().iter().filter(|c| c.mutating).count() <= 1, "{:#?}", proxy.counts());
    tofu.plan().empty();

    // what is taken out is removed
    let shorter = other.replace("  kubelet:\n    maxPods: 58\n    kubeReserved: {cpu: \"1\"}\n", "").replace(", encrypted: true", "");
    written(&tofu, &shorter, "");
    let plan = tofu.plan().ok();
    let warning = plan.outcome.warnings()[0];
    assert_eq!(warning.summary, "This change rolls every node of the pools of class textual (no pool now)");
    assert!(warning.detail.contains("of the manifest"), "{}", warning.detail);
    tofu.apply_planned().ok();
    let spec = live("textual")["spec"].clone();
    assert_eq!((&spec["kubelet"], &spec["blockDeviceMappings"][0]["ebs"]), (&Value::Null, &json!({"volumeSize": "100Gi"})));
    tofu.plan().empty();
    tofu.destroy().ok();
    assert!(!lab.exists(&[KIND, "textual"]));
}

#[test]
fn drift_shows_in_the_users_own_text_and_is_taken_back() {
    let tofu = workspace(&by_manifest(&text("drifted"), ""));
    tofu.apply().ok();
    let shown = |patch: &Value| {
        edit("drifted", "kubectl-edit", patch);
        let plan = tofu.plan().ok();
        let change = plan.change(ADDRESS);
        assert_eq!(change["after"]["manifest"], text("drifted"));
        let warnings: Vec<Diagnostic> = plan.outcome.warnings().into_iter().cloned().collect();
        tofu.apply_planned().ok();
        (change["before"]["manifest"].as_str().unwrap().to_owned(), warnings)
    };
    let (seen, warnings) = shown(&json!({"spec": {"kubelet": {"maxPods": 99}}}));
    assert_eq!(seen, text("drifted").replace("58", "99"));
    let told: Vec<&str> = warnings.iter().map(|w| w.summary.as_str()).collect();
    let expected = [
        "EC2NodeClass \"drifted\": spec.kubelet.maxPods was changed by \"kubectl-edit\"",
        "This change rolls every node of the pools of class drifted (no pool now)",
    ];
    assert_eq!(told, expected);
    assert_eq!(live("drifted")["spec"]["kubelet"]["maxPods"], 58);

    let (seen, _) = shown(
        &json!({"spec": {"role": "another", "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"volumeSize": "7Gi", "encrypted": true}}]}}),
    );
    assert_eq!(seen, text("drifted").replace("\"{{ cluster_name }}-node\"", "another").replace("100Gi", "7Gi"));
    tofu.plan().empty();
    tofu.destroy().ok();
}

#[test]
fn what_is_wrong_is_told_with_its_place_in_the_text() {
    for (from, to, words) in [
        ("alias: al2023@latest", "alias: al2023", ["At spec.amiSelectorTerms[0].alias of the manifest", "\"al2023\""]),
        ("maxPods: 58", "maxPods: many", ["spec.kubelet.maxPods", "another type"]),
        ("volumeSize: 100Gi", "volumeSize: 100 GiB", ["At spec.blockDeviceMappings[0].ebs.volumeSize of the manifest", "\"100 GiB\""]),
        ("  role:", "  rolle:", ["spec.rolle", "there is no such field"]),
        ("{{ cluster_name }}-node", "{{ name }}-node", ["At spec.role of the manifest", "{{ ext_account_id }}"]),
        ("/owner\": data", "/owner\": 1", ["spec.tags", "quote"]),
    ] {
        let changed = text("wrong").replace(from, to);
        let outcome = Tofu::offline(&by_manifest(&changed, ""), "http://127.0.0.1:9").validate().err();
        let told: Vec<String> = outcome.errors().iter().map(|e| e.text()).collect();
        assert_eq!(told.len(), 1, "{to}: {told:#?}");
        assert!(words.iter().all(|w| told[0].contains(w)), "{to}: no {words:?} in {}", told[0]);
    }
}

#[test]
fn an_imported_class_plans_by_its_manifest_without_a_change() {
    let lab = lab();
    let resolved = text("brought").replace("{{ cluster_name }}", lab.cluster_name()).replace("{{ ext_account_id }}", lab.account_id());
    lab.kubectl_apply(&resolved);
    let import = "import {\n  to = karpenter_nodeclass.this\n  id = \"brought\"\n}\n";
    let tofu = workspace(&(by_manifest(&text("brought"), "") + import));
    let generation = live("brought")["metadata"]["generation"].clone();
    tofu.apply().ok();
    assert_eq!(live("brought")["metadata"]["generation"], generation, "the object stays as it is");
    tofu.plan().empty();
    tofu.destroy().ok();
}
