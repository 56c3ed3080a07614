use serde_json::json;

use super::*;
use crate::resources::nodeclass::NodeClassKind;
use crate::resources::nodepool::NodePoolKind;

fn told(newer: &[Newer]) -> Vec<String> {
    newer.iter().map(|n| format!("{} {}", n.place(), n.since)).collect()
}

#[test]
fn what_came_later_is_found_with_its_version() {
    let pool = json!({"spec": {
        "weight": 1, "replicas": 2, "disruption": {"consolidationPolicy": "Balanced"},
        "template": {
            "metadata": {"labels": {"karpenter.k8s.aws/instance-tenancy": "default", "team": "a"}},
            "spec": {"requirements": [{"key": "kubernetes.io/os", "operator": "In"}, {"key": "karpenter.k8s.aws/instance-cpu", "operator": "Gte"}]},
        },
    }});
    let mut found = told(&newer(&NodePoolKind::schema().block, &pool));
    found.sort();
    assert_eq!(
        found,
        [
            "spec.disruption.consolidationPolicy = \"Balanced\" 1.14.0",
            "spec.replicas 1.8.0",
            "spec.template.metadata.labels[\"karpenter.k8s.aws/instance-tenancy\"] 1.9.0",
            "spec.template.spec.requirements[1].operator = \"Gte\" 1.9.0",
        ]
    );
    let class = json!({"spec": {
        "role": "r", "amiFamily": "AL2023", "amiSelectorTerms": [{"alias": "al2023@latest"}, {"alias": "windows2025@latest"}, {"ssmParameter": "p"}],
        "capacityReservationSelectorTerms": [{"id": "cr-1"}, {"instanceMatchCriteria": "open"}], "connectionTracking": {"udpTimeout": 30},
    }});
    let mut found = told(&newer(&NodeClassKind::schema().block, &class));
    found.sort();
    assert_eq!(
        found,
        [
            "spec.amiSelectorTerms[1].alias = \"windows2025\" 1.9.0",
            "spec.amiSelectorTerms[2].ssmParameter 1.4.0",
            "spec.capacityReservationSelectorTerms 1.3.0",
            "spec.capacityReservationSelectorTerms[1].instanceMatchCriteria 1.8.0",
            "spec.connectionTracking 1.13.0",
        ]
    );
    let plain = json!({"spec": {"weight": 1, "template": {"spec": {"requirements": [{"key": "a", "operator": "In"}]}}}});
    assert_eq!(newer(&NodePoolKind::schema().block, &plain), []);
}

#[test]
fn the_installed_schema_decides() {
    let one = |steps: Vec<Step>, word: Option<&str>| Newer { steps, at: vec![], word: word.map(str::to_owned), since: "1.9.0".into() };
    let name = |name: &str| Step::Attribute(name.to_owned());
    let schema = json!({"properties": {"spec": {"properties": {
        "a": {"type": "string", "enum": ["x", "y"]},
        "ruled": {"type": "string", "x-kubernetes-validations": [{"rule": "self.split('@')[0] in ['al2','al2023']"}, {"rule": "self != ''"}]},
        "free": {"type": "string", "x-kubernetes-validations": [{"rule": "self != ''"}]},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "labels": {"additionalProperties": {"type": "string"}, "x-kubernetes-validations": [{"rule": "self.all(x, x in [\"k/a\"])"}]},
        "list": {"items": {"properties": {"b": {"type": "string"}}}},
    }}}});
    for (steps, word, known) in [
        (vec![name("spec"), name("a")], Some("x"), true),
        (vec![name("spec"), name("a")], Some("z"), false),
        (vec![name("spec"), name("ruled")], Some("al2"), true),
        (vec![name("spec"), name("ruled")], Some("windows2025"), false),
        (vec![name("spec"), name("free")], Some("anything"), true),
        (vec![name("spec"), name("open"), name("new")], None, true),
        (vec![name("spec"), name("missing")], None, false),
        (vec![name("spec"), name("list"), Step::Index(3), name("b")], None, true),
        (vec![name("spec"), name("list"), Step::Index(3), name("c")], None, false),
        (vec![name("spec"), name("labels"), Step::Key("k/a".into())], Some("k/a"), true),
        (vec![name("spec"), name("labels"), Step::Key("k/b".into())], Some("k/b"), false),
    ] {
        assert_eq!(has(&schema, &one(steps.clone(), word)), known, "{steps:?} {word:?}");
    }
}

#[test]
fn a_field_of_the_api_tells_its_version() {
    let types = ApiObject::<NodeClassKind>::new(std::sync::Arc::default());
    let field = |names: &[&str]| names.iter().map(|n| Step::Attribute((*n).to_owned())).collect::<Vec<_>>();
    assert_eq!(types.since(&field(&["spec", "ipPrefixCount"])), Some("1.8.0"));
    assert_eq!(types.since(&field(&["spec", "networkInterfaces"])), Some("1.11.0"));
    assert_eq!(types.since(&field(&["spec", "blockDeviceMappings", "ebs", "volumeInitializationRate"])), Some("1.5.0"));
    assert_eq!(types.since(&field(&["spec", "role"])), None);
}
