# Classes and pools beyond the seed stack, on a cluster that has Karpenter 1.14 already: a tuned class, pools with every kind of
# requirement and budget, a static pool, and pools kept as Karpenter manifests. The only input is the cluster's name.

provider "karpenter" {
  cluster_name = var.cluster_name
}

resource "karpenter_nodeclass" "tuned" {
  name            = "tuned"
  role            = "{{ cluster_name }}-karpenter-node-role"
  ip_prefix_count = 1
  tags            = { team = "data" }

  ami_selector_term {
    alias = "al2023@latest"
  }
  subnet_selector_term {
    tags = { Name = "{{ ext_account_id }}-private*" }
  }
  security_group_selector_term {
    tags = { Name = "{{ cluster_name }}-node" }
  }
  block_device_mapping {
    device_name = "/dev/xvda"
    ebs {
      volume_size = "200Gi"
      volume_type = "gp3"
      iops        = 6000
      throughput  = 250
      encrypted   = true
    }
  }
  kubelet {
    max_pods      = 58
    kube_reserved = { cpu = "200m", memory = "512Mi" }
    eviction_hard = { "memory.available" = "5%" }
  }
  connection_tracking {
    tcp_established_timeout = 600
  }
}

resource "karpenter_nodeclass" "from_catalog" {
  manifest = file("${path.module}/class.yaml")
}

resource "karpenter_nodepool" "batch" {
  name   = "batch"
  limits = { cpu = "500" }

  disruption {
    consolidation_policy = "Balanced"
    consolidate_after    = "10m"
    budget {
      nodes = "20%"
    }
    budget { # none while the nightly jobs run
      nodes    = "0"
      schedule = "0 1 * * *"
      duration = "4h"
      reasons  = ["Underutilized", "Drifted"]
    }
  }
  template {
    termination_grace_period = "1h"
    labels                   = { team = "data" }
    node_class_ref {
      name = karpenter_nodeclass.tuned.name
    }
    requirements = {
      "kubernetes.io/os"           = ["linux"]
      "karpenter.sh/capacity-type" = ["spot", "on-demand"]
    }
    requirement {
      key        = "karpenter.k8s.aws/instance-family"
      operator   = "In"
      values     = ["m7g", "m8g", "r8g"]
      min_values = 2
    }
    requirement {
      key      = "karpenter.k8s.aws/instance-cpu"
      operator = "Gte"
      values   = ["4"]
    }
    requirement {
      key      = "node.kubernetes.io/instance-type"
      operator = "NotIn"
      values   = ["m7g.metal"]
    }
    startup_taint {
      key    = "node.cilium.io/agent-not-ready"
      effect = "NoExecute"
    }
  }
}

resource "karpenter_nodepool" "static" {
  name     = "static"
  replicas = 2
  limits   = { nodes = "4" }

  template {
    node_class_ref {
      name = karpenter_nodeclass.tuned.name
    }
    requirements = { "node.kubernetes.io/instance-type" = ["m7g.large"] }
  }
}

resource "karpenter_nodepool" "from_catalog" {
  for_each = fileset(path.module, "pools/*.yaml")
  manifest = file("${path.module}/${each.key}")
}

check "karpenter" {
  assert {
    condition     = alltrue([for pool in karpenter_nodepool.from_catalog : pool.ready])
    error_message = "Karpenter does not report every pool as Ready: see `kubectl describe nodepools`."
  }
}
