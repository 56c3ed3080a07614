//! Cross-field rules of an EC2NodeClass, checked offline. Unknown values pass.

use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::value::Value;

const FAMILIES: [(&str, &str); 6] = [
    ("al2", "AL2"),
    ("al2023", "AL2023"),
    ("bottlerocket", "Bottlerocket"),
    ("windows2019", "Windows2019"),
    ("windows2022", "Windows2022"),
    ("windows2025", "Windows2025"),
];

/// Checks what no single attribute's bounds can say.
pub fn validate(config: &Value) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    exactly_one(config, ["role", "instance_profile"], &mut diagnostics);
    check_amis(config, &mut diagnostics);
    for (block, one_of, alone) in [
        ("ami_selector_term", &["alias", "id", "name", "tags", "ssm_parameter"][..], &["id", "alias"][..]),
        ("subnet_selector_term", &["id", "tags"], &["id"]),
        ("security_group_selector_term", &["id", "name", "tags"], &["id", "name"]),
        ("capacity_reservation_selector_term", &["id", "instance_match_criteria", "tags"], &["id"]),
    ] {
        check_terms(config, block, one_of, alone, &mut diagnostics);
    }
    check_volumes(config, &mut diagnostics);
    check_tags(config, &mut diagnostics);
    diagnostics
}

fn exactly_one(config: &Value, names: [&str; 2], diagnostics: &mut Diagnostics) {
    let [a, b] = names.map(|name| config.attr(name));
    if a.is_unknown() || b.is_unknown() || a.is_null() != b.is_null() {
        return;
    }
    let problem = if a.is_null() { "neither is set" } else { "both are set" };
    let detail = format!("Exactly one of {} and {} is needed; {problem}.", names[0], names[1]);
    diagnostics.error(Path::attribute(names[0]), format!("{} or {}", names[0], names[1]), detail);
}

fn check_amis(config: &Value, diagnostics: &mut Diagnostics) {
    let terms = config.attr("ami_selector_term");
    let family = config.attr("ami_family");
    if terms.is_unknown() || terms.items().iter().any(|t| t.attr("alias").is_unknown()) {
        return;
    }
    let aliases = terms.items().iter().enumerate().filter_map(|(i, t)| Some((i, t.attr("alias").as_str()?)));
    let aliases: Vec<(usize, &str)> = aliases.filter(|(_, alias)| !alias.contains("{{")).collect();
    let has_alias = terms.items().iter().any(|t| !t.attr("alias").is_null());
    if !has_alias && family.is_null() && !terms.items().is_empty() {
        let detail = "No ami_selector_term has an alias, so the family is not known. Set ami_family, e.g. \"AL2023\".";
        diagnostics.error(Path::attribute("ami_family"), "missing ami_family", detail);
    }
    if has_alias && terms.items().len() > 1 {
        let detail = "A term with an alias must be the only ami_selector_term.";
        diagnostics.error(Path::attribute("ami_selector_term"), "alias beside other terms", detail);
    }
    for (i, alias) in aliases {
        let path = Path::attribute("ami_selector_term").index(i).child("alias");
        let Some((name, version)) = alias.split_once('@') else { continue };
        let Some((_, of_alias)) = FAMILIES.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = FAMILIES.iter().map(|(known, _)| *known).collect();
            diagnostics.error(path, "unknown alias", format!("{alias:?} names no family; the families are {}.", known.join(", ")));
            continue;
        };
        if name.starts_with("windows") && version != "latest" {
            diagnostics.error(path.clone(), "windows aliases have no versions", format!("{alias:?} must be \"{name}@latest\"."));
        }
        if let Some(family) = family.as_str().filter(|family| *family != *of_alias && *family != "Custom") {
            let detail = format!("ami_family is {family:?}, but {alias:?} is an alias of {of_alias:?}. Use one of {of_alias:?} and \"Custom\".");
            diagnostics.error(Path::attribute("ami_family"), "alias of another family", detail);
        }
    }
}

/// Every term needs a condition; some conditions stand alone.
fn check_terms(config: &Value, block: &str, one_of: &[&str], alone: &[&str], diagnostics: &mut Diagnostics) {
    for (i, term) in config.attr(block).items().iter().enumerate().filter(|(_, term)| !term.is_unknown()) {
        let path = Path::attribute(block).index(i);
        if one_of.iter().all(|name| term.attr(name).is_null()) {
            diagnostics.error(path.clone(), "an empty selector term", format!("A {block} needs at least one of {}.", one_of.join(", ")));
        }
        let set = |name: &str| !term.attr(name).is_null() && !term.attr(name).is_unknown();
        let all: Vec<&str> = term.entries().map(|(name, _)| name.as_str()).filter(|name| set(name)).collect();
        for name in alone.iter().filter(|name| set(name) && all.len() > 1) {
            let others: Vec<&str> = all.iter().copied().filter(|other| other != name).collect();
            diagnostics.error(path.child(*name), format!("{name} stands alone"), format!("{name} excludes {} in one term.", others.join(", ")));
        }
        for (key, value) in term.attr("tags").entries() {
            if key.is_empty() || value.as_str() == Some("") {
                let detail = "Neither a tag's key nor its value may be empty; \"*\" matches any value.";
                diagnostics.error(path.child("tags").key(key), "an empty tag", detail);
            }
        }
    }
}

fn check_volumes(config: &Value, diagnostics: &mut Diagnostics) {
    let mappings = config.attr("block_device_mapping").items();
    if mappings.iter().filter(|m| m.attr("root_volume").as_bool() == Some(true)).count() > 1 {
        diagnostics.error(Path::attribute("block_device_mapping"), "two root volumes", "At most one mapping may have root_volume = true.");
    }
    for (i, mapping) in mappings.iter().enumerate() {
        let ebs = mapping.attr("ebs").first();
        if !ebs.is_null() && ebs.attr("volume_size").is_null() && ebs.attr("snapshot_id").is_null() {
            let path = Path::attribute("block_device_mapping").index(i).child("ebs").index(0);
            diagnostics.error(path, "a volume of no size", "Set volume_size, e.g. \"100Gi\", or snapshot_id.");
        }
    }
}

fn check_tags(config: &Value, diagnostics: &mut Diagnostics) {
    const OWN: [&str; 4] = ["eks:eks-cluster-name", "karpenter.sh/nodepool", "karpenter.sh/nodeclaim", "karpenter.k8s.aws/ec2nodeclass"];
    for (key, _) in config.attr("tags").entries() {
        if key.is_empty() || OWN.contains(&key.as_str()) || key.starts_with("kubernetes.io/cluster") {
            diagnostics.error(Path::attribute("tags").key(key), "restricted tag", format!("Karpenter sets {key:?} itself, or it is empty."));
        }
    }
}
