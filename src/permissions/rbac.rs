//! Permissions of the Kubernetes API.

use std::fmt::Write as _;

use super::{For, Phase};

/// One rule of a ClusterRole.
pub struct Rule {
    /// API group; empty for the core's.
    pub group: &'static str,
    /// Plurals.
    pub resources: &'static [&'static str],
    /// What is done with them when planning.
    pub plan: &'static [&'static str],
    /// What is done besides when applying.
    pub apply: &'static [&'static str],
    /// The only objects; empty: all.
    pub names: &'static [&'static str],
    /// For which resource types.
    pub of: For,
    /// Why it is needed.
    pub why: &'static str,
}

const READ: &[&str] = &["get", "list", "watch"];
const LOOK: &[&str] = &["get"];
const WRITE: &[&str] = &["create", "patch", "delete"];

/// All of them.
pub const RULES: &[Rule] = &[
    Rule { group: "karpenter.sh", resources: &["nodepools"], plan: READ, apply: WRITE, names: &[], of: For::Objects, why: "pools" },
    Rule {
        group: "karpenter.k8s.aws",
        resources: &["ec2nodeclasses"],
        plan: READ,
        apply: WRITE,
        names: &[],
        of: For::Objects,
        why: "classes",
    },
    Rule {
        group: "karpenter.sh",
        resources: &["nodeclaims"],
        plan: READ,
        apply: &[],
        names: &[],
        of: For::Objects,
        why: "what is still in use before something is deleted",
    },
    Rule {
        group: "apiextensions.k8s.io",
        resources: &["customresourcedefinitions"],
        plan: READ,
        apply: WRITE,
        names: &[],
        of: For::Bundle,
        why: "Karpenter's CRDs; classes and pools only read them",
    },
    Rule {
        group: "",
        resources: &["namespaces"],
        plan: LOOK,
        apply: &["create", "patch"],
        names: &[],
        of: For::Bundle,
        why: "the chart's namespace",
    },
    Rule {
        group: "",
        resources: &["secrets"],
        plan: &["get", "list"],
        apply: &["create", "patch", "update", "delete", "deletecollection"],
        names: &[],
        of: For::Bundle,
        why: "helm's release records",
    },
    Rule {
        group: "",
        resources: &["serviceaccounts", "services", "configmaps"],
        plan: READ,
        apply: WRITE,
        names: &[],
        of: For::Bundle,
        why: "the chart",
    },
    Rule { group: "apps", resources: &["deployments"], plan: READ, apply: WRITE, names: &[], of: For::Bundle, why: "the chart" },
    Rule {
        group: "",
        resources: &["pods", "events", "nodes"],
        plan: READ,
        apply: &[],
        names: &[],
        of: For::Bundle,
        why: "whether the controller runs, and why not",
    },
    Rule {
        group: "apps",
        resources: &["replicasets"],
        plan: READ,
        apply: &[],
        names: &[],
        of: For::Bundle,
        why: "whether the controller runs",
    },
    Rule { group: "policy", resources: &["poddisruptionbudgets"], plan: READ, apply: WRITE, names: &[], of: For::Bundle, why: "the chart" },
    Rule {
        group: "monitoring.coreos.com",
        resources: &["servicemonitors"],
        plan: READ,
        apply: WRITE,
        names: &[],
        of: For::Bundle,
        why: "the chart, where `serviceMonitor` is enabled",
    },
    Rule {
        group: "rbac.authorization.k8s.io",
        resources: &["clusterroles", "clusterrolebindings", "roles", "rolebindings"],
        plan: READ,
        apply: WRITE,
        names: &[],
        of: For::Bundle,
        why: "the chart",
    },
    Rule {
        group: "rbac.authorization.k8s.io",
        resources: &["clusterroles", "roles"],
        plan: &[],
        apply: &["escalate", "bind"],
        names: &["karpenter", "karpenter-core", "karpenter-admin", "karpenter-dns", "karpenter-lease"],
        of: For::Bundle,
        why: "the chart's roles hold what the controller needs, which is not given to you",
    },
];

/// The ClusterRole of a phase, as YAML.
pub fn cluster_role(phase: Phase) -> String {
    let name = match phase {
        Phase::Plan => "karpenter-tofu-plan",
        Phase::Apply => "karpenter-tofu-apply",
    };
    let mut text = format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: {name}\nrules:\n");
    for Rule { group, resources, plan, apply, names, of, why } in RULES {
        let verbs: Vec<&str> = plan.iter().chain(apply.iter().filter(|_| phase == Phase::Apply)).copied().collect();
        if verbs.is_empty() {
            continue;
        }
        let _ = writeln!(text, "  # {}: {why}", of.name().replace('`', ""));
        let _ = writeln!(text, "  - apiGroups: [\"{group}\"]\n    resources: [{}]", resources.join(", "));
        if !names.is_empty() {
            let _ = writeln!(text, "    resourceNames: [{}]", names.join(", "));
        }
        let _ = writeln!(text, "    verbs: [{}]", verbs.join(", "));
    }
    text
}
