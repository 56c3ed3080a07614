//! Creating where something is in the way: a name that is taken, an object that goes, a CRD that is about to come.

use serde_json::json;

use super::{ADDRESS, configured, lab, live, small, workspace};
use crate::common::{Fault, Lab, Options, Tofu};

const PLAIN: &str = r#"{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "NAME"}, "spec": {"template": {"spec": {
    "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
    "requirements": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}}}}"#;

#[test]
fn a_name_that_is_taken_is_refused_with_the_import_block() {
    let lab = lab();
    lab.kubectl_apply(&PLAIN.replace("NAME", "taken"));
    let before = live("taken")["metadata"].clone();
    let outcome = workspace(&small("taken", "", "")).apply().err();
    let error = outcome.errors()[0];
    assert_eq!(error.summary, "could not create NodePool \"taken\"");
    assert_eq!(error.code(), "name = \"taken\"");
    for words in
        ["an object of that name exists already", "import {", "to = karpenter_nodepool.", &format!("id = \"{}/taken\"", lab.cluster_name())]
    {
        assert!(error.detail.contains(words), "no {words:?} in {}", error.detail);
    }
    let after = live("taken")["metadata"].clone();
    assert_eq!((&after["uid"], &after["generation"]), (&before["uid"], &before["generation"]), "not touched");
}

#[test]
fn an_object_that_is_to_be_replaced_by_itself_stays() {
    let lab = lab();
    let tofu = workspace(&small("itself", "lifecycle {\n    create_before_destroy = true\n  }", ""));
    tofu.apply().ok();
    let uid = live("itself")["metadata"]["uid"].clone();
    assert_eq!(tofu.plan_with(&[&format!("-replace={ADDRESS}")]).ok().changes(), ["karpenter_nodepool.this: create, delete"]);
    let outcome = tofu.apply_planned().ok();
    let warned = outcome.warnings();
    assert_eq!(warned.len(), 1, "{warned:#?}");
    assert!(
        warned[0].summary == "NodePool \"itself\" was not replaced" && warned[0].detail.contains("create_before_destroy"),
        "{warned:#?}"
    );
    // nothing is left that a later apply would delete
    tofu.plan().empty();
    tofu.apply().ok();
    assert_eq!(live("itself")["metadata"]["uid"], uid);
    tofu.destroy().ok();
    assert!(!lab.exists(&["nodepools.karpenter.sh", "itself"]));
}

#[test]
fn a_create_whose_answer_was_lost_finds_its_own_object() {
    let lab = lab();
    let proxy = lab.proxy();
    let tofu = workspace(&small("lost", "weight = 7", "")).through(&proxy);
    proxy.fault(Fault::on("kubernetes:PATCH .*/nodepools/lost").after_effect().close());
    tofu.apply().ok();
    assert!(proxy.count("kubernetes:PATCH") >= 2, "{:?}", proxy.counts());
    assert_eq!(live("lost")["metadata"]["generation"], 1);
    tofu.plan().empty();
    tofu.destroy().ok();
}

#[test]
fn a_create_waits_for_an_object_of_that_name_to_go() {
    let lab = lab();
    lab.kubectl_apply(
        &PLAIN.replace("NAME", "going").replace("\"name\": \"going\"", "\"name\": \"going\", \"finalizers\": [\"example.com/wait\"]"),
    );
    lab.kubectl_text(&["delete", "nodepools.karpenter.sh", "going", "--wait=false"]);
    let old = live("going")["metadata"]["uid"].clone();
    let proxy = lab.proxy();
    let tofu = workspace(&small("going", "weight = 3", "")).through(&proxy);
    let running = tofu.start(&["apply", "-json", "-auto-approve"]);
    lab.eventually("the provider waits", || proxy.counts().contains_key("kubernetes:GET /apis/karpenter.sh/v1/nodepools"));
    lab.finalize("nodepools.karpenter.sh", "going");
    running.wait().ok();
    let new = live("going");
    assert_ne!(new["metadata"]["uid"], old);
    assert_eq!(new["spec"]["weight"], 3);
    tofu.destroy().ok();
}

#[test]
fn a_create_waits_for_the_crd_and_an_old_crd_names_the_field_it_lacks() {
    let lab = Lab::start(Options { cluster_name: "bare".into(), ..Options::default() });
    let proxy = lab.proxy();
    let bare = |hcl: &str| configured(hcl).replace(super::lab().cluster_name(), lab.cluster_name());
    let tofu = Tofu::new(&lab, &bare(&small("early", "timeouts {\n    create = \"90s\"\n  }", ""))).through(&proxy);
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodepool.this: create"], "no CRD is needed to plan");
    let running = tofu.start(&["apply", "-json", "tfplan"]);
    let crds = "kubernetes:GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    lab.eventually("the provider waits", || proxy.counts().contains_key(crds));
    lab.install_crds();
    running.wait().ok();
    assert!(lab.exists(&["nodepools.karpenter.sh", "early"]));
    tofu.plan().empty();

    // an older Karpenter's CRD
    lab.kubectl(&[
        "patch", "crd", "nodepools.karpenter.sh", "--type=json", "-p",
        r#"[{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/template/properties/spec/properties/terminationGracePeriod"}]"#,
    ]);
    let old = Tofu::new(&lab, &bare(&small("old", "", "termination_grace_period = \"30s\""))).through(&proxy);
    let mut errors = vec![];
    lab.eventually("the API server takes the CRD's change", || {
        !lab.try_kubectl(&["explain", "nodepools.spec.template.spec.terminationGracePeriod"]).0
    });
    proxy.reset();
    for error in old.apply().err().errors() {
        errors.push((error.summary.clone(), error.code().to_owned(), error.detail.clone()));
    }
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(
        (errors[0].0.as_str(), errors[0].1.as_str()),
        ("could not apply NodePool \"old\"", "termination_grace_period = \"30s\""),
        "{errors:#?}"
    );
    assert!(errors[0].2.contains("field not declared in schema"), "{errors:#?}");
    assert_eq!(proxy.count("kubernetes:PATCH"), 1, "never tried again");

    // without a CRD, and none that comes
    lab.kubectl_text(&["delete", "crd", "nodepools.karpenter.sh"]);
    lab.eventually("the kind is gone", || !lab.try_kubectl(&["get", "--raw", "/apis/karpenter.sh/v1/nodepools"]).0);
    let never = Tofu::new(&lab, &bare(&small("never", "timeouts {\n    create = \"10s\"\n  }", ""))).apply().err();
    let text = never.errors()[0].text();
    assert!(text.contains("the cluster has no CRD nodepools.karpenter.sh") && text.contains("karpenter_bundle"), "{text}");
    assert_eq!(tofu.plan().ok().changes(), ["karpenter_nodepool.this: create"], "what the CRD took with it is gone");
}

#[test]
fn writes_are_one_patch_and_waits_share_one_list() {
    let lab = lab();
    let proxy = lab.proxy();
    let pool = |name: &str, weight: u8| small(name, &format!("weight = {weight}"), "").replace("\"this\"", &format!("\"{name}\""));
    let three = |weight| ["counted-a", "counted-b", "counted-c"].map(|name| pool(name, weight)).concat();
    let tofu = workspace(&three(1)).through(&proxy);
    let lists = || proxy.counts().get("kubernetes:GET /apis/karpenter.sh/v1/nodepools").copied();

    tofu.plan().ok();
    proxy.reset();
    tofu.apply_planned().ok();
    assert_eq!((proxy.count("kubernetes:PATCH"), lists()), (3, Some(1)), "one LIST for all waits: {:#?}", proxy.counts());

    tofu.write("main.tf", &configured(&three(2)));
    tofu.plan().ok();
    proxy.reset();
    tofu.apply_planned().ok();
    assert_eq!((proxy.count("kubernetes:PATCH"), lists()), (3, Some(1)), "{:#?}", proxy.counts());

    tofu.plan_with(&["-destroy"]).ok();
    proxy.reset();
    tofu.apply_planned().ok();
    assert_eq!(proxy.count("kubernetes:DELETE"), 3, "{:#?}", proxy.counts());
    assert_eq!(tofu.resource(ADDRESS), json!(null));
}
