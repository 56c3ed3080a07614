//! Texts and numbers to make configurations of. Each attribute takes those that its constraints admit.

/// Valid somewhere; many mean the same as another.
pub const TEXTS: [&str; 74] = [
    "default", "trino-xsmall", "a", "team-b", "spot", "on-demand", "arm64", "amd64", "r8g.large", "m5.large",
    "1", "2", "1000m", "2000m", "1Gi", "1024Mi", "1073741824", "1.5", "1500m", "0", "0.0", "2e3", "2k", "4000Gi", "100Gi", "20G", "2Ti",
    "30s", "0s", "60s", "1m", "5m", "60m", "1h", "1h30m", "90m", "720h", "24h", "Never",
    "10%", "100%", "5", "@daily", "0 9 * * 1-5", "0 0 * * *",
    "team", "example.com/team", "kubernetes.io/arch", "karpenter.sh/capacity-type", "node.kubernetes.io/instance-type", "nodes", "cpu", "memory",
    "al2023@latest", "al2@v20240807", "bottlerocket@v1.2.3", "{{ cluster_name }}@latest",
    "ami-0123456789abcdef0", "subnet-0a1b2c3d", "sg-0a1b2c3d", "cr-0a1b2c3d", "pg-0a1b2c3d", "123456789012",
    "demo", "arn:aws:eks:eu-central-1:123456789012:cluster/demo", "other", "1.14.1", "kube-system",
    "{{ cluster_name }}-node", "{{ ext_account_id }}-private*", "{{cluster_name}}/{{ext_account_id}}", "#!/bin/sh\necho {{ words }}\n", "/dev/xvda", "*",
];

/// Two clusters, one of them by two names.
pub const CLUSTERS: [&str; 3] = ["demo", "arn:aws:eks:eu-central-1:123456789012:cluster/demo", "other"];

/// Valid hardly anywhere.
pub const GARBAGE: [&str; 14] = [
    "", " ", "{{ bad }}", "{{", "}}{{ cluster_name", "Ünïcødé 🦀", "UPPER/lower/again", "-1", "99999999999999999999999999Ei", "9999999999999999999h",
    "\u{0}", "a\nb", "null", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

/// Out of most bounds.
pub const NUMBERS: [&str; 8] = ["-1", "0", "0.5", "2147483648", "9223372036854775807", "18446744073709551616", "1e30", "-0.1"];
