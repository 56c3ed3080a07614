//! Each rule, told at its place, with the value and what would be right.

use karpenter::resources::object::Kind;
use karpenter::tofu::value::{Number, Value};
use serde_json::{Value as Json, json};

use super::{errors, resource};

/// A valid pool but for `patch`, whose only error is at `path` and has all of `says`.
pub struct Wrong {
    patch: Json,
    path: &'static str,
    says: &'static [&'static str],
}

fn wrong(patch: Json, path: &'static str, says: &'static [&'static str]) -> Wrong {
    Wrong { patch, path, says }
}

/// Checks that each is refused as it says.
pub fn are_refused<K: Kind>(good: &Json, wrongs: Vec<Wrong>) {
    let resource = resource::<K>();
    assert_eq!(errors(&resource, &value(good)), [], "the base is valid");
    for Wrong { patch, path, says } in wrongs {
        let mut config = good.clone();
        merge(&mut config, &patch);
        let errors = errors(&resource, &value(&config));
        let told: Vec<String> =
            errors.iter().map(|e| format!("{}: {}", e.path.as_ref().map(ToString::to_string).unwrap_or_default(), e.detail)).collect();
        assert_eq!(errors.len(), 1, "{patch}: {told:#?}");
        assert_eq!(errors[0].path.as_ref().map(ToString::to_string).as_deref(), Some(path), "{patch}: {told:#?}");
        for word in says {
            assert!(errors[0].detail.contains(word), "{patch}: no {word:?} in {}", errors[0].detail);
        }
    }
}

/// Objects are merged, a list's elements as well; null removes.
fn merge(config: &mut Json, patch: &Json) {
    match (config, patch) {
        (Json::Object(config), Json::Object(patch)) => {
            for (key, value) in patch {
                match value {
                    Json::Null => drop(config.remove(key)),
                    value => merge(config.entry(key).or_insert(Json::Null), value),
                }
            }
        }
        (Json::Array(config), Json::Array(patch)) if patch.len() == 1 && config.len() == 1 => merge(&mut config[0], &patch[0]),
        (config, patch) => *config = patch.clone(),
    }
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => Value::Number(Number::parse(&n.to_string()).unwrap()),
        Json::String(text) => Value::from(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(entries) => Value::object(entries.iter().map(|(k, v)| (k.clone(), value(v)))),
    }
}

/// A pool, and what is wrong with it.
pub fn of_pools() -> (Json, Vec<Wrong>) {
    let good = json!({
        "name": "a", "limits": {"cpu": "10"},
        "disruption": [{"consolidate_after": "5m", "budget": [{"nodes": "10%"}]}],
        "template": [{
            "node_class_ref": [{"name": "default"}],
            "requirement": [{"key": "team", "operator": "In", "values": ["a"]}],
            "taint": [{"key": "a", "effect": "NoSchedule"}],
        }],
    });
    let requirement = |patch: Json| json!({"template": [{"requirement": [patch]}]});
    let budget = |patch: Json| json!({"disruption": [{"budget": [patch]}]});
    let key = "template[0].requirement[0].key";
    let values = "template[0].requirement[0].values";
    let schedule = "disruption[0].budget[0].schedule";
    let wrongs = vec![
        wrong(json!({"name": null}), "name", &["name"]),
        wrong(json!({"name": "x".repeat(64)}), "name", &["64", "63", "label"]),
        wrong(json!({"template": []}), "template", &["template is required"]),
        wrong(json!({"template": [{"node_class_ref": []}]}), "template[0].node_class_ref", &["required"]),
        wrong(json!({"weight": 101}), "weight", &["weight is 101", "between 1 and 100"]),
        wrong(json!({"weight": 1.5}), "weight", &["1.5", "whole number"]),
        wrong(json!({"replicas": 1, "limits": {"nodes": "5"}}), "limits[\"cpu\"]", &["\"cpu\"", "nodes", "Remove"]),
        wrong(json!({"replicas": 1, "limits": null, "weight": 5}), "weight", &["static", "Remove weight or replicas"]),
        wrong(json!({"limits": {"cpu": "1e1.5"}}), "limits[\"cpu\"]", &["\"1e1.5\"", "64Gi"]),
        wrong(json!({"disruption": [{"consolidate_after": null}]}), "disruption[0].consolidate_after", &["required"]),
        wrong(
            json!({"disruption": [{"consolidation_policy": "Never"}]}),
            "disruption[0].consolidation_policy",
            &["\"Never\"", "WhenEmpty", "Balanced"],
        ),
        wrong(budget(json!({"nodes": "101%"})), "disruption[0].budget[0].nodes", &["\"101%\"", "100%"]),
        wrong(budget(json!({"reasons": ["Empty", "Empty"]})), "disruption[0].budget[0].reasons[1]", &["Empty", "twice"]),
        wrong(budget(json!({"schedule": "@daily"})), schedule, &["duration", "\"8h\""]),
        wrong(budget(json!({"duration": "8h"})), "disruption[0].budget[0].duration", &["schedule", "0 9 * * mon-fri"]),
        wrong(
            budget(json!({"duration": "8h", "schedule": "0 25 * * *"})),
            schedule,
            &["0 25 * * *", "\"25\" is no hour: 0 to 23", "@daily"],
        ),
        wrong(budget(json!({"duration": "8h", "schedule": "0 0 30 2 *"})), schedule, &["never comes"]),
        wrong(budget(json!({"duration": "90s", "schedule": "@daily"})), "disruption[0].budget[0].duration", &["\"90s\"", "1h30m"]),
        wrong(requirement(json!({"key": "karpenter.sh/nodepool"})), key, &["karpenter.sh/nodepool", "Leave it out"]),
        wrong(
            requirement(json!({"key": "karpenter.k8s.aws/instance-famly"})),
            key,
            &["nearest one is \"karpenter.k8s.aws/instance-family\""],
        ),
        wrong(requirement(json!({"values": []})), values, &["at least one value", "Exists"]),
        wrong(requirement(json!({"min_values": 2})), values, &["min_values is 2", "1 different", "[\"a\"]"]),
        wrong(requirement(json!({"min_values": 0})), "template[0].requirement[0].min_values", &["is 0", "between 1 and 50"]),
        wrong(requirement(json!({"operator": "Gt"})), values, &["Operator Gt", "[\"4\"]", "[\"a\"]"]),
        wrong(requirement(json!({"operator": "Is"})), "template[0].requirement[0].operator", &["\"Is\"", "DoesNotExist"]),
        wrong(
            json!({"template": [{"labels": {"kubernetes.io/hostname": "a"}}]}),
            "template[0].labels[\"kubernetes.io/hostname\"]",
            &["Leave it out"],
        ),
        wrong(json!({"template": [{"requirements": {"team": []}}]}), "template[0].requirements[\"team\"]", &["no values", "leave it out"]),
        wrong(json!({"template": [{"taint": [{"value": ""}]}]}), "template[0].taint[0].value", &["leave it out for none"]),
        wrong(
            json!({"template": [{"startup_taint": [{"key": "a", "effect": "NoSchedule"}]}]}),
            "template[0].startup_taint[0]",
            &["\"a\"", "template[0].taint[0]", "Remove"],
        ),
        wrong(json!({"template": [{"expire_after": "30d"}]}), "template[0].expire_after", &["\"30d\"", "720h", "Never"]),
    ];
    (good, wrongs)
}

/// A class, and what is wrong with it.
pub fn of_classes() -> (Json, Vec<Wrong>) {
    let good = json!({
        "name": "a", "role": "r",
        "ami_selector_term": [{"alias": "al2023@latest"}],
        "subnet_selector_term": [{"tags": {"Name": "private"}}],
        "security_group_selector_term": [{"tags": {"Name": "node"}}],
        "block_device_mapping": [{"device_name": "/dev/xvda", "ebs": [{"volume_size": "100Gi"}]}],
    });
    let image = |patch: Json| json!({"ami_selector_term": [patch]});
    let volume = |patch: Json| json!({"block_device_mapping": [{"ebs": [patch]}]});
    let kubelet = |patch: Json| json!({"kubelet": [patch]});
    let alias = "ami_selector_term[0].alias";
    let interface =
        |card: i64, device: i64, kind: &str| json!({"network_card_index": card, "device_index": device, "interface_type": kind});
    let wrongs = vec![
        wrong(json!({"ami_selector_term": []}), "ami_selector_term", &["ami_selector_term { alias = \"al2023@latest\" }"]),
        wrong(json!({"subnet_selector_term": []}), "subnet_selector_term", &["subnet_selector_term { tags"]),
        wrong(json!({"role": null}), "role", &["role", "instance_profile", "neither", "Set one"]),
        wrong(json!({"instance_profile": "p"}), "role", &["both are set", "Remove one"]),
        wrong(image(json!({"alias": "ubuntu@latest"})), alias, &["\"ubuntu@latest\"", "bottlerocket"]),
        wrong(image(json!({"alias": "windows2022@v1"})), alias, &["windows2022@latest"]),
        wrong(image(json!({"name": "x"})), alias, &["excludes name"]),
        wrong(image(json!({"alias": null, "id": "ami-0abc"})), "ami_family", &["ami_family = \"AL2023\""]),
        wrong(json!({"ami_family": "AL2"}), "ami_family", &["\"AL2\"", "\"al2023@latest\"", "Remove ami_family"]),
        wrong(
            json!({"ami_family": "AL2023", "ami_selector_term": [{"alias": null, "id": "xami-1"}]}),
            "ami_selector_term[0].id",
            &["\"xami-1\"", "ami-0123456789abcdef0"],
        ),
        wrong(json!({"subnet_selector_term": [{"tags": {"Name": ""}}]}), "subnet_selector_term[0].tags[\"Name\"]", &["not empty", "\"*\""]),
        wrong(json!({"subnet_selector_term": [{"tags": null}]}), "subnet_selector_term[0]", &["at least one of tags, id"]),
        wrong(json!({"security_group_selector_term": [{"id": "sg-1"}]}), "security_group_selector_term[0].id", &["excludes tags"]),
        wrong(json!({"tags": {"karpenter.sh/nodepool": "x"}}), "tags[\"karpenter.sh/nodepool\"]", &["Karpenter writes this one"]),
        wrong(volume(json!({"volume_size": null})), "block_device_mapping[0].ebs[0]", &["volume_size = \"100Gi\"", "snapshot_id"]),
        wrong(volume(json!({"volume_size": "18Ti"})), "block_device_mapping[0].ebs[0].volume_size", &["\"18Ti\"", "59000"]),
        wrong(
            volume(json!({"volume_initialization_rate": 100})),
            "block_device_mapping[0].ebs[0].volume_initialization_rate",
            &["Set snapshot_id", "remove volume_initialization_rate"],
        ),
        wrong(
            json!({"block_device_mapping": [{"device_name": "a", "root_volume": true}, {"device_name": "b", "root_volume": true}]}),
            "block_device_mapping[1].root_volume",
            &["At most one"],
        ),
        wrong(json!({"metadata_options": [{"http_tokens": "on"}]}), "metadata_options[0].http_tokens", &["\"on\"", "required"]),
        wrong(json!({"connection_tracking": [{}]}), "connection_tracking[0]", &["tcp_established_timeout", "udp_timeout"]),
        wrong(json!({"placement_group_selector": [{}]}), "placement_group_selector[0].name", &["name", "id", "neither"]),
        wrong(
            json!({"network_interface": [interface(0, 1, "interface")]}),
            "network_interface[0]",
            &["network_card_index = 0, device_index = 0"],
        ),
        wrong(
            json!({"network_interface": [interface(0, 0, "interface"), interface(0, 0, "efa-only")]}),
            "network_interface[1].device_index",
            &["already"],
        ),
        wrong(
            json!({"network_interface": [interface(0, 0, "interface"), interface(1, 0, "efa-only"), interface(1, 1, "efa-only")]}),
            "network_interface[2].interface_type",
            &["card 1", "efa-only"],
        ),
        wrong(
            kubelet(json!({"eviction_soft": {"memory.available": "5%"}})),
            "kubelet[0].eviction_soft[\"memory.available\"]",
            &["eviction_soft_grace_period", "add"],
        ),
        wrong(kubelet(json!({"eviction_hard": {"memory": "5%"}})), "kubelet[0].eviction_hard[\"memory\"]", &["memory.available"]),
        wrong(kubelet(json!({"kube_reserved": {"cpu": "-1"}})), "kubelet[0].kube_reserved[\"cpu\"]", &["\"-1\"", "not negative"]),
        wrong(
            kubelet(json!({"image_gc_high_threshold_percent": 50, "image_gc_low_threshold_percent": 60})),
            "kubelet[0].image_gc_high_threshold_percent",
            &["50", "60"],
        ),
        wrong(kubelet(json!({"extra": "{\"maxPods\": 5}"})), "kubelet[0].extra", &["maxPods", "max_pods = ..."]),
        wrong(kubelet(json!({"max_pods": -1})), "kubelet[0].max_pods", &["-1"]),
    ];
    (good, wrongs)
}
