//! Labels that Karpenter sets itself, so that neither a requirement nor a template may.

use std::collections::BTreeMap;

/// In Karpenter's own domain, the one label that is open.
const OF_KARPENTER: [&str; 1] = ["karpenter.sh/capacity-type"];

/// The labels of the AWS provider's domain that it sets on nodes and understands in requirements.
const OF_AWS: [&str; 28] = [
    "karpenter.k8s.aws/capacity-reservation-id",
    "karpenter.k8s.aws/capacity-reservation-interruptible",
    "karpenter.k8s.aws/capacity-reservation-type",
    "karpenter.k8s.aws/ec2nodeclass",
    "karpenter.k8s.aws/instance-accelerator-count",
    "karpenter.k8s.aws/instance-accelerator-manufacturer",
    "karpenter.k8s.aws/instance-accelerator-name",
    "karpenter.k8s.aws/instance-capability-flex",
    "karpenter.k8s.aws/instance-category",
    "karpenter.k8s.aws/instance-cpu",
    "karpenter.k8s.aws/instance-cpu-manufacturer",
    "karpenter.k8s.aws/instance-cpu-sustained-clock-speed-mhz",
    "karpenter.k8s.aws/instance-ebs-bandwidth",
    "karpenter.k8s.aws/instance-encryption-in-transit-supported",
    "karpenter.k8s.aws/instance-family",
    "karpenter.k8s.aws/instance-generation",
    "karpenter.k8s.aws/instance-gpu-count",
    "karpenter.k8s.aws/instance-gpu-manufacturer",
    "karpenter.k8s.aws/instance-gpu-memory",
    "karpenter.k8s.aws/instance-gpu-name",
    "karpenter.k8s.aws/instance-hypervisor",
    "karpenter.k8s.aws/instance-local-nvme",
    "karpenter.k8s.aws/instance-memory",
    "karpenter.k8s.aws/instance-network-bandwidth",
    "karpenter.k8s.aws/instance-size",
    "karpenter.k8s.aws/instance-tenancy",
    "karpenter.k8s.aws/placement-group-id",
    "karpenter.k8s.aws/placement-group-partition",
];

/// Versions of Karpenter from which on some of these can be used.
const SINCE: [(&str, &str); 6] = [
    ("karpenter.k8s.aws/capacity-reservation-id", "1.3.0"),
    ("karpenter.k8s.aws/capacity-reservation-interruptible", "1.10.0"),
    ("karpenter.k8s.aws/capacity-reservation-type", "1.6.0"),
    ("karpenter.k8s.aws/instance-tenancy", "1.9.0"),
    ("karpenter.k8s.aws/placement-group-id", "1.11.0"),
    ("karpenter.k8s.aws/placement-group-partition", "1.11.0"),
];

/// Labels that came later, with the version of Karpenter that brought them.
pub fn since() -> BTreeMap<&'static str, &'static str> {
    SINCE.into()
}

/// Checks a label that a pool asks for or puts on its nodes.
///
/// # Errors
/// Why it cannot, and what can stand there instead.
pub fn check(key: &str) -> Result<(), String> {
    let domain = key.split('/').next().unwrap_or_default();
    if key == "karpenter.sh/nodepool" || key == "kubernetes.io/hostname" {
        return Err(format!("Karpenter sets {key:?} itself, to the name of the pool or the node. Leave it out."));
    }
    let (within, open): (&str, &[&str]) = match domain {
        _ if domain.ends_with("karpenter.sh") => ("karpenter.sh", &OF_KARPENTER),
        _ if domain.ends_with("karpenter.k8s.aws") => ("karpenter.k8s.aws", &OF_AWS),
        _ => return Ok(()),
    };
    if open.contains(&key) {
        return Ok(());
    }
    let nearest = open.iter().min_by_key(|one| distance(one, key)).copied().unwrap_or_default();
    Err(format!("{key:?} is in a domain of Karpenter's, {within}, and no label of it that can be used. The nearest one is {nearest:?}."))
}

/// How many characters must be put in, taken out or exchanged to make one text of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let best = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_the_open_labels_of_karpenters_domains_can_be_used() {
        for good in ["karpenter.sh/capacity-type", "karpenter.k8s.aws/instance-family", "kubernetes.io/arch", "example.com/team", "team"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "karpenter.sh/nodepool",
            "kubernetes.io/hostname",
            "karpenter.sh/x",
            "a.karpenter.sh/x",
            "karpenter.sh",
            "xkarpenter.k8s.aws/x",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        let typo = check("karpenter.k8s.aws/instance-familiy").expect_err("no such label");
        assert!(typo.ends_with("The nearest one is \"karpenter.k8s.aws/instance-family\"."), "{typo}");
    }
}
