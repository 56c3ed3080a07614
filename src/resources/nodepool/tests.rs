//! Pure steps of a NodePool.

use super::*;
use crate::provider::{Cluster, Connections};
use crate::resources::object::{ApiObject, Private};
use crate::resources::placeholders::Placeholders;
use crate::tofu::schema::{Block, Mode, Type};
use std::sync::Arc;

fn pool() -> ApiObject<NodePoolKind> {
    ApiObject::new(Arc::new(Connections::new()))
}

fn strings<const N: usize>(entries: [(&str, &str); N]) -> Value {
    Value::object(entries.map(|(k, v)| (k, Value::from(v))))
}

/// A configuration with every attribute of its type, null where not given.
pub fn config(block: &Block, given: &Value) -> Value {
    let attributes = block.attributes.iter().map(|a| (a.name.clone(), given.attr(&a.name).clone()));
    let blocks = block
        .blocks
        .iter()
        .map(|b| (b.name.clone(), Value::List(given.attr(&b.name).items().iter().map(|i| config(&b.block, i)).collect())));
    Value::object(attributes.chain(blocks))
}

fn trino() -> Value {
    let template = Value::object([
        ("node_class_ref", Value::List(vec![strings([("name", "default")])])),
        ("requirements", Value::object([("kubernetes.io/arch", Value::List(vec![Value::from("arm64")]))])),
        ("taint", Value::List(vec![strings([("key", "trino-{{ cluster_name }}"), ("effect", "NoSchedule")])])),
    ]);
    let given =
        Value::object([("name", Value::from("trino")), ("limits", strings([("cpu", "1000m")])), ("template", Value::List(vec![template]))]);
    config(&pool().schema.block, &given)
}

#[test]
fn every_declaration_makes_sense() {
    fn check(block: &Block, path: &str) {
        for a in &block.attributes {
            assert_ne!(a.ty, Type::Dynamic, "{path}.{}", a.name);
            assert!(!a.description.is_empty(), "{path}.{} has no description", a.name);
            assert!(a.default.is_none() || a.mode == Mode::OptionalComputed, "{path}.{}", a.name);
        }
        block.blocks.iter().for_each(|b| check(&b.block, &format!("{path}.{}", b.name)));
    }
    check(&pool().schema.block, "nodepool");
    check(&super::super::nodeclass::NodeClassKind::schema().block, "nodeclass");
}

#[test]
fn a_cluster_name_is_checked_offline() {
    for (name, fine) in [("demo", true), ("arn:aws:eks:eu-west-1:111122223333:cluster/demo", true), ("", false), ("a b", false)] {
        let mut pool_ = trino();
        pool_.set("cluster_name", Value::from(name));
        let refused = pool().check(&pool_);
        assert_eq!(refused.has_errors(), !fine, "{name:?}: {refused:?}");
    }
}

#[test]
fn what_the_api_server_lets_nobody_change_is_replaced() {
    let types = pool();
    let with = |replicas: Value, group: &str| {
        let mut pool = trino();
        let mut template = pool.attr("template").first().clone();
        template.set("node_class_ref", Value::List(vec![strings([("group", group), ("kind", "EC2NodeClass"), ("name", "default")])]));
        pool.set("template", Value::List(vec![template]));
        pool.set("replicas", replicas);
        pool
    };
    let manifest = |spec: &str, group: &str| {
        let text = format!(
            "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: {{name: trino}}\nspec:\n  {spec}\n  template: {{spec: {{requirements: [], nodeClassRef: {{group: {group}, kind: EC2NodeClass, name: default}}}}}}\n"
        );
        let mut state = config(&types.schema.block, &Value::object([("manifest", Value::from(text))]));
        state.set("name", Value::from("trino"));
        state
    };
    let (ours, other) = ("karpenter.k8s.aws", "eks.amazonaws.com");
    let paths = |before: &Value, after: &Value| types.replacements(before, after).iter().map(Path::to_string).collect::<Vec<_>>();
    let none: [&str; 0] = [];
    assert_eq!(paths(&with(Value::Null, ours), &with(Value::from(3), ours)), ["replicas"]);
    assert_eq!(paths(&with(Value::from(3), ours), &with(Value::Null, ours)), ["replicas"]);
    assert_eq!(paths(&with(Value::from(3), ours), &with(Value::from(4), ours)), none);
    assert_eq!(paths(&with(Value::Null, ours), &with(Value::unknown(), ours)), none);
    assert_eq!(paths(&Value::Null, &with(Value::from(3), ours)), none);
    assert_eq!(paths(&manifest("weight: 1", ours), &manifest("weight: 2", ours)), none);
    assert_eq!(paths(&manifest("weight: 1", ours), &manifest("replicas: 2", ours)), ["manifest"]);
    assert_eq!(paths(&manifest("weight: 1", ours), &manifest("weight: 1", other)), ["manifest"]);
    assert_eq!(paths(&with(Value::Null, ours), &manifest("weight: 1", other)), ["manifest"]);
    assert_eq!(paths(&with(Value::Null, ours), &manifest("weight: 1", ours)), none);
    assert_eq!(paths(&manifest("weight: 1", ours), &with(Value::Null, other)), ["template[0].node_class_ref[0].group"]);
    assert_eq!(paths(&manifest("weight: 1", ours), &with(Value::from(1), ours)), ["replicas"]);
    assert_eq!(paths(&with(Value::Null, ours), &with(Value::Null, other)), ["template[0].node_class_ref[0].group"]);
}

#[test]
fn the_body_is_what_the_configuration_says_and_no_more() {
    let placeholders = Placeholders { cluster_name: "demo".into(), ext_account_id: "1".into() };
    let body = pool().body(&trino(), &Value::Null, &placeholders);
    assert_eq!(
        body,
        json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "trino"},
            "spec": {"limits": {"cpu": "1000m"}, "template": {"spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
                "requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}],
                "taints": [{"key": "trino-demo", "effect": "NoSchedule"}],
            }}},
        })
    );
}

#[test]
fn a_live_object_equal_in_meaning_is_seen_as_it_was_written() {
    let pool = pool();
    let planned = pool.plan_value(&Value::Null, &trino(), &Private::default());
    let live = serde_json::from_value(json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "trino", "generation": 1},
        "spec": {"limits": {"cpu": "1"}, "disruption": {"consolidateAfter": "0s"}, "template": {"spec": {
            "expireAfter": "720h",
            "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
            "requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}],
            "taints": [{"key": "trino-demo", "effect": "NoSchedule"}],
        }}},
    }));
    let cluster = Cluster { name: "demo".into(), arn: "arn".into(), account_id: "1".into(), ..Cluster::default() };
    let observed = pool.observe(&live.expect("an object"), &planned, &cluster, false);
    let state = convert::settle(&planned, &observed);
    assert!(state.is_wholly_known(), "{state:?}");
    assert_eq!(state.attr("limits"), &strings([("cpu", "1000m")]));
    assert_eq!(state.attr("tolerations").first().attr("key").as_str(), Some("trino-demo"));
    assert_eq!(state.attr("template").first().attr("expire_after").as_str(), Some("720h"));
    assert_eq!(observed, state, "what apply stores is what the next read sees");
    let replanned = pool.plan_value(&state, &trino(), &Private::default());
    assert_eq!(replanned, state, "the second plan is empty");
}
