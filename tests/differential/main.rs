//! Offline validation against the truth: random and mutated specs go to ours and to a real API server with the real CRDs.
//!
//! `DIFFERENTIAL_COUNT` specs of each kind (5,000), from `DIFFERENTIAL_SEED` on. A failure prints seed and case, which repeat it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod coherence;
mod fields;
mod generate;
mod mutate;
mod random;
mod reasons;
mod rules;
mod server;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures::StreamExt as _;
use karpenter::provider::Connections;
use karpenter::resources::nodeclass::NodeClassKind;
use karpenter::resources::nodepool::NodePoolKind;
use karpenter::resources::object::{ApiObject, Kind};
use karpenter::resources::placeholders::Placeholders;
use karpenter::tofu::diagnostics::{Diagnostic, Severity};
use karpenter::tofu::resource::Resource as _;
use karpenter::tofu::value::Value;
use serde_json::Value as Json;

use common::Lab;
use random::Random;
use server::Server;

#[test]
fn every_field_of_the_crds_is_declared_and_nothing_else() {
    fields::compare("NodePool", &NodePoolKind::schema());
    fields::compare("EC2NodeClass", &NodeClassKind::schema());
}

#[test]
fn a_nodepools_verdict_is_the_api_servers() {
    differ::<NodePoolKind>(coherence::nodepool);
}

#[test]
fn a_nodeclasses_verdict_is_the_api_servers() {
    differ::<NodeClassKind>(coherence::nodeclass);
}

#[test]
fn every_rule_is_told_at_its_place_with_the_value_and_the_remedy() {
    let (good, wrongs) = rules::of_pools();
    rules::are_refused::<NodePoolKind>(&good, wrongs);
    let (good, wrongs) = rules::of_classes();
    rules::are_refused::<NodeClassKind>(&good, wrongs);
}

#[test]
fn what_is_unknown_or_has_a_placeholder_is_never_refused() {
    never_refuses_the_unknown::<NodePoolKind>(coherence::nodepool);
    never_refuses_the_unknown::<NodeClassKind>(coherence::nodeclass);
}

type Coherence = fn(&mut Value, &mut Random);

/// One spec with both verdicts.
struct Case {
    number: u64,
    body: Json,
    errors: Vec<Diagnostic>,
    server: Result<(), String>,
}

fn differ<K: Kind>(cohere: Coherence) {
    let (seed, count) = (from_env("DIFFERENTIAL_SEED", 1), from_env("DIFFERENTIAL_COUNT", 5_000));
    let lab = lab();
    let resource = resource::<K>();
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cases: Vec<Case> = runtime.block_on(async {
        let server = Server::connect(lab, &K::api_resource()).await;
        let one = |number: u64| {
            let (server, resource) = (server.clone(), &resource);
            async move {
                let config = spec::<K>(resource, cohere, &mut Random::new(seed, number));
                let body = resource.body(&config, &Value::Null, &placeholders());
                let server = server.verdict(&body).await;
                Case { number, body, errors: errors(resource, &config), server }
            }
        };
        futures::stream::iter(0..count).map(one).buffer_unordered(16).collect().await
    });
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong: BTreeMap<String, Vec<&Case>> = BTreeMap::new();
    for case in &cases {
        match judge(case) {
            Ok(verdicts) => verdicts.into_iter().for_each(|verdict| *totals.entry(verdict).or_default() += 1),
            Err(why) => wrong.entry(why).or_default().push(case),
        }
    }
    println!("{}: {count} specs of seed {seed} in {:.1?}: {totals:?}", K::KIND, started.elapsed());
    let unseen: Vec<&str> = reasons::REASONS.iter().map(|r| r.name).filter(|name| !totals.contains_key(name)).collect();
    println!("  reasons that it had no case for: {unseen:?}");
    for (why, cases) in wrong.iter().take(40) {
        println!("\n{} times: {why}", cases.len());
        let shortest = cases.iter().min_by_key(|case| case.body.to_string().len()).unwrap();
        println!(
            "  seed {seed}, case {}: {}\n  ours: {:?}\n  API server: {:?}",
            shortest.number,
            shortest.body,
            told(&shortest.errors),
            shortest.server
        );
    }
    assert!(wrong.is_empty(), "{}: verdicts differ for {} reasons, see above; seed {seed}", K::KIND, wrong.len());
    let share = |verdict: &str| totals.get(verdict).copied().unwrap_or(0) * 100 / usize::try_from(count).unwrap();
    assert!(share("both accept") >= 20 && share("both refuse") >= 20, "{}: the specs are one-sided: {totals:?}", K::KIND);
}

/// The verdicts that a case counts for: one on which both agree, or the reasons why ours is stricter. Otherwise what differs.
fn judge(case: &Case) -> Result<Vec<&'static str>, String> {
    match (&case.server, case.errors.is_empty()) {
        (Ok(()), true) => Ok(vec!["both accept"]),
        (Err(_), false) => Ok(vec!["both refuse"]),
        (Err(message), true) => Err(format!("ours accepts: {}", general(message))),
        (Ok(()), false) => {
            let why = |e: &Diagnostic| {
                reasons::reason_of(e).ok_or_else(|| format!("ours refuses: {}", general(&format!("{:?} {}", e.path, e.summary))))
            };
            let mut reasons = match case.errors.iter().map(why).collect::<Result<Vec<&str>, String>>() {
                // the body goes without the null, so what else is wrong with the spec may go with it
                Err(_) if case.errors.iter().any(|e| reasons::reason_of(e) == Some("null")) => vec!["null"],
                other => other?,
            };
            reasons.sort_unstable();
            reasons.dedup();
            Ok(reasons)
        }
    }
}

/// A message without what is different in each case, to put the same ones together.
fn general(message: &str) -> String {
    let mut general = String::new();
    let mut quoted = false;
    for c in message.chars().filter(|c| !c.is_ascii_digit()) {
        if c == '"' {
            quoted = !quoted;
        }
        if !quoted {
            general.push(c);
        }
    }
    general.chars().take(200).collect()
}

fn spec<K: Kind>(resource: &ApiObject<K>, cohere: Coherence, random: &mut Random) -> Value {
    let block = &resource.schema().block;
    let mut config = generate::object(block, random);
    if random.percent(90) {
        cohere(&mut config, random);
    }
    let mutations = match random.below(10) {
        0 | 1 => 0,
        2..=5 => 1,
        6 | 7 => 2,
        _ => 4,
    };
    (0..mutations).for_each(|_| mutate::mutate(block, "", &mut config, random));
    config
}

fn never_refuses_the_unknown<K: Kind>(cohere: Coherence) {
    let seed = from_env("DIFFERENTIAL_SEED", 1);
    let resource = resource::<K>();
    let mut hidden = 0;
    for case in 0..2_000 {
        let random = &mut Random::new(seed, case);
        let mut config = generate::object(&resource.schema().block, random);
        cohere(&mut config, random);
        if !errors(&resource, &config).is_empty() {
            continue;
        }
        for _ in 0..4 {
            hidden += usize::from(mutate::obscure(&mut config, random));
            let errors = errors(&resource, &config);
            assert!(errors.is_empty(), "seed {seed}, case {case}: {:?}\n{config:#?}", told(&errors));
        }
    }
    assert!(hidden > 2_000, "{}: only {hidden} values were hidden", K::KIND);
}

fn errors<K: Kind>(resource: &ApiObject<K>, config: &Value) -> Vec<Diagnostic> {
    resource.validate(config).0.into_iter().filter(|d| d.severity == Severity::Error).collect()
}

fn told(errors: &[Diagnostic]) -> Vec<String> {
    errors.iter().map(|e| format!("{}: {}", e.path.as_ref().map(ToString::to_string).unwrap_or_default(), e.detail)).collect()
}

fn resource<K: Kind>() -> ApiObject<K> {
    ApiObject::new(Arc::new(Connections::new()))
}

fn placeholders() -> Placeholders {
    Placeholders { cluster_name: "harbor".into(), ext_account_id: "123456789012".into() }
}

/// The lab, with the CRDs.
fn lab() -> &'static Lab {
    static READY: OnceLock<&'static Lab> = OnceLock::new();
    READY.get_or_init(|| {
        let lab = Lab::shared();
        lab.install_crds();
        lab
    })
}

fn from_env(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}
