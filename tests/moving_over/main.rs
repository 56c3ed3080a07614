//! Moving over: `export`, generated configuration, `moved {}`, identity; each ends in a plan that changes nothing in the API.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;

mod export;
mod fixture;
#[allow(dead_code)] // the oracle uses the rest
#[path = "../oracle/generate.rs"]
mod generate;
mod generated;
mod identity;
mod moved;
#[path = "../oracle/random.rs"]
mod random;
#[allow(dead_code)] // the oracle uses the rest
#[path = "../oracle/refinements.rs"]
mod refinements;
#[path = "../oracle/samples.rs"]
mod samples;
mod writer;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use common::{Lab, Plan, Tofu};
use serde_json::Value;

/// The lab of this file, with Karpenter's CRDs.
fn lab() -> &'static Lab {
    static READY: OnceLock<&'static Lab> = OnceLock::new();
    READY.get_or_init(|| {
        let lab = Lab::shared();
        lab.install_crds();
        lab
    })
}

/// One test after the other, each in an empty cluster: an export is of all that there is.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    clean_up();
    alone
}

/// A provider block that names the lab's cluster.
fn provider() -> String {
    format!("provider \"karpenter\" {{\n  cluster_name = \"{}\"\n}}\n", lab().cluster_name())
}

/// Deletes all pools and classes, whatever holds them.
fn clean_up() {
    for kind in ["nodepools.karpenter.sh", "ec2nodeclasses.karpenter.k8s.aws"] {
        lab().kubectl_text(&["delete", kind, "--all", "--wait=false"]);
        let left = lab().kubectl(&["get", kind]);
        for object in left["items"].as_array().unwrap() {
            lab().try_finalize(kind, object["metadata"]["name"].as_str().unwrap()); // kwok may have let it go meanwhile
        }
        lab().eventually(&format!("there are no {kind}"), || lab().kubectl(&["get", kind])["items"].as_array().unwrap().is_empty());
    }
}

/// A workspace without any file.
fn empty_workspace() -> Tofu {
    let tofu = Tofu::new(lab(), "");
    for file in ["main.tf", "versions.tf"] {
        std::fs::remove_file(tofu.dir().join(file)).unwrap();
    }
    tofu
}

/// What a plan changes, attribute by attribute.
fn differences(plan: &Plan) -> String {
    let changes = plan.json["resource_changes"].as_array().into_iter().flatten();
    let of = |c: &Value| {
        let (before, after) = (&c["change"]["before"], &c["change"]["after"]);
        let keys = after.as_object().into_iter().flatten().map(|(key, _)| key).filter(|key| before[*key] != after[*key]);
        keys.map(|key| format!("{}.{key}: {} -> {}\n", c["address"], before[key], after[key])).collect::<String>()
    };
    changes.map(of).collect()
}
