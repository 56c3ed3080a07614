//! Classes and pools that make use of everything, as somebody wrote them for kubectl.

/// The manifests; `CLUSTER` stands for the cluster's name.
pub const MANIFESTS: &str = r#"
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata:
  name: default
  labels: {team: data}
spec:
  amiFamily: AL2023
  role: CLUSTER-node
  detailedMonitoring: true
  instanceStorePolicy: RAID0
  amiSelectorTerms: [{alias: al2023@latest}]
  subnetSelectorTerms:
    - tags: {Name: "private-*", "kubernetes.io/cluster/CLUSTER": "*"}
    - id: subnet-0123456789abcdef0
  securityGroupSelectorTerms: [{tags: {Name: CLUSTER-node}}]
  blockDeviceMappings:
    - deviceName: /dev/xvda
      rootVolume: true
      ebs: {volumeSize: 100Gi, volumeType: gp3, encrypted: true, iops: 3000}
  metadataOptions: {httpTokens: required, httpPutResponseHopLimit: 2}
  kubelet:
    maxPods: 42
    clusterDNS: ["10.0.0.10"]
    kubeReserved: {cpu: 100m, memory: 200Mi}
    evictionHard: {memory.available: 5%}
    evictionSoft: {memory.available: 10%, nodefs.available: 15%}
    evictionSoftGracePeriod: {memory.available: 1m, nodefs.available: 2m0s}
  tags: {team: data, "größe": "ein \"Zitat\" und ${x}", for: null-ish}
  userData: |
    #!/bin/bash
    	# a tab, a \ and "quotes"
    echo "${HOME} $${x} $(date) %{ if true } %%{y} {{ ds }}"
    cat <<EOT >> /etc/motd
    EOT
---
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: 4th.class}
spec:
  instanceProfile: nodes
  amiFamily: Custom
  amiSelectorTerms: [{id: ami-0123456789abcdef0}, {name: "golden-*", owner: self}]
  subnetSelectorTerms: [{tags: {Name: private}}]
  securityGroupSelectorTerms: [{id: sg-0123456789abcdef0}]
  associatePublicIPAddress: false
  userData: "one\r\ntwo\nthree \\ \"four\""
---
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: 4th-class}
spec:
  role: nodes
  amiSelectorTerms: [{alias: bottlerocket@v1.20.3}]
  subnetSelectorTerms: [{tags: {Name: private}}]
  securityGroupSelectorTerms: [{tags: {Name: node}}]
  userData: |-
    [settings.kubernetes]
    "node-labels" = { a = "b" }
---
apiVersion: v1
kind: ConfigMap
metadata: {name: beside-the-pools, namespace: default}
data: {a: b}
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata:
  name: trino-xsmall
  labels: {team: data}
  annotations: {"example.com/note": "for {{ ds }}\nand ${more}"}
spec:
  weight: 50
  limits: {cpu: 1000, memory: 4000Gi}
  disruption:
    consolidationPolicy: WhenEmpty
    consolidateAfter: 5m
    budgets:
      - nodes: 20%
        reasons: [Empty, Drifted]
      - nodes: "0"
        schedule: "@daily"
        duration: 10m
  template:
    metadata:
      labels: {example.com/role: worker}
      annotations: {example.com/template: "%{ for }"}
    spec:
      expireAfter: 48h
      terminationGracePeriod: 30s
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      requirements:
        - {key: karpenter.sh/capacity-type, operator: In, values: [spot, on-demand]}
        - {key: karpenter.k8s.aws/instance-generation, operator: Gt, values: ["4"]}
        - {key: kubernetes.io/arch, operator: In, values: [arm64, amd64], minValues: 2}
        - {key: example.com/special, operator: DoesNotExist}
        - {key: topology.kubernetes.io/zone, operator: NotIn, values: [us-east-1e]}
        - key: node.kubernetes.io/instance-type
          operator: In
          values: [m5.large, m5.xlarge, m5.2xlarge, m6g.large, m6g.xlarge, m6g.2xlarge, m7g.large, m7g.xlarge, m7g.2xlarge]
      taints:
        - {key: dedicated, value: trino, effect: NoSchedule}
        - {key: alone, effect: NoExecute}
      startupTaints: [{key: example.com/starting, effect: NoSchedule}]
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: trino.xsmall}
spec:
  template:
    spec:
      expireAfter: Never
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: 4th.class}
      requirements: [{key: kubernetes.io/os, operator: In, values: [linux]}]
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: for}
spec:
  replicas: 2
  limits: {nodes: "5"}
  disruption: {consolidateAfter: 0s, budgets: [{nodes: 10%}]}
  template:
    spec:
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: elsewhere}
      requirements: []
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: general-purpose}
spec:
  template:
    spec:
      nodeClassRef: {group: eks.amazonaws.com, kind: NodeClass, name: default}
      requirements: [{key: kubernetes.io/os, operator: In, values: [linux]}]
"#;

/// The manifests for a cluster.
pub fn manifests(cluster: &str) -> String {
    MANIFESTS.replace("CLUSTER", cluster)
}

/// Addresses of what is exported of them.
pub const ADDRESSES: [&str; 6] = [
    "karpenter_nodeclass._4th_class",
    "karpenter_nodeclass._4th_class_2",
    "karpenter_nodeclass.default",
    "karpenter_nodepool.for",
    "karpenter_nodepool.trino_xsmall",
    "karpenter_nodepool.trino_xsmall_2",
];
