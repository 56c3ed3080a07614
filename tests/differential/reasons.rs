//! Why ours may refuse what the API server accepts: a short list, each a hole of the CRD's rules behind which something else fails.

use karpenter::tofu::diagnostics::Diagnostic;
use karpenter::tofu::path::{Path, Step};

/// One reason.
pub struct Reason {
    /// Its name in the totals.
    pub name: &'static str,
    /// Attributes that it is about, without indexes and keys; `*` at the start stands for any beginning.
    at: &'static [&'static str],
    /// What the diagnostic says.
    says: &'static str,
}

/// All of them. What fails behind the hole stands beside each.
pub const REASONS: &[Reason] = &[
    // Karpenter parses the schedule; the CRD counts five words, or finds a macro's beginning
    reason("cron", &["disruption.budget.schedule"], "a cron schedule in UTC"),
    // Go's durations end at 292 years; Karpenter cannot read the object
    reason("long_duration", &["*consolidate_after", "*expire_after", "*termination_grace_period", "*budget.duration"], "a duration in"),
    // a number of nodes has 32 bits
    reason("many_nodes", &["disruption.budget.nodes"], "a number of nodes"),
    // Go reads no fractions in a quantity's exponent; Karpenter cannot read the object, the kubelet not its configuration
    reason("quantity", &["limits", "*_reserved"], "a Kubernetes quantity"),
    // a node has no resource of such a name
    reason("resource_name", &["limits"], "a label key"),
    // the API server refuses such a node
    reason(
        "label_key",
        &["template.labels", "template.annotations", "template.requirements", "*requirement.key", "*taint.key"],
        "a label key",
    ),
    // the same; the CRD's bounds stand at the list instead of its elements
    reason("label_value", &["template.requirement.values", "template.requirements"], "a label value"),
    reason("taint_value", &["template.taint.value", "template.startup_taint.value"], "a taint's value"),
    // nodes carry the name as a label's value
    reason("long_name", &["name"], "Nodes carry it as a label's value"),
    // the controller's own validation
    reason("same_taint", &["template.taint", "template.startup_taint"], "stands at"),
    // the same label in both forms cannot be told apart when the object is read back
    reason("both_forms", &["template.requirement"], "Keep one of the two"),
    // the CRD counts the same value twice
    reason("min_values", &["template.requirement.values"], "different values"),
    // no object has such a name
    reason("class_name", &["template.node_class_ref.name"], "an object's name"),
    // Go reads no such time
    reason("time", &["template.taint.time_added", "template.startup_taint.time_added"], "a time in RFC 3339"),
    // no pod could ever get a node
    reason("instance_types", &["template.requirement", "template.requirements", "template.labels"], "Instance types as of"),
    // the client's null in a list or a map would get lost on the way
    reason("null", &["*"], "is null. Leave it out"),
    // no image has such a version
    reason("alias_version", &["ami_selector_term.alias"], "it must be \""),
    // the CRD's patterns have no anchors
    reason("id", &["ami_selector_term.id", "subnet_selector_term.id", "security_group_selector_term.id"], "an id such as"),
    // the CRD's rules say "not all terms" where they mean "no term", and forget ssmParameter
    reason("exclusive", &["*_selector_term.id", "*_selector_term.name", "*_selector_term.alias"], "excludes"),
    // a condition of an empty text or map is none
    reason("empty_term", &["*_selector_term"], "at least one of"),
    // the CRD's pattern has empty alternatives
    reason("volume_size", &["block_device_mapping.ebs.volume_size"], "a whole number and one of Gi"),
    // EC2 refuses it
    reason("volume_performance", &["block_device_mapping.ebs.iops", "block_device_mapping.ebs.throughput"], "at least 1"),
    reason("same_device", &["block_device_mapping.device_name"], "takes a device once"),
    reason("ec2_tag", &["tags"], "tag"),
    // the kubelet does not start
    reason("eviction_threshold", &["kubelet.eviction_hard", "kubelet.eviction_soft"], "a quantity above zero"),
    reason("grace_period", &["kubelet.eviction_soft_grace_period"], "a duration such as"),
    reason("cluster_dns", &["kubelet.cluster_dns"], "an IP address"),
];

const fn reason(name: &'static str, at: &'static [&'static str], says: &'static str) -> Reason {
    Reason { name, at, says }
}

/// The reason of a diagnostic.
pub fn reason_of(diagnostic: &Diagnostic) -> Option<&'static str> {
    let place = place(diagnostic.path.as_ref()?);
    let fits = |at: &str| at.strip_prefix('*').map_or(place == at, |end| place.ends_with(end));
    REASONS.iter().find(|r| r.at.iter().any(|at| fits(at)) && diagnostic.detail.contains(r.says)).map(|r| r.name)
}

fn place(path: &Path) -> String {
    let names = path.0.iter().filter_map(|step| if let Step::Attribute(name) = step { Some(name.as_str()) } else { None });
    names.collect::<Vec<_>>().join(".")
}
