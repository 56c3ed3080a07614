//! Coming from somewhere else, and going on: import of what the EKS module, eksctl and people made, the guides with their commands, and a
//! second emulator's opinion of AWS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;

mod guide;
mod guides;
mod import;
mod makers;
mod ministack;

use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use common::{Lab, Options};

/// The lab of this file, which one test after the other has to itself, empty.
fn lab() -> (&'static Lab, MutexGuard<'static, ()>) {
    static LAB: OnceLock<Lab> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // 1.34: a version that older and newer charts support
    let options = || Options {
        cluster_name: "my-cluster".into(),
        karpenter_ready: false,
        kubernetes_version: "1.34".into(),
        node_role: false,
        admin: false,
    };
    let lab = LAB.get_or_init(|| Lab::start(options()));
    empty(lab);
    (lab, turn)
}

/// Takes away what an earlier test left, in AWS and in the cluster.
fn empty(lab: &Lab) {
    for release in lab.helm(&["list", "-A", "-a", "-o", "json"]).parse::<serde_json::Value>().unwrap().as_array().unwrap() {
        lab.helm(&["uninstall", release["name"].as_str().unwrap(), "-n", release["namespace"].as_str().unwrap()]);
    }
    let crds = lab.kubectl_text(&["get", "crd", "-o", "name"]);
    for crd in crds.lines().filter(|name| name.contains("karpenter")) {
        lab.kubectl_text(&["delete", crd, "--wait=true"]);
    }
    lab.kubectl_text(&["delete", "namespace", "karpenter", "--ignore-not-found", "--wait=true"]);
    lab.boto3("import urllib.request\nurllib.request.urlopen(urllib.request.Request(os.environ['AWS_ENDPOINT_URL'] + '/moto-api/reset', method='POST')).read()");
    let setup = common::repository().join("environment/aws_setup.py");
    let done = run(lab.command(lab.var("LAB_PYTHON")).arg(setup));
    assert!(done.0, "aws_setup.py: {}", done.1);
}

/// Whether a command succeeded, and what it printed.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("it runs");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
