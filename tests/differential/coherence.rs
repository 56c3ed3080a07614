//! Makes a random spec keep the rules between its fields, so that most specs are valid before they are mutated.

use karpenter::tofu::value::Value;

use super::random::Random;

/// The rules of a NodePool.
pub fn nodepool(pool: &mut Value, random: &mut Random) {
    if random.percent(85) {
        clear(pool, &["replicas"]);
    } else {
        clear(pool, &["weight"]);
        let nodes = if random.percent(50) { Value::Null } else { Value::object([("nodes", Value::from("10"))]) };
        pool.set("limits", nodes);
    }
    each(pool, "disruption", |disruption| {
        each(disruption, "budget", |budget| {
            if budget.attr("schedule").is_null() != budget.attr("duration").is_null() {
                budget.set("schedule", Value::from("@daily"));
                budget.set("duration", Value::from("8h"));
            }
            let reasons = budget.attr("reasons").items();
            let unique = (0..reasons.len()).filter(|i| !reasons[..*i].contains(&reasons[*i])).map(|i| reasons[i].clone()).collect();
            if !budget.attr("reasons").is_null() {
                budget.set("reasons", Value::List(unique));
            }
        });
    });
    each(pool, "template", |template| {
        each(template, "requirement", |requirement| {
            let values = match requirement.attr("operator").as_str() {
                Some("In") => vec!["a", "b", "c"],
                Some("Gt" | "Lt" | "Gte" | "Lte") => vec!["4"],
                Some("NotIn") => vec!["a"],
                _ => vec![],
            };
            if requirement.attr("values").items().is_empty() || requirement.attr("operator").as_str() != Some("In") {
                requirement.set("values", Value::List(values.into_iter().map(Value::from).collect()));
            }
            let least = i64::try_from(requirement.attr("values").items().len()).unwrap();
            let one = requirement.attr("values").items().windows(2).any(|w| w[0] == w[1]) || least == 0;
            if !requirement.attr("min_values").is_null() {
                requirement.set("min_values", Value::from(if one { 1 } else { least.min(2) }));
            }
        });
        let by_label = template.attr("requirements").entries().filter(|(_, v)| !v.items().is_empty());
        let by_label: Vec<_> = by_label.map(|(k, v)| (k.clone(), v.clone())).collect();
        template.set("requirements", if by_label.is_empty() { Value::Null } else { Value::object(by_label) });
        for (block, effect) in [("taint", "NoSchedule"), ("startup_taint", "NoExecute")] {
            let mut n = 0;
            each(template, block, |taint| {
                n += 1;
                taint.set("effect", Value::from(effect));
                taint.set("key", Value::from(format!("example.com/taint-{n}")));
            });
        }
    });
}

/// The rules of an EC2NodeClass.
pub fn nodeclass(class: &mut Value, random: &mut Random) {
    let (set, other) = if random.percent(60) { ("role", "instance_profile") } else { ("instance_profile", "role") };
    class.set(set, Value::from("node-role"));
    clear(class, &[other]);
    images(class, random);
    for (block, tags) in [("subnet_selector_term", 50), ("security_group_selector_term", 30), ("capacity_reservation_selector_term", 40)] {
        let names = if random.percent(tags) { ["tags", "tags"] } else { ["id", "tags"] };
        each(class, block, |term| {
            let keep = names[0];
            let id = term.attr("id").as_str().map_or_else(|| id_of(block), str::to_owned);
            let owner = term.attr("owner_id").clone();
            *term = match keep {
                "id" => Value::object([("id", Value::from(id))]),
                _ => Value::object([("tags", Value::object([("Name", Value::from("x*"))])), ("owner_id", owner)]),
            };
            if block != "capacity_reservation_selector_term" {
                let Value::Map(entries) = term else { return };
                entries.remove("owner_id");
            }
        });
    }
    volumes(class);
    let mut n = 0;
    each(class, "network_interface", |interface| {
        interface.set("network_card_index", Value::from(n));
        interface.set("device_index", Value::from(if n == 0 { 0 } else { 1 }));
        if n == 0 {
            interface.set("interface_type", Value::from("interface"));
        }
        n += 1;
    });
    let by_id = random.percent(50);
    each(class, "placement_group_selector", |group| {
        *group = if by_id { Value::object([("id", Value::from("pg-0abc"))]) } else { Value::object([("name", Value::from("x"))]) };
    });
    each(class, "connection_tracking", |tracking| {
        if tracking.attr("tcp_established_timeout").is_null() {
            tracking.set("udp_timeout", Value::from(30));
        }
    });
    each(class, "kubelet", kubelet);
}

fn id_of(block: &str) -> String {
    let prefix = match block {
        "subnet_selector_term" => "subnet",
        "security_group_selector_term" => "sg",
        _ => "cr",
    };
    format!("{prefix}-0abc")
}

fn images(class: &mut Value, random: &mut Random) {
    let families = [("al2", "AL2"), ("al2023", "AL2023"), ("bottlerocket", "Bottlerocket"), ("windows2022", "Windows2022")];
    if random.percent(50) {
        let (name, family) = random.one_of(&families);
        let family = random.one_of(&[Value::Null, Value::from(*family), Value::from("Custom")]).clone();
        class.set("ami_family", family);
        let term = Value::object([("alias", Value::from(format!("{name}@latest")))]);
        class.set("ami_selector_term", Value::List(vec![term]));
        return;
    }
    if class.attr("ami_family").is_null() {
        class.set("ami_family", Value::from("AL2023"));
    }
    let choice = random.below(4);
    each(class, "ami_selector_term", |term| {
        clear(term, &["alias"]);
        let tags = Value::object([("Name", Value::from("x*"))]);
        match choice {
            0 => *term = Value::object([("id", Value::from("ami-0abc"))]),
            1 => *term = Value::object([("ssm_parameter", Value::from("/my/image"))]),
            2 => *term = Value::object([("tags", tags), ("owner", term.attr("owner").clone())]),
            _ => {
                clear(term, &["id", "tags"]);
                term.set("name", Value::from("my-*"));
            }
        }
    });
}

fn volumes(class: &mut Value) {
    let mut n = 0;
    each(class, "block_device_mapping", |mapping| {
        n += 1;
        mapping.set("device_name", Value::from(format!("/dev/xvd{n}")));
        if n > 1 {
            clear(mapping, &["root_volume"]);
        }
        each(mapping, "ebs", |ebs| {
            if !ebs.attr("volume_initialization_rate").is_null() {
                ebs.set("snapshot_id", Value::from("snap-0abc"));
            }
            if ebs.attr("snapshot_id").is_null() && ebs.attr("volume_size").is_null() {
                ebs.set("volume_size", Value::from("100Gi"));
            }
        });
    });
}

fn kubelet(kubelet: &mut Value) {
    let keys: Vec<String> = kubelet.attr("eviction_soft").entries().map(|(key, _)| key.clone()).collect();
    let grace = Value::object(keys.into_iter().map(|key| (key, Value::from("90s"))));
    kubelet.set("eviction_soft_grace_period", if kubelet.attr("eviction_soft").is_null() { Value::Null } else { grace });
    let (high, low) = ("image_gc_high_threshold_percent", "image_gc_low_threshold_percent");
    if kubelet.attr(high).as_i64() <= kubelet.attr(low).as_i64() {
        clear(kubelet, &[low]);
    }
}

fn clear(value: &mut Value, names: &[&str]) {
    names.iter().for_each(|name| value.set(name, Value::Null));
}

/// Changes every block of that name.
fn each(value: &mut Value, name: &str, mut change: impl FnMut(&mut Value)) {
    if let Value::Map(entries) = value
        && let Some(Value::List(items)) = entries.get_mut(name)
    {
        items.iter_mut().for_each(&mut change);
    }
}
