//! Beside other field managers: their edits show with their names, and apply takes back what the plan showed, or nothing.

use serde_json::{Value, json};

use super::{ADDRESS, configured, edit, lab, live, small, workspace};
use crate::common::{Fault, Plan};

#[test]
fn an_edit_shows_at_its_argument_with_its_manager_and_is_taken_back_alone() {
    let tofu = workspace(&small("edited", "tags = { a = \"b\" }\n  metadata_options {\n    http_tokens = \"required\"\n  }"));
    tofu.apply().ok();
    edit("edited", "kubectl-edit", &json!({"spec": {"metadataOptions": {"httpTokens": "optional"}, "tags": {"of": "somebody"}}}));
    let plan = tofu.plan().ok();
    let told: Vec<String> = plan.outcome.warnings().iter().map(|w| format!("{} | {}", w.summary, w.code())).collect();
    assert_eq!(
        told,
        [
            "EC2NodeClass \"edited\": spec.metadataOptions.httpTokens was changed by \"kubectl-edit\" | http_tokens = \"required\"",
            "EC2NodeClass \"edited\": spec.tags.of was added by \"kubectl-edit\" | tags = { a = \"b\" }",
            "This change rolls every node of the pools of class edited (no pool now) | http_tokens = \"required\"",
        ]
    );
    tofu.apply_planned().ok();
    let spec = live("edited")["spec"].clone();
    assert_eq!((&spec["metadataOptions"]["httpTokens"], &spec["tags"]), (&json!("required"), &json!({"a": "b", "of": "somebody"})));
    tofu.plan().empty();

    // a removal from the configuration removes what another changed
    edit("edited", "kubectl-edit", &json!({"spec": {"tags": {"a": "c"}}}));
    tofu.write("main.tf", &configured(&small("edited", "")));
    let plan = tofu.plan().ok();
    assert!(plan.outcome.warnings().iter().any(|w| w.detail.contains("Apply removes it")), "{:#?}", plan.outcome.warnings());
    tofu.apply_planned().ok();
    assert_eq!(live("edited")["spec"]["tags"], json!({"of": "somebody"}));
    tofu.destroy().ok();
}

#[test]
fn what_changed_after_the_plan_is_not_taken_back() {
    let class = |monitoring: bool| small("raced", &format!("detailed_monitoring = {monitoring}\n  tags = {{ a = \"b\" }}"));
    let tofu = workspace(&class(true));
    tofu.apply().ok();
    edit("raced", "kubectl-edit", &json!({"spec": {"detailedMonitoring": false}}));
    tofu.plan().ok();
    edit("raced", "somebody", &json!({"spec": {"tags": {"a": "z"}}}));
    let outcome = tofu.apply_planned().err();
    let errors = outcome.errors();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!((errors[0].summary.as_str(), errors[0].code()), ("could not apply EC2NodeClass \"raced\"", "tags = { a = \"b\" }"));
    for words in ["spec.tags.a is \"z\"", "\"somebody\"", "changed after it was planned"] {
        assert!(errors[0].detail.contains(words), "no {words:?} in {}", errors[0].detail);
    }
    let spec = live("raced")["spec"].clone();
    assert_eq!((&spec["detailedMonitoring"], &spec["tags"]["a"]), (&json!(false), &json!("z")), "nothing was written");
    tofu.apply().ok();
    let spec = live("raced")["spec"].clone();
    assert_eq!((&spec["detailedMonitoring"], &spec["tags"]["a"]), (&json!(true), &json!("b")));
    tofu.destroy().ok();
}

#[test]
fn a_removal_whose_apply_failed_is_planned_again() {
    let class = |more: &str| small("unsaid", &format!("metadata_options {{\n    http_put_response_hop_limit = 2\n{more}  }}"));
    let proxy = lab().proxy();
    let tofu = workspace(&class("    http_tokens = \"optional\"\n")).through(&proxy);
    tofu.apply().ok();
    tofu.write("main.tf", &configured(&class("")));
    proxy.fault(Fault::on("PATCH .*/ec2nodeclasses/unsaid").times(100).status(403, "Forbidden", "not today"));
    tofu.apply().err();
    proxy.clear();
    assert_eq!(live("unsaid")["spec"]["metadataOptions"]["httpTokens"], "optional");
    let options = |plan: &Plan, when: &str| plan.change(ADDRESS)[when]["metadata_options"][0]["http_tokens"].clone();
    let plan = tofu.plan().ok();
    assert_eq!((options(&plan, "before"), options(&plan, "after")), (json!("optional"), json!("required")));
    tofu.apply_planned().ok();
    assert_eq!(live("unsaid")["spec"]["metadataOptions"]["httpTokens"], "required");
    tofu.plan().empty();
    tofu.destroy().ok();
}

#[test]
fn what_changed_between_plan_and_first_write_of_an_import_is_not_taken_back() {
    let class = |monitoring: bool| small("adopted", &format!("detailed_monitoring = {monitoring}\n  tags = {{ a = \"b\" }}"));
    let first = workspace(&class(true));
    first.apply().ok();
    let tofu = workspace(&class(false));
    tofu.import(ADDRESS, "adopted").ok();
    edit("adopted", "somebody", &json!({"spec": {"tags": {"a": "b", "of": "somebody"}}}));
    tofu.plan().ok();
    edit("adopted", "somebody", &json!({"spec": {"tags": {"a": "z"}}}));
    let outcome = tofu.apply_planned().err();
    let error = outcome.errors()[0];
    for words in ["spec.tags.a is \"z\"", "\"somebody\"", "changed after it was planned"] {
        assert!(error.detail.contains(words), "no {words:?} in {}", error.detail);
    }
    assert_eq!(live("adopted")["spec"]["tags"]["a"], "z");
    tofu.destroy().ok();
}

#[test]
fn force_conflicts_false_never_takes_back() {
    let tofu = workspace(&small("polite", "detailed_monitoring = true\n  force_conflicts = false"));
    tofu.apply().ok();
    edit("polite", "kubectl-edit", &json!({"spec": {"detailedMonitoring": false}}));
    let plan = tofu.plan().ok();
    assert!(plan.outcome.warnings()[0].detail.contains("apply refuses"), "{:#?}", plan.outcome.warnings());
    let outcome = tofu.apply_planned().err();
    let error = outcome.errors()[0];
    assert_eq!((error.summary.as_str(), error.code()), ("could not apply EC2NodeClass \"polite\"", "detailed_monitoring = true"));
    for words in ["spec.detailedMonitoring", "kubectl-edit", "force_conflicts is false"] {
        assert!(error.detail.contains(words), "no {words:?} in {}", error.detail);
    }
    assert_eq!(live("polite")["spec"]["detailedMonitoring"], Value::Bool(false));
    tofu.destroy().ok();
}
