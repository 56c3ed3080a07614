use std::sync::Arc;

use super::*;
use crate::provider::Connections;
use crate::resources::manifest;
use crate::resources::nodeclass::NodeClassKind;
use crate::resources::nodepool::NodePoolKind;
use crate::resources::object::Private;

const POOL: &str = "apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: a, labels: {team: x}}
spec:
  weight: 5
  limits: {cpu: 10}
  disruption: {consolidateAfter: 1m, budgets: [{nodes: 10%}]}
  template:
    metadata: {labels: {team: a}}
    spec:
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      expireAfter: 60m
      terminationGracePeriod: 30s
      requirements:
        - {key: kubernetes.io/arch, operator: In, values: [arm64, amd64]}
        - {key: karpenter.k8s.aws/instance-cpu, operator: Gt, values: ['4']}
      taints: [{key: a, effect: NoSchedule}, {key: b, effect: NoSchedule}]
";

const CLASS: &str = "apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: a}
spec:
  role: node
  amiFamily: AL2023
  amiSelectorTerms: [{alias: al2023@latest}]
  subnetSelectorTerms: [{tags: {Name: private}}]
  securityGroupSelectorTerms: [{tags: {Name: node}}]
  capacityReservationSelectorTerms: [{id: cr-1}]
  tags: {a: b}
  ipPrefixCount: 1
  placementGroupSelector: {name: p}
  blockDeviceMappings: [{deviceName: /dev/xvda, ebs: {volumeSize: 100Gi}}, {deviceName: /dev/xvdb, ebs: {volumeSize: 1Gi}}]
";

/// What exchanging some of a manifest's text outdates, as arguments.
fn changes<K: Kind>(text: &str, edits: &[(&str, &str)]) -> Vec<String> {
    let types = ApiObject::<K>::new(Arc::new(Connections::new()));
    let arguments = |text: &str| manifest::read::<K>(&types.schema.block, text, &Value::Null).expect("a manifest").arguments;
    let changed = edits.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    let [prior, config] = [arguments(text), arguments(&changed)];
    let planned = types.plan_value(&prior, &config, &Private::default());
    types.outdating(&prior, &config, &planned).iter().map(|c| format!("{:?} {}", c.outdates, c.path)).collect()
}

#[test]
fn of_a_pool_the_template_is_compared_and_its_requirements_by_what_they_come_to() {
    let of = |from, to| changes::<NodePoolKind>(POOL, &[(from, to)]);
    let none: [&str; 0] = [];
    for (from, to) in [
        ("weight: 5", "weight: 6"),
        ("cpu: 10", "cpu: 20"),
        ("{team: x}", "{team: z}"),
        ("nodes: 10%", "nodes: 20%"),
        ("expireAfter: 60m", "expireAfter: 1h"),
        ("[arm64, amd64]", "[amd64, arm64]"),
        ("[{key: a, effect: NoSchedule}, {key: b, effect: NoSchedule}]", "[{key: b, effect: NoSchedule}, {key: a, effect: NoSchedule}]"),
    ] {
        assert_eq!(of(from, to), none, "{from} -> {to}");
    }
    for (from, to, path) in [
        ("{team: a}", "{team: b}", "template[0].labels"),
        ("expireAfter: 60m", "expireAfter: 2h", "template[0].expire_after"),
        ("      terminationGracePeriod: 30s\n", "", "template[0].termination_grace_period"),
        ("name: default", "name: other", "template[0].node_class_ref[0].name"),
        ("{key: b, effect: NoSchedule}", "{key: b, effect: NoExecute}", "template[0].taint[1].effect"),
        (", {key: b, effect: NoSchedule}]", "]", "template[0].taint"),
        ("[{key: a,", "[{key: c, effect: NoSchedule}, {key: a,", "template[0].taint[0].effect"),
    ] {
        assert_eq!(of(from, to), [format!("All {path}")], "{from} -> {to}");
    }
    assert_eq!(of("[arm64, amd64]", "[arm64]"), ["Some template[0].requirements"]);
    assert_eq!(of("['4']", "['8']"), ["Some template[0].requirement[0].values"]);
    assert_eq!(
        changes::<NodePoolKind>(POOL, &[("[arm64, amd64]", "[arm64]"), ("{team: a}", "{team: b}")]),
        ["All template[0].labels", "Some template[0].requirements"]
    );
}

#[test]
fn of_a_class_the_spec_is_compared_and_its_selectors_by_what_they_come_to() {
    let of = |from, to| changes::<NodeClassKind>(CLASS, &[(from, to)]);
    for (from, to, expected) in [
        ("ipPrefixCount: 1", "ipPrefixCount: 2", ""),
        ("  role: node", "  role: other", "All role"),
        ("{a: b}", "{a: c}", "All tags"),
        ("{a: b}", "{}", "All tags"),
        ("{a: b}", "{c: d}", "All tags"),
        ("{name: p}", "{name: q}", "All placement_group_selector[0].name"),
        ("volumeSize: 1Gi", "volumeSize: 2Gi", "All block_device_mapping[1].ebs[0].volume_size"),
        ("amiFamily: AL2023", "amiFamily: Custom", "Some ami_family"),
        ("al2023@latest", "al2023@v20250101", "Some ami_selector_term[0].alias"),
        ("{Name: private}", "{Name: public}", "Some subnet_selector_term[0].tags"),
        ("{tags: {Name: node}}", "{tags: {Name: node}}, {id: sg-1}", "Some security_group_selector_term[1].id"),
        ("cr-1", "cr-2", "Some capacity_reservation_selector_term[0].id"),
    ] {
        let expected: Vec<&str> = Some(expected).filter(|e| !e.is_empty()).into_iter().collect();
        assert_eq!(of(from, to), expected, "{from} -> {to}");
    }
}

#[test]
fn what_is_known_only_after_apply_may_outdate() {
    let types = ApiObject::<NodePoolKind>::new(Arc::new(Connections::new()));
    let prior = manifest::read::<NodePoolKind>(&types.schema.block, POOL, &Value::Null).expect("a manifest").arguments;
    let mut config = prior.clone();
    let mut template = config.attr("template").first().clone();
    template.set("node_class_ref", Value::List(vec![Value::object([("name", Value::unknown())])]));
    config.set("template", Value::List(vec![template]));
    let planned = types.plan_value(&prior, &config, &Private::default());
    let changes = types.outdating(&prior, &config, &planned);
    assert_eq!(
        changes,
        [Change { path: Path::attribute("template").index(0).child("node_class_ref").index(0).child("name"), outdates: Outdates::Some }]
    );
    config.set("template", Value::unknown());
    let planned = types.plan_value(&prior, &config, &Private::default());
    assert_eq!(types.outdating(&prior, &config, &planned), [Change { path: Path::attribute("template"), outdates: Outdates::Some }]);
}

#[test]
fn a_warning_names_pools_and_their_nodes_as_far_as_they_are_known() {
    let some = |pools: &[(&str, usize)]| Some(pools.iter().map(|(name, nodes)| ((*name).to_owned(), *nodes)).collect());
    assert_eq!(whose::<NodePoolKind>("a", &some(&[("a", 37)])), "pool a (37 now)");
    assert_eq!(whose::<NodePoolKind>("a", &None), "pool a");
    assert_eq!(whose::<NodeClassKind>("c", &some(&[("a", 3), ("b", 0)])), "pools a (3 now), b (0 now)");
    assert_eq!(whose::<NodeClassKind>("c", &None), "the pools of class c");
}
