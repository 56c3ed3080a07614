//! Cross-field rules of an EC2NodeClass, checked offline. Unknown values, and texts with a placeholder, pass.

use super::aws_formats::family_of;
use super::kubelet;
use super::nodepool_rules::check_name;
use super::placeholders::literal;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::value::Value;

/// Checks what no single attribute's bounds can say.
pub fn validate(config: &Value) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let root = Path::root();
    check_name(config, &mut diagnostics);
    exactly_one(config, &root, ["role", "instance_profile"], &mut diagnostics);
    check_images(config, &mut diagnostics);
    for terms in TERMS {
        check_terms(config, &terms, &mut diagnostics);
    }
    check_volumes(config, &mut diagnostics);
    check_interfaces(config, &mut diagnostics);
    check_connection_tracking(config, &mut diagnostics);
    for group in config.attr("placement_group_selector").items().iter().filter(|group| !group.is_unknown()) {
        exactly_one(group, &Path::attribute("placement_group_selector").index(0), ["name", "id"], &mut diagnostics);
    }
    for kubelet in config.attr("kubelet").items() {
        kubelet::validate(kubelet, &Path::attribute("kubelet").index(0), &mut diagnostics);
    }
    diagnostics
}

fn is_set(value: &Value) -> bool {
    !value.is_null() && !value.is_unknown()
}

fn exactly_one(object: &Value, path: &Path, names: [&str; 2], diagnostics: &mut Diagnostics) {
    let [a, b] = names.map(|name| object.attr(name));
    if a.is_unknown() || b.is_unknown() || a.is_null() != b.is_null() {
        return;
    }
    let [first, second] = names;
    let (problem, remedy) = if a.is_null() { ("neither is set", "Set one of them") } else { ("both are set", "Remove one of them") };
    let detail = format!("Exactly one of {first} and {second} is needed; {problem}. {remedy}.");
    diagnostics.error(path.child(first), format!("{first} or {second}"), detail);
}

fn check_images(config: &Value, diagnostics: &mut Diagnostics) {
    let (terms, family) = (config.attr("ami_selector_term"), config.attr("ami_family"));
    if terms.is_unknown() || terms.items().iter().any(|t| t.is_unknown() || t.attr("alias").is_unknown()) {
        return;
    }
    let Some(at) = terms.items().iter().position(|t| !t.attr("alias").is_null()) else {
        if family.is_null() && !terms.items().is_empty() {
            let detail = "No ami_selector_term has an alias that says the images' family. Set it, e.g. ami_family = \"AL2023\".";
            diagnostics.error(Path::attribute("ami_family"), "missing ami_family", detail);
        }
        return;
    };
    let path = Path::attribute("ami_selector_term").index(at).child("alias");
    if terms.items().len() > 1 {
        let detail =
            "A term with an alias must be the only ami_selector_term. Remove the others, or select all of them by id, name or tags.";
        diagnostics.error(path.clone(), "alias beside other terms", detail);
    }
    for alias in terms.items().iter().filter_map(|t| literal(t.attr("alias"))) {
        let of_alias = family_of(alias);
        if let Some((family, of_alias)) =
            literal(family).zip(of_alias).filter(|(family, of_alias)| family != of_alias && *family != "Custom")
        {
            let detail =
                format!("ami_family is {family:?}, but {alias:?} is of {of_alias:?}. Remove ami_family, or set it to {of_alias:?}.");
            diagnostics.error(Path::attribute("ami_family"), "alias of another family", detail);
        }
    }
}

/// What a kind of selector term can say.
struct Terms {
    block: &'static str,
    /// At least one of these.
    one_of: &'static [&'static str],
    /// Each of these alone.
    alone: &'static [&'static str],
}

const TERMS: [Terms; 4] = [
    Terms { block: "ami_selector_term", one_of: &["alias", "id", "name", "tags", "ssm_parameter"], alone: &["id", "alias"] },
    Terms { block: "subnet_selector_term", one_of: &["tags", "id"], alone: &["id"] },
    Terms { block: "security_group_selector_term", one_of: &["tags", "id", "name"], alone: &["id", "name"] },
    Terms { block: "capacity_reservation_selector_term", one_of: &["tags", "id", "instance_match_criteria"], alone: &["id"] },
];

/// Every term needs a condition; some conditions stand alone.
fn check_terms(config: &Value, terms: &Terms, diagnostics: &mut Diagnostics) {
    let Terms { block, one_of, alone } = terms;
    for (i, term) in config.attr(block).items().iter().enumerate().filter(|(_, term)| !term.is_unknown()) {
        let path = Path::attribute(*block).index(i);
        // a condition without content selects nothing, or everything
        let says_nothing = |value: &Value| match value {
            Value::Null => true,
            Value::Map(entries) => entries.is_empty(),
            value => value.as_str() == Some(""),
        };
        if one_of.iter().all(|name| says_nothing(term.attr(name))) {
            let detail = format!("A {block} needs at least one of {}, and it must not be empty.", one_of.join(", "));
            diagnostics.error(path.clone(), "an empty selector term", detail);
        }
        let all: Vec<&str> = term.entries().filter(|(_, value)| is_set(value)).map(|(name, _)| name.as_str()).collect();
        for name in alone.iter().filter(|name| all.contains(name) && all.len() > 1) {
            let others: Vec<&str> = all.iter().copied().filter(|other| other != name).collect();
            let detail = format!("{name} excludes {} in one term. Terms are alternatives: write one for each.", others.join(", "));
            diagnostics.error(path.child(*name), format!("{name} stands alone"), detail);
        }
    }
}

fn check_volumes(config: &Value, diagnostics: &mut Diagnostics) {
    let block = Path::attribute("block_device_mapping");
    let mappings = config.attr("block_device_mapping").items();
    let root = |m: &Value| m.attr("root_volume").as_bool() == Some(true);
    if let Some((second, _)) = mappings.iter().enumerate().filter(|(_, m)| root(m)).nth(1) {
        let detail = "At most one block_device_mapping may have root_volume = true. Remove it from this one or the other.";
        diagnostics.error(block.index(second).child("root_volume"), "two root volumes", detail);
    }
    for (i, mapping) in mappings.iter().enumerate() {
        let path = block.index(i);
        let device = literal(mapping.attr("device_name"));
        if let Some(device) = device.filter(|device| mappings[..i].iter().any(|m| m.attr("device_name").as_str() == Some(device))) {
            let detail = format!("{device:?} is mapped already by another block_device_mapping. EC2 takes a device once.");
            diagnostics.error(path.child("device_name"), "the same device twice", detail);
        }
        for ebs in mapping.attr("ebs").items().iter().filter(|ebs| !ebs.is_unknown()) {
            check_volume(ebs, &path.child("ebs").index(0), diagnostics);
        }
    }
}

fn check_volume(ebs: &Value, path: &Path, diagnostics: &mut Diagnostics) {
    let snapshot = ebs.attr("snapshot_id");
    if ebs.attr("volume_size").is_null() && snapshot.is_null() {
        let detail =
            "Neither volume_size nor snapshot_id is set. Set the size, e.g. volume_size = \"100Gi\", or the snapshot that has one.";
        diagnostics.error(path.clone(), "a volume of no size", detail);
    }
    if is_set(ebs.attr("volume_initialization_rate")) && (snapshot.is_null() || snapshot.as_str() == Some("")) {
        let detail = "Only a volume made from a snapshot is initialized. Set snapshot_id, or remove volume_initialization_rate.";
        diagnostics.error(path.child("volume_initialization_rate"), "no snapshot to initialize from", detail);
    }
}

fn check_interfaces(config: &Value, diagnostics: &mut Diagnostics) {
    let block = Path::attribute("network_interface");
    let interfaces = config.attr("network_interface").items();
    let place = |i: &Value| i.attr("network_card_index").as_i64().zip(i.attr("device_index").as_i64());
    let kind = |i: &Value| literal(i.attr("interface_type")).map(str::to_owned);
    let all_known = interfaces.iter().all(|i| place(i).is_some() && kind(i).is_some());
    let primary = interfaces.iter().any(|i| place(i) == Some((0, 0)) && kind(i).as_deref() == Some("interface"));
    if all_known && !primary && !interfaces.is_empty() {
        let detail =
            "One network_interface must be the primary one: network_card_index = 0, device_index = 0, interface_type = \"interface\".";
        diagnostics.error(block.index(0), "no primary network interface", detail);
    }
    for (i, interface) in interfaces.iter().enumerate() {
        let Some((card, device)) = place(interface) else { continue };
        let before = &interfaces[..i];
        if before.iter().any(|other| place(other) == Some((card, device))) {
            let detail = format!("Another network_interface has network_card_index {card} and device_index {device} already.");
            diagnostics.error(block.index(i).child("device_index"), "the same interface twice", detail);
        }
        let efa = |other: &Value| kind(other).as_deref() == Some("efa-only") && place(other).is_some_and(|(c, _)| c == card);
        if efa(interface) && before.iter().any(efa) {
            let detail = format!("Network card {card} has an interface of type \"efa-only\" already; a card takes one.");
            diagnostics.error(block.index(i).child("interface_type"), "two EFA devices on a card", detail);
        }
    }
}

fn check_connection_tracking(config: &Value, diagnostics: &mut Diagnostics) {
    let names = ["tcp_established_timeout", "udp_stream_timeout", "udp_timeout"];
    for tracking in config.attr("connection_tracking").items().iter().filter(|t| !t.is_unknown()) {
        if names.iter().all(|name| tracking.attr(name).is_null()) {
            let detail = format!("connection_tracking sets no timeout. Set at least one of {}, or remove the block.", names.join(", "));
            diagnostics.error(Path::attribute("connection_tracking").index(0), "no timeout", detail);
        }
    }
}
