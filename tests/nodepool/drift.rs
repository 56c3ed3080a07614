//! Beside other field managers: what they change shows at its place with their name, and apply takes back that and nothing else.

use serde_json::{Value, json};

use super::{ADDRESS, configured, lab, live, small, workspace};
use crate::common::{Diagnostic, Plan, Tofu};

const KIND: &str = "nodepools.karpenter.sh";

/// A pool's template without requirements of its own.
fn pool(name: &str, top: &str, template: &str) -> String {
    small(name, top, template)
}

fn edit(name: &str, manager: &str, patch: Value) {
    lab().kubectl(&["patch", KIND, name, "--type=merge", &format!("--field-manager={manager}"), "-p", &patch.to_string()]);
}

/// What is told of other field managers.
fn warnings(plan: &Plan) -> Vec<&Diagnostic> {
    plan.outcome.warnings().into_iter().filter(|w| !w.summary.starts_with("This change rolls")).collect()
}

fn one_warning(plan: &Plan) -> &Diagnostic {
    let all = warnings(plan);
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0]
}

/// Field managers that own some of the spec, without Karpenter's and ours.
fn others(pool: &Value) -> Vec<String> {
    let entries = pool["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let of_spec = entries.iter().filter(|e| e["fieldsV1"]["f:spec"].is_object());
    of_spec.filter_map(|e| e["manager"].as_str()).filter(|m| *m != "terraform-provider-karpenter").map(str::to_owned).collect()
}

fn with_managed_fields(name: &str) -> Value {
    lab().kubectl(&["get", KIND, name, "--show-managed-fields"])
}

fn applied(tofu: &Tofu, hcl: &str) {
    tofu.write("main.tf", &configured(hcl));
    tofu.apply().ok();
}

#[test]
fn an_edit_shows_at_its_leaf_with_its_manager_and_is_taken_back_alone() {
    let lab = lab();
    let proxy = lab.proxy();
    let taint = "taint {\n      key = \"a\"\n      effect = \"NoSchedule\"\n    }\n    taint {\n      key = \"b\"\n      effect = \"NoSchedule\"\n    }";
    let hcl = pool("edited", "weight = 10\n  limits = { cpu = \"10\" }", taint);
    let tofu = workspace(&hcl).through(&proxy);
    tofu.apply().ok();

    edit("edited", "kubectl-edit", json!({"spec": {"weight": 50}}));
    let plan = tofu.plan().ok();
    let warning = one_warning(&plan);
    assert_eq!(warning.summary, "NodePool \"edited\": spec.weight was changed by \"kubectl-edit\"");
    assert!(warning.detail.contains("is 50 now") && warning.detail.contains("Apply sets it to 10"), "{}", warning.detail);
    assert_eq!(warning.code(), "weight = 10");
    let change = plan.change(ADDRESS);
    assert_eq!((&change["before"]["weight"], &change["after"]["weight"]), (&json!(50), &json!(10)));
    // what another adds meanwhile, where the configuration says nothing, is left alone
    edit("edited", "autoscaler", json!({"spec": {"limits": {"memory": "1Gi"}}}));
    proxy.reset();
    tofu.apply_planned().ok();
    // refused where the other's edit is in the way, and as often as kwok writes beside it
    let writes = proxy.calls().iter().filter(|c| c.mutating && c.status < 300).count();
    assert_eq!(writes, 1, "{:#?}", proxy.counts());
    let now = live("edited");
    assert_eq!((&now["spec"]["weight"], &now["spec"]["limits"]), (&json!(10), &json!({"cpu": "10", "memory": "1Gi"})));
    let plan = tofu.plan().empty();
    let warning = one_warning(&plan);
    assert_eq!(warning.summary, "NodePool \"edited\": spec.limits.memory was added by \"autoscaler\"");
    assert!(warning.detail.contains("\"1Gi\"") && warning.detail.contains("stays"), "{}", warning.detail);
    edit("edited", "autoscaler", json!({"spec": {"limits": {"memory": null}}}));

    // within a list: the leaf itself
    let taints = json!([{"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoExecute"}]);
    edit("edited", "kubectl-patch", json!({"spec": {"template": {"spec": {"taints": taints}}}}));
    let plan = tofu.plan().ok();
    let warning = one_warning(&plan);
    assert_eq!(warning.summary, "NodePool \"edited\": spec.template.spec.taints was changed by \"kubectl-patch\"");
    assert_eq!(warning.code(), "effect = \"NoSchedule\"");
    tofu.apply_planned().ok();
    assert_eq!(live("edited")["spec"]["template"]["spec"]["taints"][1]["effect"], "NoSchedule");
    assert!(warnings(&tofu.plan().empty()).is_empty());
    tofu.destroy().ok();
}

#[test]
fn what_somebody_adds_by_hand_warns_with_path_value_and_manager() {
    let tofu = workspace(&pool("added", "", ""));
    tofu.apply().ok();
    assert!(warnings(&tofu.plan().empty()).is_empty(), "what the API server fills in is nobody's");

    edit("added", "kubectl-edit", json!({"spec": {"disruption": {"budgets": [{"nodes": "0"}]}}}));
    edit("added", "kubectl-label", json!({"spec": {"template": {"metadata": {"labels": {"team": "a"}}}}}));
    edit("added", "rancher", json!({"metadata": {"labels": {"of": "rancher"}, "annotations": {"karpenter.sh/nodepool-hash": "5"}}}));
    edit("added", "karpenter", json!({"metadata": {"annotations": {"karpenter.sh/nodepool-hash": "6"}}}));
    let plan = tofu.plan().empty();
    let mut told: Vec<String> = warnings(&plan).iter().map(|w| w.text()).collect();
    told.sort();
    assert_eq!(told.len(), 2, "{told:#?}");
    for (text, words) in told.iter().zip([
        ["spec.disruption.budgets was added by \"kubectl-edit\"", "[{\"nodes\":\"0\"}]"],
        ["spec.template.metadata.labels was added by \"kubectl-label\"", "{\"team\":\"a\"}"],
    ]) {
        assert!(words.iter().all(|w| text.contains(w)), "{words:?}: {text}");
    }
    // a scalar with a default that the configuration leaves out
    edit(
        "added",
        "kubectl-edit",
        json!({"spec": {"disruption": {"budgets": null}, "template": {"metadata": null, "spec": {"expireAfter": "1h"}}}}),
    );
    let plan = tofu.plan().empty();
    assert!(one_warning(&plan).text().contains("spec.template.spec.expireAfter was added by \"kubectl-edit\""));
    tofu.destroy().ok();
}

#[test]
fn a_removal_from_the_configuration_removes_what_another_changed_and_the_plan_showed() {
    let tofu = workspace(&pool("removed", "weight = 10\n  limits = { cpu = \"10\", memory = \"1Gi\" }", "expire_after = \"48h\""));
    tofu.apply().ok();
    edit("removed", "kubectl-edit", json!({"spec": {"weight": 50, "limits": {"cpu": "20"}, "template": {"spec": {"expireAfter": "96h"}}}}));
    tofu.write("main.tf", &configured(&pool("removed", "limits = { memory = \"1Gi\" }", "")));
    let plan = tofu.plan().ok();
    let change = plan.change(ADDRESS);
    assert_eq!((&change["before"]["weight"], &change["after"]["weight"]), (&json!(50), &Value::Null));
    assert_eq!(change["after"]["template"][0]["expire_after"], "720h");
    assert_eq!(warnings(&plan).len(), 3, "{:#?}", warnings(&plan));
    tofu.apply_planned().ok();
    let pool = live("removed");
    assert_eq!(pool["spec"]["weight"], Value::Null);
    assert_eq!(pool["spec"]["template"]["spec"]["expireAfter"], "720h");
    assert_eq!(pool["spec"]["limits"], json!({"memory": "1Gi"}));
    assert!(warnings(&tofu.plan().empty()).is_empty());
    tofu.destroy().ok();
}

#[test]
fn what_changed_after_the_plan_is_not_taken_back() {
    let tofu = workspace(&pool("raced", "weight = 10\n  limits = { cpu = \"10\" }", ""));
    tofu.apply().ok();
    edit("raced", "kubectl-edit", json!({"spec": {"weight": 50}}));
    tofu.plan().ok();
    edit("raced", "somebody", json!({"spec": {"limits": {"cpu": "99"}}}));
    let outcome = tofu.apply_planned().err();
    let errors = outcome.errors();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!((errors[0].summary.as_str(), errors[0].code()), ("could not apply NodePool \"raced\"", "limits = { cpu = \"10\" }"));
    for words in ["spec.limits.cpu is \"99\"", "\"somebody\"", "changed after it was planned"] {
        assert!(errors[0].detail.contains(words), "no {words:?} in {}", errors[0].detail);
    }
    assert_eq!(
        (&live("raced")["spec"]["weight"], &live("raced")["spec"]["limits"]["cpu"]),
        (&json!(50), &json!("99")),
        "nothing was written"
    );
    // the next plan shows both, and takes both back
    assert_eq!(warnings(&tofu.plan().ok()).len(), 2);
    tofu.apply_planned().ok();
    assert_eq!((&live("raced")["spec"]["weight"], &live("raced")["spec"]["limits"]["cpu"]), (&json!(10), &json!("10")));

    // planned without a look: nothing was shown, so nothing is taken
    edit("raced", "kubectl-edit", json!({"spec": {"weight": 60}}));
    tofu.write("main.tf", &configured(&pool("raced", "weight = 11\n  limits = { cpu = \"10\" }", "")));
    tofu.plan_with(&["-refresh=false"]).ok();
    let outcome = tofu.apply_planned().err();
    assert!(outcome.errors()[0].detail.contains("changed after it was planned"), "{:#?}", outcome.errors());
    assert_eq!(live("raced")["spec"]["weight"], 60);
    tofu.destroy().ok();
}

#[test]
fn force_conflicts_false_never_takes_back() {
    let tofu = workspace(&pool("polite", "weight = 10\n  force_conflicts = false", ""));
    tofu.apply().ok();
    edit("polite", "kubectl-edit", json!({"spec": {"weight": 50}}));
    let plan = tofu.plan().ok();
    assert!(one_warning(&plan).detail.contains("apply refuses"), "{}", one_warning(&plan).detail);
    let outcome = tofu.apply_planned().err();
    let error = outcome.errors()[0];
    assert_eq!((error.summary.as_str(), error.code()), ("could not apply NodePool \"polite\"", "weight = 10"));
    for words in ["spec.weight", "kubectl-edit", "force_conflicts is false"] {
        assert!(error.detail.contains(words), "no {words:?} in {}", error.detail);
    }
    // nor does it remove
    tofu.write("main.tf", &configured(&pool("polite", "force_conflicts = false", "")));
    let outcome = tofu.apply().err();
    assert!(outcome.errors()[0].detail.contains("spec.weight is 50, set by field manager \"kubectl-edit\""), "{:#?}", outcome.errors());
    assert_eq!(live("polite")["spec"]["weight"], 50);
    tofu.destroy().ok();
}

/// Pools as the former tools leave them: who owns what, and whether by an apply.
const FORMER: [(&str, &[&str]); 4] = [
    ("kubectl-client-side-apply", &["apply", "-f", "-"]),
    ("Terraform", &["apply", "--server-side", "--field-manager=Terraform", "-f", "-"]),
    ("kubectl-create", &["create", "-f", "-"]),
    ("helm", &["create", "--field-manager=helm", "-f", "-"]),
];

#[test]
fn ownership_passes_at_the_first_write_after_an_import_so_that_removals_remove() {
    let lab = lab();
    let proxy = lab.proxy();
    let name = |i: usize| format!("former-{i}");
    let hcl = |weight: &str, limits: &str| -> String {
        (0..FORMER.len())
            .map(|i| pool(&name(i), &format!("weight = {weight}\n  limits = {limits}"), "").replace("\"this\"", &format!("\"p{i}\"")))
            .collect()
    };
    for (i, (_, command)) in FORMER.iter().enumerate() {
        let manifest = json!({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": name(i)}, "spec": {
            "weight": 10, "limits": {"cpu": "10", "memory": "1Gi"}, "template": {"spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
                "requirements": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}}}});
        let file = std::env::temp_dir().join(format!("{}-former-{i}.json", std::process::id()));
        std::fs::write(&file, manifest.to_string()).unwrap();
        let mut args = command.to_vec();
        *args.last_mut().unwrap() = file.to_str().unwrap();
        lab.kubectl_text(&args);
        std::fs::remove_file(file).unwrap();
    }
    lab.eventually("all are Ready", || (0..FORMER.len()).all(|i| live(&name(i))["status"]["conditions"].is_array()));
    let imports: String =
        (0..FORMER.len()).map(|i| format!("import {{\n  to = karpenter_nodepool.p{i}\n  id = \"{}\"\n}}\n", name(i))).collect();
    let both = "{ cpu = \"10\", memory = \"1Gi\" }";
    let tofu = workspace(&(hcl("10", both) + &imports)).through(&proxy);
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), Vec::<String>::new());
    assert!(warnings(&plan).is_empty(), "{:#?}", warnings(&plan));
    tofu.apply_planned().ok();

    // the first write
    tofu.write("main.tf", &configured(&hcl("20", both)));
    let plan = tofu.plan().ok();
    assert!(warnings(&plan).is_empty(), "the user's own change: {:#?}", warnings(&plan));
    proxy.reset();
    tofu.apply_planned().ok();
    assert_eq!(proxy.calls().iter().filter(|c| c.mutating).count(), 2 * FORMER.len(), "{:#?}", proxy.counts());
    for (i, (manager, _)) in FORMER.iter().enumerate() {
        let pool = with_managed_fields(&name(i));
        assert_eq!(pool["spec"]["weight"], 20, "{manager}");
        assert!(others(&pool).is_empty(), "{manager} still owns: {:?}", others(&pool));
    }

    // the second is one call, and what is removed is gone
    tofu.write("main.tf", &configured(&hcl("20", "{ cpu = \"10\" }").replace("weight = 20", "")));
    tofu.plan().ok();
    proxy.reset();
    tofu.apply_planned().ok();
    assert_eq!(proxy.calls().iter().filter(|c| c.mutating).count(), FORMER.len(), "{:#?}", proxy.counts());
    for (i, (manager, _)) in FORMER.iter().enumerate() {
        let pool = live(&name(i));
        assert_eq!((&pool["spec"]["weight"], &pool["spec"]["limits"]), (&Value::Null, &json!({"cpu": "10"})), "{manager}");
    }
    assert!(warnings(&tofu.plan().empty()).is_empty());
    tofu.destroy().ok();
}

#[test]
fn what_the_configuration_leaves_out_keeps_its_value_at_the_first_write_after_an_import() {
    let lab = lab();
    lab.kubectl_apply(
        r#"{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "first-write"}, "spec": {"weight": 10, "template": {"spec": {
            "expireAfter": "Never", "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
            "requirements": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}}}}"#,
    );
    let import = "import {\n  to = karpenter_nodepool.this\n  id = \"first-write\"\n}\n";
    let tofu = workspace(&(pool("first-write", "weight = 20", "") + import));
    let plan = tofu.plan().ok();
    assert_eq!(plan.change(ADDRESS)["after"]["template"][0]["expire_after"], "Never");
    tofu.apply_planned().ok();
    let now = with_managed_fields("first-write");
    assert_eq!((&now["spec"]["weight"], &now["spec"]["template"]["spec"]["expireAfter"]), (&json!(20), &json!("Never")));
    assert_eq!(others(&now), ["test"], "whoever set it goes on owning it");
    assert!(warnings(&tofu.plan().empty()).iter().all(|w| w.summary.contains("expireAfter")), "of nothing else");

    // written, and so shared with whoever set it, and left out again: as the plan says, the API server's default
    applied(&tofu, &pool("first-write", "weight = 30", "expire_after = \"Never\""));
    assert!(warnings(&tofu.plan().empty()).is_empty());
    tofu.write("main.tf", &configured(&pool("first-write", "weight = 30", "")));
    assert_eq!(tofu.plan().ok().change(ADDRESS)["after"]["template"][0]["expire_after"], "720h");
    tofu.apply_planned().ok();
    assert_eq!(live("first-write")["spec"]["template"]["spec"]["expireAfter"], "720h");
    assert!(warnings(&tofu.plan().empty()).is_empty());
    tofu.destroy().ok();
}

#[test]
fn what_a_lifecycle_block_ignores_is_not_written() {
    let ignoring = |weight: u8| {
        let top = format!(
            "weight = {weight}\n  limits = {{ cpu = \"10\" }}\n  lifecycle {{\n    ignore_changes = [limits, template[0].expire_after]\n  }}"
        );
        pool("ignoring", &top, "expire_after = \"24h\"")
    };
    let tofu = workspace(&ignoring(10));
    tofu.apply().ok();
    let autoscaled = json!({"limits": {"cpu": "77"}, "template": {"spec": {"expireAfter": "48h"}}});
    edit("ignoring", "autoscaler", json!({ "spec": autoscaled }));
    tofu.plan().empty();
    tofu.write("main.tf", &configured(&ignoring(20)));
    let plan = tofu.plan().ok();
    assert_eq!(plan.change(ADDRESS)["after"]["limits"]["cpu"], "77");
    tofu.apply_planned().ok();
    let spec = live("ignoring")["spec"].clone();
    assert_eq!(
        (&spec["weight"], &spec["limits"]["cpu"], &spec["template"]["spec"]["expireAfter"]),
        (&json!(20), &json!("77"), &json!("48h"))
    );
    tofu.plan().empty();
    tofu.destroy().ok();
}

#[test]
fn removing_at_the_very_first_write_after_an_import_removes() {
    let lab = lab();
    lab.kubectl_apply(
        r#"{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "first-removal"}, "spec": {
            "weight": 10, "disruption": {"consolidateAfter": "1m", "budgets": [{"nodes": "0"}]}, "template": {"spec": {
            "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
            "requirements": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}}}}"#,
    );
    let import = "import {\n  to = karpenter_nodepool.this\n  id = \"first-removal\"\n}\n";
    let tofu = workspace(&(pool("first-removal", "disruption {\n    consolidate_after = \"1m\"\n  }", "") + import));
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodepool.this: update"]);
    tofu.apply_planned().ok();
    let now = live("first-removal");
    assert_eq!(now["spec"]["weight"], Value::Null);
    assert_eq!(now["spec"]["disruption"]["budgets"], json!([{"nodes": "10%"}]), "the API server's default");
    assert!(warnings(&tofu.plan().empty()).is_empty());
    applied(&tofu, &pool("first-removal", "", ""));
    tofu.plan().empty();
    tofu.destroy().ok();
}
