//! Kubernetes' equality, defaults and drift, on random specs against the real API server: what was applied plans empty, what is
//! imported plans empty, one changed leaf is one leaf in the plan and one PATCH, and what another manager edits is taken back alone.
//!
//! `EQUALITY_CASES` (30 a kind) and `EQUALITY_SEED` ask for more, or for the same again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;
mod driver;
#[allow(dead_code)] // the oracle uses the rest
#[path = "../oracle/generate.rs"]
mod generate;
mod leaves;
#[path = "../common/plugin.rs"]
#[allow(dead_code)]
mod plugin;
#[path = "../oracle/random.rs"]
mod random;
#[allow(dead_code)] // the oracle uses the rest
#[path = "../oracle/refinements.rs"]
mod refinements;
#[path = "../oracle/samples.rs"]
mod samples;

use std::sync::Arc;

use common::{Lab, Options, Proxy};
use karpenter::provider::Connections;
use karpenter::resources::nodeclass::NodeClassKind;
use karpenter::resources::nodepool::NodePoolKind;
use karpenter::resources::object::{ApiObject, Kind};
use karpenter::resources::placeholders::Placeholders;
use karpenter::tofu::convert;
use karpenter::tofu::diagnostics::Diagnostics;
use karpenter::tofu::schema::{Block, Mode};
use karpenter::tofu::value::Value;
use serde_json::{Value as Json, json};

use driver::{Driver, Kept};
use generate::{Generator, Taste};
use random::Random;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn node_pools_are_equal_as_kubernetes_has_it() {
    run::<NodePoolKind>("nodepools.karpenter.sh");
}

#[test]
fn node_classes_are_equal_as_kubernetes_has_it() {
    run::<NodeClassKind>("ec2nodeclasses.karpenter.k8s.aws");
}

/// One lab for both kinds; nothing writes on the objects but these tests.
fn lab() -> &'static Lab {
    static LAB: std::sync::OnceLock<Lab> = std::sync::OnceLock::new();
    LAB.get_or_init(|| {
        let lab = Lab::start(Options { cluster_name: "equal".into(), karpenter_ready: false, ..Options::default() });
        lab.install_crds();
        lab
    })
}

fn run<K: Kind>(resource: &'static str) {
    let lab = lab();
    let (seed, cases) = (number("EQUALITY_SEED", 1), number("EQUALITY_CASES", 30));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let proxy = lab.proxy();
        let types = ApiObject::<K>::new(Arc::new(Connections::new()));
        let schema = K::schema();
        let driver = Driver::start(lab, &proxy, K::TYPE_NAME, &schema).await;
        let test = Test { lab, proxy, driver, types, generator: Generator::new(&schema.block), schema, resource };
        let mut passed = [0; 4];
        let mut tried = 0;
        while passed[0] < cases {
            tried += 1;
            assert!(tried <= 4 * cases + 20, "too few specs are valid: {passed:?} of {tried}");
            test.case(seed * 1_000_000 + tried, &mut passed).await;
        }
        println!(
            "{}: {tried} specs, {} accepted, {} changes, {} edits, {} imports",
            K::TYPE_NAME,
            passed[0],
            passed[1],
            passed[2],
            passed[3]
        );
        assert!(passed[1] * 2 > cases && passed[2] * 2 > cases && passed[3] * 2 > cases, "too few: {passed:?}");
    });
}

struct Test<K: Kind> {
    lab: &'static Lab,
    proxy: Proxy,
    driver: Driver,
    types: ApiObject<K>,
    generator: Generator,
    schema: karpenter::tofu::schema::Schema,
    resource: &'static str,
}

impl<K: Kind> Test<K> {
    async fn case(&self, seed: u64, passed: &mut [u64; 4]) {
        let random = &mut Random::new(seed);
        let name = format!("equal-{seed}");
        let Some(config) = self.valid(&name, random) else { return };
        let at = |what: &str| format!("{} seed {seed}, {what}; EQUALITY_SEED tells the run", K::TYPE_NAME);

        let plan = self.driver.plan(&Value::Null, &config, &[]).await;
        plan.diagnostics.none(&at("plan of a create"));
        let made = self.driver.apply(&Value::Null, &plan, &config).await;
        if made.diagnostics.has_errors() {
            // a rule that only the API server knows: another test compares those
            println!("{}", made.diagnostics.first());
            return;
        }
        passed[0] += 1;
        let kept = self.settled(made, &config, &at("after the create")).await;

        // Karpenter's own writes never show
        self.lab.kubectl(&["annotate", self.resource, &name, "karpenter.sh/nodepool-hash=1", "karpenter.k8s.aws/ec2nodeclass-hash=2"]);
        self.lab.status(self.resource, &name, json!({"conditions": []}));
        let kept = self.settled(kept, &config, &at("after Karpenter's writes")).await;

        let (kept, config) = self.one_leaf(kept, config, &name, random, &at("a changed leaf"), &mut passed[1]).await;
        let kept = self.edited(kept, &config, &name, random, &at("an edited leaf"), &mut passed[2]).await;
        self.imported(&name, &at("an import"), &mut passed[3]).await;

        let plan = self.driver.plan(&kept.state, &Value::Null, &kept.private).await;
        let gone = self.driver.apply(&kept.state, &plan, &Value::Null).await;
        gone.diagnostics.none(&at("destroy"));
        assert!(gone.state.is_null());
    }

    /// A valid configuration of that name.
    fn valid(&self, name: &str, random: &mut Random) -> Option<Value> {
        let mut config = self.generator.config(Taste { set: 2, garbage: 0 }, random);
        self.ours(&mut config, name);
        if let Some(mut repaired) = self.generator.repair(config.clone(), &|c| self.check(c), random) {
            self.ours(&mut repaired, name);
            if self.check(&repaired).0.is_empty() {
                return Some(repaired);
            }
        }
        // what of it fits a configuration that is valid
        let mut valid = filled(&self.schema.block, &base(K::KIND));
        self.ours(&mut valid, name);
        let names: Vec<String> = config.entries().map(|(name, _)| name.clone()).collect();
        for attribute in names {
            let mut with = valid.clone();
            with.set(&attribute, config.attr(&attribute).clone());
            if random.once_in(2) && self.check(&with).0.is_empty() {
                valid = with;
            }
        }
        self.check(&valid).0.is_empty().then_some(valid)
    }

    /// Offline checks, of what placeholders stand for as well: a placeholder passes where its meaning would not.
    fn check(&self, config: &Value) -> Diagnostics {
        let mut diagnostics = self.types.check(config);
        diagnostics.extend(self.types.check(&resolved(config, &self.placeholders())));
        diagnostics
    }

    fn placeholders(&self) -> Placeholders {
        Placeholders { cluster_name: self.lab.cluster_name().to_owned(), ext_account_id: self.lab.account_id().to_owned() }
    }

    /// What is no part of the object, and what would make another object of it.
    fn ours(&self, config: &mut Value, name: &str) {
        for attribute in ["cluster_name", "force_conflicts", "manifest"] {
            config.set(attribute, Value::Null);
        }
        config.set("name", Value::from(name));
        let short =
            ["create", "delete", "update"].map(|operation| (operation, Value::from(if operation == "delete" { "2m" } else { "0s" })));
        config.set("timeouts", Value::List(vec![Value::object(short)]));
    }

    /// What was stored reads back as it is, and plans empty.
    async fn settled(&self, kept: Kept, config: &Value, at: &str) -> Kept {
        let read = self.driver.read(&kept).await;
        read.diagnostics.none(at);
        let differing = leaves::differing(&self.schema.block, &kept.state, &read.state);
        assert!(differing.is_empty(), "{at}: read differs from apply at {differing:?}");
        let plan = self.driver.plan(&read.state, config, &read.private).await;
        let differing = leaves::differing(&self.schema.block, &read.state, &plan.state);
        assert!(differing.is_empty(), "{at}: not empty, but {differing:?}\nconfig {}", self.text(config));
        plan.diagnostics.none(at);
        read
    }

    /// One leaf of the configuration changes: the plan shows that leaf, and apply is one PATCH.
    async fn one_leaf(&self, kept: Kept, config: Value, name: &str, random: &mut Random, at: &str, passed: &mut u64) -> (Kept, Value) {
        let Some((changed, leaf)) = self.another_leaf(&config, name, random) else { return (kept, config) };
        let plan = self.driver.plan(&kept.state, &changed, &kept.private).await;
        if !plan.replaces.is_empty() {
            return (kept, config);
        }
        plan.diagnostics.none(at);
        let differing = leaves::differing(&self.schema.block, &kept.state, &plan.state);
        let outputs: Vec<&str> = K::OUTPUTS.iter().chain(K::STATUS).copied().collect();
        let shown: Vec<&String> = differing.iter().filter(|path| !outputs.iter().any(|o| path.starts_with(o))).collect();
        assert_eq!(shown, [&leaf], "{at}: of {differing:?}");
        self.proxy.reset();
        let applied = self.driver.apply(&kept.state, &plan, &changed).await;
        if applied.diagnostics.has_errors() {
            return (kept, config); // the API server's own rule again
        }
        assert_eq!(self.proxy.calls().iter().filter(|c| c.mutating).count(), 1, "{at}: {leaf}: {:#?}", self.proxy.counts());
        *passed += 1;
        (self.settled(applied, &changed, at).await, changed)
    }

    /// Another manager edits one leaf: the plan shows it and names the manager, apply takes back that and nothing else.
    async fn edited(&self, kept: Kept, config: &Value, name: &str, random: &mut Random, at: &str, passed: &mut u64) -> Kept {
        let Some((edit, leaf)) = self.another_leaf(config, name, random) else { return kept };
        let placeholders = self.placeholders();
        let [before, wanted] = [config, &edit].map(|config| self.types.body(config, config, &placeholders));
        let live = || self.lab.kubectl(&["get", self.resource, name]);
        let original = live();
        let mut patch = merge_patch(&before, &wanted);
        without_additions(&mut patch, &before);
        if !says_something(&patch) {
            return kept;
        }
        let text = patch.to_string();
        let (accepted, told) =
            self.lab.try_kubectl(&["patch", self.resource, name, "--type=merge", "--field-manager=kubectl-edit", "-p", &text]);
        if !accepted {
            assert!(told.contains("invalid") || told.contains("Invalid"), "{at}: {told}");
            return kept;
        }
        let at = format!("{at}: {patch}");
        let read = self.driver.read(&kept).await;
        let plan = self.driver.plan(&read.state, config, &read.private).await;
        let shown = leaves::differing(&self.schema.block, &read.state, &plan.state);
        let outputs: Vec<&str> = K::OUTPUTS.iter().chain(K::STATUS).copied().collect();
        let shown: Vec<&String> = shown.iter().filter(|path| !outputs.iter().any(|o| path.starts_with(o))).collect();
        if shown.is_empty() && live()["spec"] == original["spec"] {
            return kept; // the API server made the same of it
        }
        if !shown.is_empty() {
            assert_eq!(shown, [&leaf], "{at}");
            let warnings = plan.diagnostics.warnings();
            // who only took something away is not recorded anywhere
            assert!(!warnings.is_empty() || !sets_something(&patch), "{at}: no warning");
            assert!(warnings.iter().all(|w| w.contains("\"kubectl-edit\"")), "{at}: {warnings:?}");
            self.proxy.reset();
            let applied = self.driver.apply(&read.state, &plan, config).await;
            applied.diagnostics.no_errors(&at);
            let writes = self.proxy.calls().iter().filter(|c| c.mutating).count();
            assert!(
                writes <= 2 && self.proxy.calls().iter().filter(|c| c.service == "kubernetes" && c.action != "WATCH").count() <= 4,
                "{at}: {:#?}",
                self.proxy.counts()
            );
            assert_eq!(live()["spec"], original["spec"], "{at}: taken back, and nothing else");
            *passed += 1;
            return self.settled(applied, config, &at).await;
        }
        // equal in meaning: no drift. Put back for what follows.
        let back = merge_patch(&wanted, &before).to_string();
        self.lab.kubectl(&["patch", self.resource, name, "--type=merge", "--field-manager=kubectl-edit", "-p", &back]);
        self.driver.read(&kept).await
    }

    /// Imported, with the configuration that the import amounts to: nothing to do.
    async fn imported(&self, name: &str, at: &str, passed: &mut u64) {
        let imported = self.driver.import(name).await;
        imported.diagnostics.none(at);
        let read = self.driver.read(&imported).await;
        let differing = leaves::differing(&self.schema.block, &imported.state, &read.state);
        assert!(differing.is_empty(), "{at}: the read after it differs at {differing:?}");
        let mut config = read.state.clone();
        for attribute in self.schema.block.attributes.iter().filter(|a| a.mode == Mode::Computed) {
            config.set(&attribute.name, Value::Null);
        }
        let refused = self.types.check(&config);
        assert!(refused.0.is_empty(), "{at}: what is imported must validate: {refused:?}");
        let plan = self.driver.plan(&read.state, &config, &read.private).await;
        plan.diagnostics.none(at);
        let differing = leaves::differing(&self.schema.block, &read.state, &plan.state);
        assert!(differing.is_empty(), "{at}: not empty, but {differing:?}");
        *passed += 1;
    }

    /// The configuration with one leaf that says something else, and its path.
    fn another_leaf(&self, config: &Value, name: &str, random: &mut Random) -> Option<(Value, String)> {
        for _ in 0..20 {
            let Some(other) = self.valid(name, random) else { continue };
            let Some((changed, leaf)) = leaves::exchange_one(&self.schema.block, config, &other, random) else { continue };
            let bodies = [config, &changed].map(|c| self.types.body(c, c, &self.placeholders()));
            if bodies[0] != bodies[1] && self.check(&changed).0.is_empty() {
                return Some((changed, leaf));
            }
        }
        None
    }

    fn text(&self, value: &Value) -> String {
        String::from_utf8(karpenter::tofu::json::encode(value, &self.schema.block.ty())).unwrap()
    }
}

/// A value with its placeholders resolved.
fn resolved(value: &Value, placeholders: &Placeholders) -> Value {
    match value {
        Value::String(text) => Value::from(placeholders.resolve(text)),
        Value::List(items) => Value::List(items.iter().map(|item| resolved(item, placeholders)).collect()),
        Value::Map(entries) => Value::object(entries.iter().map(|(key, value)| (placeholders.resolve(key), resolved(value, placeholders)))),
        other => other.clone(),
    }
}

/// The least that is valid.
fn base(kind: &str) -> Json {
    match kind {
        "NodePool" => json!({"template": [{"node_class_ref": [{"name": "default"}], "requirements": {"kubernetes.io/os": ["linux"]}}]}),
        _ => json!({"role": "node-{{ cluster_name }}", "ami_selector_term": [{"alias": "al2023@latest"}],
            "subnet_selector_term": [{"tags": {"Name": "private"}}], "security_group_selector_term": [{"tags": {"Name": "{{ cluster_name }}"}}],
            "block_device_mapping": [{"device_name": "/dev/xvda", "ebs": [{"volume_size": "100Gi", "encrypted": true}]}],
            "metadata_options": [{"http_tokens": "required"}], "tags": {"team": "a"}, "kubelet": [{"max_pods": 10, "kube_reserved": {"cpu": "100m"}}]}),
    }
}

/// A configuration with every attribute of its type, null where not given.
fn filled(block: &Block, given: &Json) -> Value {
    let attributes = block.attributes.iter().map(|a| (a.name.clone(), convert::from_json(&a.ty, &given[&a.name])));
    let blocks = block.blocks.iter().map(|b| {
        let items = given[&b.name].as_array().into_iter().flatten();
        (b.name.clone(), Value::List(items.map(|item| filled(&b.block, item)).collect()))
    });
    Value::object(attributes.chain(blocks))
}

/// Whether a merge patch does more than remove.
fn sets_something(patch: &Json) -> bool {
    match patch {
        Json::Null => false,
        Json::Object(entries) => entries.values().any(sets_something),
        _ => true,
    }
}

/// Keys that anybody may add stay where they are: no such additions.
fn without_additions(patch: &mut Json, before: &Json) {
    const OPEN: [&str; 5] =
        ["/metadata/labels", "/metadata/annotations", "/spec/limits", "/spec/tags", "/spec/template/metadata/annotations"];
    for place in OPEN {
        if let Some(entries) = patch.pointer_mut(place).and_then(Json::as_object_mut) {
            entries.retain(|key, _| before.pointer(place).is_some_and(|there| there.get(key).is_some()));
        }
    }
}

/// Whether a merge patch says anything at all.
fn says_something(patch: &Json) -> bool {
    patch.as_object().is_none_or(|entries| entries.values().any(says_something))
}

/// The JSON merge patch from one object to another.
fn merge_patch(from: &Json, to: &Json) -> Json {
    match (from, to) {
        (Json::Object(from), Json::Object(to)) => {
            let mut patch = serde_json::Map::new();
            for key in from.keys().filter(|key| !to.contains_key(*key)) {
                patch.insert(key.clone(), Json::Null);
            }
            for (key, value) in to.iter().filter(|(key, value)| from.get(*key) != Some(value)) {
                patch.insert(key.clone(), from.get(key).map_or_else(|| value.clone(), |old| merge_patch(old, value)));
            }
            Json::Object(patch)
        }
        (_, to) => to.clone(),
    }
}
