//! `terraform-provider-karpenter export`, run as a person does, and what `tofu` makes of its output.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::fixture::{ADDRESSES, manifests};
use super::{alone, differences, empty_workspace, lab, provider};
use crate::common::{Proxy, Tofu};

/// `terraform-provider-karpenter export ARGS` with the lab's AWS, all calls through `proxy`.
fn export(proxy: &Proxy, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_terraform-provider-karpenter"));
    command.arg("export").args(args).stdin(Stdio::null()).env_clear();
    command.envs(lab().env().iter().filter(|(name, _)| name.starts_with("AWS_"))).env("AWS_ENDPOINT_URL", &proxy.aws);
    command.output().unwrap()
}

fn ok(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

/// The whole configuration is formatted, valid, imports what is in the fixture, and plans no change in the API.
fn plans_no_change(tofu: &Tofu, proxy: &Proxy) {
    let formatted = tofu.run(&["fmt", "-check", "-diff"]);
    assert_eq!((formatted.code, formatted.stdout.as_str()), (0, ""), "{}", formatted.stderr);
    tofu.validate().ok();
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), Vec::<String>::new(), "{}", differences(&plan));
    let changes = plan.json["resource_changes"].as_array().unwrap();
    let mut imported: Vec<&str> =
        changes.iter().filter(|c| c["change"]["importing"].is_object()).filter_map(|c| c["address"].as_str()).collect();
    imported.sort_unstable();
    assert_eq!(imported, ADDRESSES);
    tofu.apply_planned().ok();
    tofu.plan().empty();
    assert_eq!(proxy.calls().iter().filter(|c| c.mutating && c.service == "kubernetes").count(), 0);
}

fn read(directory: &Path, file: &str) -> String {
    std::fs::read_to_string(directory.join(file)).unwrap()
}

#[test]
fn a_cluster_is_exported_and_nothing_changes() {
    let _alone = alone();
    let lab = lab();
    let cluster = lab.cluster_name();
    lab.kubectl_apply(&manifests(cluster));
    let proxy = lab.proxy();
    let tofu = empty_workspace().through(&proxy);
    let directory = tofu.dir().to_str().unwrap().to_owned();
    let (stdout, told) = ok(&export(&proxy, &["--cluster", cluster, "--dir", &directory]));
    assert_eq!(stdout, "");
    assert!(told.contains("left out: NodePool \"general-purpose\": its nodes are EKS Auto Mode's"), "{told}");
    for file in ["providers.tf", "nodeclasses.tf", "nodepools.tf"] {
        assert!(told.contains(&format!("wrote {directory}/{file}")), "{told}");
    }
    assert!(!told.contains("note:"), "{told}");
    let counts = proxy.counts();
    assert_eq!(counts.keys().filter(|key| key.starts_with("kubernetes:")).count(), 2, "one LIST a kind: {counts:#?}");
    let pools = read(tofu.dir(), "nodepools.tf");
    for line in [
        "  id = \"harbor/trino-xsmall\"\n",
        "      name = karpenter_nodeclass.default.name\n",
        "      name = karpenter_nodeclass._4th_class_2.name\n",
        "      name = \"elsewhere\"\n",
        " = { cpu = \"1000\", memory = \"4000Gi\" }\n",
    ] {
        assert!(pools.contains(line), "no {line:?} in\n{pools}");
    }
    assert!(read(tofu.dir(), "nodeclasses.tf").contains("user_data = <<EOT_\n#!/bin/bash\n"));
    plans_no_change(&tofu, &proxy);

    // what is there is kept, and nothing is half written
    std::fs::remove_file(tofu.dir().join("nodeclasses.tf")).unwrap();
    std::fs::write(tofu.dir().join("nodepools.tf"), "# mine\n").unwrap();
    let refused = export(&proxy, &["--cluster", cluster, "--dir", &directory]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("nodepools.tf exist there already") && told.contains("--force"), "{told}");
    assert_eq!(read(tofu.dir(), "nodepools.tf"), "# mine\n");
    assert!(!tofu.dir().join("nodeclasses.tf").exists());
    ok(&export(&proxy, &["--cluster", cluster, "--dir", &directory, "--force"]));
    assert_eq!(read(tofu.dir(), "nodepools.tf"), pools);

    // beside a configuration that has a provider block already, there is none; stdout has none either
    let beside = Tofu::new(lab, &provider()).through(&proxy);
    let (_, told) = ok(&export(&proxy, &["-cluster", cluster, "-dir", beside.dir().to_str().unwrap()]));
    assert!(!told.contains("providers.tf"), "{told}");
    let (stdout, _) = ok(&export(&proxy, &["--cluster", cluster]));
    assert_eq!(stdout, format!("{}\n{}", read(beside.dir(), "nodeclasses.tf"), read(beside.dir(), "nodepools.tf")));
}

#[test]
fn manifests_are_converted_and_nothing_changes() {
    let _alone = alone();
    let lab = lab();
    let manifests = manifests(lab.cluster_name());
    lab.kubectl_apply(&manifests);
    let proxy = lab.proxy();
    let written = empty_workspace().through(&proxy);
    std::fs::write(written.dir().join("all.yaml"), &manifests).unwrap();
    let files = |tofu: &Tofu| (tofu.dir().join("all.yaml").display().to_string(), tofu.dir().display().to_string());
    let (file, directory) = files(&written);
    proxy.reset();
    let (_, told) = ok(&export(&proxy, &["--from", &file, "--dir", &directory, "--cluster", lab.cluster_name()]));
    assert_eq!(proxy.calls().len(), 0, "no cluster is needed");
    assert!(told.contains("left out: \"ConfigMap\" \"beside-the-pools\" of \"v1\""), "{told}");
    plans_no_change(&written, &proxy);

    // what kubectl prints is as good: status, uid, managed fields and defaults do not matter
    let dumped = Tofu::new(lab, &provider()).through(&proxy);
    let dump = |kind: &str| lab.kubectl_text(&["get", kind, "-o", "yaml", "--show-managed-fields"]);
    std::fs::write(dumped.dir().join("all.yaml"), format!("{}\n---\n{}", dump("ec2nodeclasses"), dump("nodepools.karpenter.sh"))).unwrap();
    let (file, directory) = files(&dumped);
    ok(&export(&proxy, &["--from", &file, "--dir", &directory]));
    plans_no_change(&dumped, &proxy);

    let (plain, _) = ok(&export(&proxy, &["--from", &file, "--no-import"]));
    assert!(plain.contains("resource \"karpenter_nodepool\" \"for\" {") && !plain.contains("import {"), "{plain}");
}

#[test]
fn what_cannot_be_said_is_told() {
    let _alone = alone();
    let tofu = empty_workspace();
    let proxy = lab().proxy();
    let manifest = "apiVersion: karpenter.k8s.aws/v1\nkind: EC2NodeClass\nmetadata: {name: new}\nspec:\n  role: x\n  newer: {field: 1}\n  tags: {a: \"{{ b }}\"}\n  \
        amiSelectorTerms: [{alias: al2023@latest}]\n  subnetSelectorTerms: [{id: subnet-1}]\n  securityGroupSelectorTerms: [{id: sg-1}]\n";
    let file = tofu.dir().join("new.yaml");
    std::fs::write(&file, manifest).unwrap();
    let (text, told) = ok(&export(&proxy, &["--from", file.to_str().unwrap()]));
    for words in ["note: EC2NodeClass \"new\": spec.newer", "tags[\"a\"]"] {
        assert!(told.contains(words), "no {words:?} in {told}");
    }
    assert!(text.contains("# spec.newer"), "{text}");

    let missing = export(&proxy, &["--from", "/nonexistent/x.yaml"]);
    assert!(
        !missing.status.success()
            && String::from_utf8_lossy(&missing.stderr).contains("could not read the manifests in \"/nonexistent/x.yaml\"")
    );
    let unknown = export(&proxy, &["--cluster", "nobody"]);
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && told.contains("eks:DescribeCluster nobody") && told.contains("Check `cluster_name`"), "{told}");
    let usage = export(&proxy, &["demo"]);
    assert!(!usage.status.success() && String::from_utf8_lossy(&usage.stderr).contains("export --from FILE"));
}

#[test]
fn text_in_a_live_object_that_looks_like_a_placeholder_is_told() {
    let _alone = alone();
    let lab = lab();
    lab.kubectl_apply(
        "{apiVersion: karpenter.k8s.aws/v1, kind: EC2NodeClass, metadata: {name: literal}, spec: {role: x, userData: 'echo {{ cluster_name }}', \
         amiSelectorTerms: [{alias: al2023@latest}], subnetSelectorTerms: [{id: subnet-1}], securityGroupSelectorTerms: [{id: sg-1}]}}",
    );
    let proxy = lab.proxy();
    let tofu = empty_workspace().through(&proxy);
    let (_, told) = ok(&export(&proxy, &["--cluster", lab.cluster_name(), "--dir", tofu.dir().to_str().unwrap()]));
    assert!(told.contains("note: EC2NodeClass \"literal\": user_data holds {{ cluster_name }}"), "{told}");
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), Vec::<String>::new(), "{}", differences(&plan));
    assert_eq!(plan.json["resource_changes"].as_array().map(Vec::len), Some(1));
    let live = lab.kubectl(&["get", "ec2nodeclasses", "literal"]);
    assert_eq!(live["spec"]["userData"], Value::from("echo {{ cluster_name }}"));
}
