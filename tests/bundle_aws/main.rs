//! What a bundle's arguments make of AWS, version by version, and how it gets along with AWS as it is. What verifies is boto3 and
//! kubectl, never the provider.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;

mod arguments;
mod credentials;
mod faults;
mod versions;

use common::{Lab, Outcome};

const ADDRESS: &str = "karpenter_bundle.this";

/// A bundle of AWS objects alone. The lab is shared: everything that has a name needs one of its own.
fn aws_only(lab: &Lab, arguments: &str) -> String {
    configuration(lab, "", arguments, "create = false")
}

/// A bundle with the test chart from the lab's registry.
fn whole(lab: &Lab, arguments: &str) -> String {
    configuration(lab, "", arguments, &format!("repository = \"{}\"", lab.chart_repository()))
}

fn configuration(lab: &Lab, provider: &str, arguments: &str, chart: &str) -> String {
    format!(
        "provider \"karpenter\" {{\n  cluster_name = \"{}\"\n{provider}\n}}\nresource \"karpenter_bundle\" \"this\" {{\n{arguments}\n  chart {{\n    {chart}\n  }}\n}}\n",
        lab.cluster_name()
    )
}

/// Arguments that give everything a name with this prefix.
fn named(prefix: &str) -> String {
    format!(
        "  service_account = \"{prefix}\"\n  controller_role {{\n    name = \"{prefix}-controller\"\n  }}\n  node_role {{\n    name = \"{prefix}-node\"\n  }}\n  \
         interruption_queue {{\n    name = \"{prefix}\"\n  }}\n  rules {{\n    prefix = \"{prefix}-\"\n  }}\n"
    )
}

#[track_caller]
fn refused(outcome: Outcome, part: &str) {
    let outcome = outcome.err();
    assert!(outcome.errors().iter().any(|e| e.text().contains(part)), "no {part:?} in {:#?}", outcome.errors());
}

#[track_caller]
fn warned(outcome: &Outcome, part: &str) {
    let warnings: Vec<String> = outcome.warnings().iter().map(|w| w.text()).collect();
    assert!(warnings.iter().any(|w| w.contains(part)), "no {part:?} in {warnings:#?}");
}
