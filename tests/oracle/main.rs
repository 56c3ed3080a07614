//! The client's acceptance rules as an oracle, and every resource type driven through it with random configurations, priors and
//! unknowns. `ORACLE_CASES` says how many plans of each type at least, `ORACLE_SEED` from which seed on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_wrap)] // small numbers

mod api_server;
mod bundle;
mod compatible;
mod drive;
mod generate;
mod planted;
mod proposed;
mod random;
mod refinements;
mod rules;
mod samples;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use karpenter::provider::{Connections, Provider};
use karpenter::resources::bundle::Bundle;
use karpenter::resources::nodeclass::NodeClassKind;
use karpenter::resources::nodepool::NodePoolKind;
use karpenter::resources::object::{ApiObject, Kind};
use karpenter::tofu::path::{Path, Step};
use karpenter::tofu::resource::Provider as _;

use api_server::ApiServer;
use bundle::Inventory;
use drive::{Backend, Life, Subject};

#[test]
fn karpenter_nodepool_keeps_the_clients_rules() {
    drive("karpenter_nodepool", api::<NodePoolKind>());
}

#[test]
fn karpenter_nodeclass_keeps_the_clients_rules() {
    drive("karpenter_nodeclass", api::<NodeClassKind>());
}

#[test]
fn karpenter_bundle_keeps_the_clients_rules() {
    let bundle = Arc::new(Bundle::new(Arc::new(Connections::new())));
    drive("karpenter_bundle", || Box::new(Inventory::new(bundle.clone())));
}

#[test]
fn every_registered_type_is_driven() {
    let driven = ["karpenter_bundle", "karpenter_nodeclass", "karpenter_nodepool"];
    for resource in Provider::new().resources() {
        assert!(driven.contains(&resource.type_name()), "{} is not driven through the oracle", resource.type_name());
    }
}

fn api<K: Kind>() -> impl Fn() -> Box<dyn Backend> {
    let kind = Arc::new(ApiObject::<K>::new(Arc::new(Connections::new())));
    move || Box::new(ApiServer::new(kind.clone()))
}

/// Lives as many lives as it takes, and tells each kind of failure once, with the seed that repeats it.
fn drive(type_name: &str, backend: impl Fn() -> Box<dyn Backend>) {
    let number = |name: &str, otherwise: u64| std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect(name));
    let (first, wanted) = (number("ORACLE_SEED", 1), number("ORACLE_CASES", 20_000));
    let subject = Subject::new(type_name);
    // one line a panic: there can be many while something is broken
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let mut failures: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let (mut cases, mut applied, mut seed) = (0, 0, first);
    while cases < wanted && failures.len() < 12 {
        let lived = catch_unwind(AssertUnwindSafe(|| Life::new(&subject, backend(), seed).live()));
        let (kind, message) = match lived {
            Ok(Ok(lived)) => {
                cases += lived.cases;
                applied += lived.applied;
                seed += 1;
                continue;
            }
            Ok(Err(failure)) => {
                let one = &failure.violations[0];
                let all: Vec<String> = failure.violations.iter().take(4).map(|v| format!("  {v}")).collect();
                (format!("{} {}", one.rule, without_indices(&one.path)), format!("{}\n  at the {}", all.join("\n"), failure.context))
            }
            Err(_) => ("panic".to_owned(), "  it panicked; the message stands above".to_owned()),
        };
        let message = format!("ORACLE_SEED={seed} ORACLE_CASES=1\n{message}");
        failures.entry(kind).or_insert((0, message)).0 += 1;
        cases += 1;
        seed += 1;
    }
    println!("{type_name}: {cases} cases, {applied} plans applied, seeds {first} to {}", seed - 1);
    let told: Vec<String> = failures.values().map(|(times, message)| format!("{times} times, e.g. {message}")).collect();
    assert!(failures.is_empty(), "{type_name} after {cases} cases:\n{}", told.join("\n\n"));
}

fn without_indices(path: &Path) -> String {
    let names = path.0.iter().filter_map(|step| if let Step::Attribute(name) = step { Some(name.as_str()) } else { None });
    names.collect::<Vec<_>>().join(".")
}
