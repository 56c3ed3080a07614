//! `manifest`: the object as text, with the same types, validation, placeholders, equality and drift as arguments.

use serde_json::{Value, json};

use super::{ADDRESS, configured, lab, live, workspace};
use crate::common::{Diagnostic, Tofu};

const KIND: &str = "nodepools.karpenter.sh";

const TEXT: &str = r#"# a pool of the catalog
apiVersion: karpenter.sh/v1
kind: NodePool
metadata:
  name: NAME
  labels: {team: data}
spec:
  weight: 10 # tried last
  limits:
    cpu: 1000
    memory: "4Gi"
  disruption:
    consolidateAfter: 5m
    consolidationPolicy: WhenEmpty
  template:
    metadata:
      labels: {of: "{{ cluster_name }}"}
    spec:
      expireAfter: 48h
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      requirements:
        - {key: kubernetes.io/os, operator: In, values: [linux]}
        - key: karpenter.k8s.aws/instance-cpu
          operator: Gt
          values: ["4"]
      taints:
        - key: "{{ cluster_name }}"
          effect: NoSchedule
"#;

fn text(name: &str) -> String {
    TEXT.replace("NAME", name)
}

/// A pool by a manifest in a file, and more lines.
fn by_manifest(text: &str, more: &str) -> String {
    format!("resource \"karpenter_nodepool\" \"this\" {{\n  manifest = <<-EOT\n{text}EOT\n  {more}\n}}\n")
}

fn written(tofu: &Tofu, text: &str, more: &str) {
    tofu.write("main.tf", &configured(&by_manifest(text, more)));
}

fn patch(name: &str, patch: &Value) {
    lab().kubectl(&["patch", KIND, name, "--type=merge", "--field-manager=kubectl-edit", "-p", &patch.to_string()]);
}

#[test]
fn a_manifest_is_applied_with_its_placeholders_and_plans_empty() {
    let lab = lab();
    let proxy = lab.proxy();
    let tofu = workspace(&by_manifest(&text("textual"), "")).through(&proxy);
    let plan = tofu.plan().ok();
    assert_eq!(plan.change(ADDRESS)["after"]["name"], "textual", "known at plan");
    assert_eq!(plan.change(ADDRESS)["after"]["node_selector"], json!({"karpenter.sh/nodepool": "textual"}));
    tofu.apply_planned().ok();
    let cluster = lab.cluster_name();
    let pool = live("textual");
    assert_eq!(pool["metadata"]["labels"], json!({"team": "data"}));
    assert_eq!(pool["spec"]["limits"], json!({"cpu": "1000", "memory": "4Gi"}), "a quantity may be a number");
    assert_eq!(pool["spec"]["template"]["metadata"]["labels"], json!({"of": cluster}));
    assert_eq!(pool["spec"]["template"]["spec"]["taints"], json!([{"key": cluster, "effect": "NoSchedule"}]));
    let state = tofu.resource(ADDRESS);
    assert_eq!(state["manifest"], text("textual"), "state keeps the text");
    assert_eq!((&state["name"], &state["weight"], &state["template"]), (&json!("textual"), &Value::Null, &json!([])));
    assert_eq!(state["tolerations"][0]["key"], cluster);
    tofu.plan().empty();
    tofu.plan_with(&["-refresh=false"]).empty();

    // the same, otherwise written: it shows, and one PATCH at most follows
    let other = text("textual")
        .replace("# a pool of the catalog\n", "")
        .replace("cpu: 1000", "cpu: \"1000000m\"")
        .replace("5m", "300s")
        .replace("  labels: {team: data}\n", "  labels:\n    team: data\n");
    written(&tofu, &other, "");
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), ["karpenter_nodepool.this: update"]);
    assert!(plan.outcome.warnings().is_empty(), "{:#?}", plan.outcome.warnings());
    proxy.reset();
    tofu.apply_planned().ok();
    assert!(proxy.calls().iter().filter(|c| c.mutating).count() <= 1, "{:#?}", proxy.counts());
    tofu.plan().empty();

    // as JSON
    let json = json!({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "textual", "labels": {"team": "data"}},
        "spec": live("textual")["spec"]});
    tofu.write("main.tf", &configured(&format!("resource \"karpenter_nodepool\" \"this\" {{\n  manifest = jsonencode({json})\n}}\n")));
    tofu.apply().ok();
    tofu.plan().empty();

    // and back
    written(&tofu, &text("textual"), "");
    tofu.apply().ok();
    tofu.plan().empty();
    tofu.destroy().ok();
    assert!(!lab.exists(&[KIND, "textual"]));
}

#[test]
fn drift_shows_in_the_users_own_text_and_is_taken_back() {
    let tofu = workspace(&by_manifest(&text("drifted"), ""));
    tofu.apply().ok();
    let shown = |edit: &Value| {
        patch("drifted", edit);
        let plan = tofu.plan().ok();
        let change = plan.change(ADDRESS);
        assert_eq!(change["after"]["manifest"], text("drifted"));
        let warnings: Vec<Diagnostic> = plan.outcome.warnings().into_iter().cloned().collect();
        tofu.apply_planned().ok();
        (change["before"]["manifest"].as_str().unwrap().to_owned(), warnings)
    };
    // a scalar: that leaf, and the comment beside it stays
    let (seen, warnings) = shown(&json!({"spec": {"weight": 70}}));
    assert_eq!(seen, text("drifted").replace("weight: 10", "weight: 70"));
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert_eq!(warnings[0].summary, "NodePool \"drifted\": spec.weight was changed by \"kubectl-edit\"");
    assert!(warnings[0].code().starts_with("manifest = <<-EOT"), "{}", warnings[0].code());
    assert_eq!(live("drifted")["spec"]["weight"], 10);
    // several, one of them quoted
    let (seen, _) = shown(&json!({"spec": {"limits": {"cpu": "7", "memory": "8Gi"}, "template": {"spec": {"expireAfter": "Never"}}}}));
    let expected = text("drifted").replace("cpu: 1000", "cpu: \"7\"").replace("\"4Gi\"", "8Gi").replace("48h", "Never");
    assert_eq!(seen, expected);
    // a list's elements
    let mut requirements = live("drifted")["spec"]["template"]["spec"]["requirements"].clone();
    let gt = requirements.as_array().unwrap().iter().position(|r| r["operator"] == "Gt").unwrap();
    requirements[gt]["values"] = json!(["8"]);
    let (seen, warnings) = shown(&json!({"spec": {"template": {"spec": {"requirements": requirements}}}}));
    assert_eq!(seen, text("drifted").replace("[\"4\"]", "[\"8\"]"));
    assert!(warnings.iter().any(|w| w.summary == "This change may roll nodes of pool drifted (0 now)"), "{warnings:#?}");
    assert_eq!(live("drifted")["spec"]["template"]["spec"]["requirements"][gt]["values"], json!(["4"]));

    // what somebody removed is missing in the text
    lab().kubectl(&["patch", KIND, "drifted", "--type=json", "-p", r#"[{"op": "remove", "path": "/spec/weight"}]"#]);
    let plan = tofu.plan().ok();
    let before = plan.change(ADDRESS)["before"]["manifest"].as_str().unwrap().to_owned();
    assert!(!before.contains("weight") && before.contains("expireAfter"), "{before}");
    tofu.apply_planned().ok();
    assert_eq!(live("drifted")["spec"]["weight"], 10);
    // what somebody added where the text says nothing stays, with a warning
    patch("drifted", &json!({"spec": {"disruption": {"budgets": [{"nodes": "0"}]}}}));
    let plan = tofu.plan().empty();
    assert_eq!(plan.outcome.warnings()[0].summary, "NodePool \"drifted\": spec.disruption.budgets was added by \"kubectl-edit\"");
    tofu.destroy().ok();
}

#[test]
fn what_is_taken_out_of_the_text_is_removed() {
    let tofu = workspace(&by_manifest(&text("shorter"), ""));
    tofu.apply().ok();
    let shorter = text("shorter")
        .replace("  weight: 10 # tried last\n", "")
        .replace("    memory: \"4Gi\"\n", "")
        .replace("      expireAfter: 48h\n", "")
        .replace("      taints:\n        - key: \"{{ cluster_name }}\"\n          effect: NoSchedule\n", "");
    written(&tofu, &shorter, "");
    let plan = tofu.plan().ok();
    assert_eq!(plan.outcome.warnings().len(), 1, "{:#?}", plan.outcome.warnings());
    let warning = plan.outcome.warnings()[0];
    assert_eq!(warning.summary, "This change rolls every node of pool shorter (0 now)");
    assert!(warning.detail.contains("of the manifest"), "{}", warning.detail);
    tofu.apply_planned().ok();
    let spec = live("shorter")["spec"].clone();
    assert_eq!((&spec["weight"], &spec["limits"]), (&Value::Null, &json!({"cpu": "1000"})));
    let template = &spec["template"]["spec"];
    assert_eq!((&template["expireAfter"], &template["taints"]), (&json!("720h"), &Value::Null));
    tofu.plan().empty();

    // another name is another object
    written(&tofu, &shorter.replace("name: shorter", "name: renamed-text"), "");
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), ["karpenter_nodepool.this: delete, create"]);
    let warning = plan.outcome.warnings()[0];
    assert_eq!(warning.summary, "This replacement rolls every node of pool shorter (0 now)");
    assert!(warning.code().starts_with("manifest = <<-EOT"), "{}", warning.code());
    written(&tofu, &shorter, "");
    tofu.destroy().ok();
}

#[test]
fn what_is_wrong_is_told_with_its_place_in_the_text() {
    let refused = |from: &str, to: &str, more: &str| {
        let changed = TEXT.replace("NAME", "wrong").replace(from, to);
        assert!(changed != TEXT.replace("NAME", "wrong") || !more.is_empty(), "{from}");
        let outcome = Tofu::offline(&by_manifest(&changed, more), "http://127.0.0.1:9").validate();
        assert_eq!(outcome.code, 1, "{to} was accepted");
        let told: Vec<String> = outcome.errors().iter().map(|e| e.text()).collect();
        assert_eq!(told.len(), 1, "{to}: {told:#?}");
        told[0].clone()
    };
    for (from, to, words) in [
        ("weight: 10", "weight: 101", ["At spec.weight of the manifest", "between 1 and 100"]),
        ("weight: 10", "wait: 10", ["spec.wait", "there is no such field"]),
        ("consolidateAfter: 5m", "consolidateAfter: soon", ["At spec.disruption.consolidateAfter of the manifest", "soon"]),
        ("operator: Gt\n", "operator: Above\n", ["At spec.template.spec.requirements[1].operator of the manifest", "\"Gt\""]),
        ("values: [linux]", "values: []", ["kubernetes.io/os", "of the manifest"]),
        (
            "{of: \"{{ cluster_name }}\"}",
            "{of: \"{{ cluster }}\"}",
            ["At spec.template.metadata.labels.of of the manifest", "{{ cluster_name }}"],
        ),
        ("effect: NoSchedule", "effect: Sometimes", ["At spec.template.spec.taints[0].effect of the manifest", "\"NoExecute\""]),
        ("kind: NodePool", "kind: EC2NodeClass", ["kind", "this type takes \"NodePool\""]),
        ("name: wrong", "name: Wrong", ["At metadata.name of the manifest", "\"Wrong\""]),
        ("limits:", "limits: [", ["neither YAML nor JSON", "read the manifest"]),
    ] {
        let told = refused(from, to, "");
        assert!(words.iter().all(|w| told.contains(w)), "{to}: no {words:?} in {told}");
    }
    let told = refused("", "", "weight = 5");
    assert!(told.contains("weight beside manifest"), "{told}");
}

#[test]
fn an_imported_object_plans_by_its_manifest_without_a_change() {
    let lab = lab();
    let proxy = lab.proxy();
    let quoted = text("brought").replace("cpu: 1000", "cpu: \"1000\""); // else apply makes text of the number
    let resolved = quoted.replace("{{ cluster_name }}", lab.cluster_name());
    lab.kubectl_apply(&resolved);
    lab.eventually("the pool is Ready", || live("brought")["status"]["conditions"][2]["status"] == "True");
    let import = "import {\n  to = karpenter_nodepool.this\n  id = \"brought\"\n}\n";
    let tofu = workspace(&(by_manifest(&quoted, "") + import)).through(&proxy);
    let plan = tofu.plan().ok();
    // the state comes from the object, as arguments: the text takes their place, and the object stays as it is
    tofu.apply_planned().ok();
    assert!(plan.outcome.warnings().is_empty(), "{:#?}", plan.outcome.warnings());
    assert!(proxy.calls().iter().filter(|c| c.mutating).count() <= 2, "a handover, and what orders it as ours: {:#?}", proxy.counts());
    assert_eq!(live("brought")["spec"]["limits"], json!({"cpu": "1000", "memory": "4Gi"}));
    assert_eq!(tofu.resource(ADDRESS)["manifest"], quoted);
    tofu.plan().empty();
    // and is ours from then on
    written(&tofu, &quoted.replace("  weight: 10 # tried last\n", ""), "");
    tofu.apply().ok();
    assert_eq!(live("brought")["spec"]["weight"], Value::Null);
    tofu.destroy().ok();
}

#[test]
fn conflicts_of_a_manifest_are_refused_or_taken_back_as_planned() {
    let tofu = workspace(&by_manifest(&text("contested"), "force_conflicts = false"));
    tofu.apply().ok();
    patch("contested", &json!({"spec": {"weight": 50}}));
    let plan = tofu.plan().ok();
    assert!(plan.outcome.warnings()[0].detail.contains("apply refuses"), "{:#?}", plan.outcome.warnings());
    let outcome = tofu.apply_planned().err();
    let error = outcome.errors()[0];
    assert_eq!(error.summary, "could not apply NodePool \"contested\"");
    assert!(error.code().starts_with("manifest = <<-EOT"), "{}", error.code());
    for words in ["spec.weight", "kubectl-edit", "force_conflicts is false"] {
        assert!(error.detail.contains(words), "no {words:?} in {}", error.detail);
    }
    assert_eq!(live("contested")["spec"]["weight"], 50);

    // edited between plan and apply
    written(&tofu, &text("contested"), "");
    tofu.plan().ok();
    patch("contested", &json!({"spec": {"limits": {"cpu": "99"}}}));
    let outcome = tofu.apply_planned().err();
    assert!(outcome.errors()[0].detail.contains("spec.limits.cpu is \"99\""), "{:#?}", outcome.errors());
    assert!(outcome.errors()[0].detail.contains("changed after it was planned"), "{:#?}", outcome.errors());
    tofu.apply().ok();
    let spec = live("contested")["spec"].clone();
    assert_eq!((&spec["weight"], &spec["limits"]["cpu"]), (&json!(10), &json!("1000")));
    tofu.plan().empty();
    tofu.destroy().ok();
}
