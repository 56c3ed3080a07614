//! `tofu` and the plugin are killed in the middle of the bundle's create; the next apply converges.

use std::time::Duration;

use serde_json::Value;

use crate::common::{Fault, Lab, Options, Tofu};
use crate::{assert_same_lines, configuration, only_what_stays_by_design_is_left};

/// The waits for pools and classes are not what this is about: the bundle alone.
fn bundle(lab: &Lab) -> Tofu {
    let bundle = "resource \"karpenter_bundle\" \"this\" {\n  chart {\n    repository = \"CHARTS\"\n  }\n}\n";
    Tofu::new(lab, &configuration(lab, &bundle.replace("CHARTS", &lab.chart_repository())))
}

#[test]
fn a_create_that_was_killed_anywhere_converges_with_the_next_apply() {
    let lab = Lab::start(Options { cluster_name: "cut-short".into(), ..Options::default() });
    let before = lab.inventory();
    let proxy = lab.proxy();

    // how many calls that write there are, and that a create through the proxy is as good as any
    let tofu = bundle(&lab).through(&proxy);
    tofu.apply().ok();
    let writes = proxy.calls().iter().filter(|call| call.mutating).count();
    let undisturbed = shape(&lab.inventory());
    tofu.destroy().ok();
    only_what_stays_by_design_is_left(&before, &lab.inventory());

    // killed after the very first effect (its answer is lost), and all along the way
    let points = [(1, true), (writes / 4, true), (writes / 2, false), (writes * 3 / 4, true), (writes - 2, false)];
    for (nth, after_effect) in points {
        let tofu = bundle(&lab).through(&proxy);
        let fault = Fault::on("").mutating().nth(nth).hold();
        proxy.fault(if after_effect { fault.after_effect() } else { fault });
        let running = tofu.start(&["apply", "-json", "-auto-approve"]);
        let held = proxy.held(Duration::from_secs(120)).unwrap_or_else(|| panic!("call {nth} of {writes} never came"));
        let at = format!("killed {} call {nth} of {writes}, {held}", if after_effect { "after" } else { "before" });
        println!("{at}");
        running.kill();
        proxy.clear();
        proxy.release();

        tofu.apply().ok();
        assert_same_lines(&undisturbed, &shape(&lab.inventory()), "undisturbed", &at);
        one_release_revision(&lab, &at);
        tofu.plan().empty();
        tofu.destroy().ok();
        only_what_stays_by_design_is_left(&before, &lab.inventory());
    }
}

#[test]
fn a_pool_whose_create_was_killed_after_the_effect_is_taken_up() {
    let lab = Lab::shared();
    lab.install_crds();
    let proxy = lab.proxy();
    let pool = "resource \"karpenter_nodepool\" \"a\" {\n  name = \"interrupted\"\n  template {\n    node_class_ref {\n      name = \"a\"\n    }\n    \
                requirements = { \"kubernetes.io/os\" = [\"linux\"] }\n  }\n}\n";
    let tofu = Tofu::new(lab, &configuration(lab, pool)).through(&proxy);
    proxy.fault(Fault::on("PATCH .*/nodepools/interrupted").after_effect().hold());
    let running = tofu.start(&["apply", "-json", "-auto-approve"]);
    assert!(proxy.held(Duration::from_secs(60)).is_some(), "the create came");
    running.kill();
    proxy.clear();
    proxy.release();
    assert!(lab.exists(&["nodepools.karpenter.sh", "interrupted"]) && tofu.show()["values"].is_null(), "made, and not in the state");

    tofu.apply().ok();
    tofu.plan().empty();
    tofu.destroy().ok();
    assert!(!lab.exists(&["nodepools.karpenter.sh", "interrupted"]));
}

/// The inventory without what is random in it: the association's id, the pods' names.
fn shape(inventory: &Value) -> Vec<String> {
    let stable = |line: String| match line.split_once(" a-") {
        Some((association, _)) if line.starts_with("pod-identity") => association.to_owned(),
        _ => line,
    };
    let aws = inventory["aws"].as_object().unwrap().iter().map(|(name, details)| stable(name.clone()) + " " + &details.to_string());
    let objects = inventory["kubernetes"].as_array().unwrap().iter().map(|o| o.as_str().unwrap().to_owned());
    let named = objects.filter(|o| !["Pod ", "ReplicaSet.", "IPAddress."].iter().any(|random| o.starts_with(random)));
    let mut lines: Vec<String> = aws.chain(named).collect();
    lines.sort();
    lines
}

fn one_release_revision(lab: &Lab, at: &str) {
    let history: Vec<Value> = serde_json::from_str(&lab.helm(&["-n", "kube-system", "history", "karpenter", "-o", "json"])).unwrap();
    let deployed = history.iter().filter(|r| r["status"] == "deployed").count();
    assert_eq!(deployed, 1, "{at}: {history:?}");
}
