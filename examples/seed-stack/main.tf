# A whole Karpenter stack for one EKS cluster: IAM, Pod Identity, interruption queue and rules, node role, CRDs and chart
# (the bundle), one node class, and a pool each for trino, airflow and jupyterhub. The only input is the cluster's name.
#
# It follows an existing stack with three corrections, each marked "corrected" below:
#   1. its class named no AMI: here the newest Amazon Linux 2023, `al2023@latest`;
#   2. its airflow pool asked for arm64 on m5.large, which no instance type satisfies: here amd64;
#   3. its trino pool's weight of 50 is meant to lose against airflow's: here airflow says 100.

provider "karpenter" {
  cluster_name = var.cluster_name
}

resource "karpenter_bundle" "this" {
  chart {
    repository = var.chart_repository
  }
}

resource "karpenter_nodeclass" "default" {
  name                = "karpenter-nodeclass-default"
  ami_family          = "AL2023"
  role                = karpenter_bundle.this.node_role_name
  detailed_monitoring = true

  ami_selector_term { # corrected (1)
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
      volume_size           = "100Gi"
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }
}

resource "karpenter_nodepool" "trino_xsmall" {
  name   = "trino-xsmall"
  weight = 50 # lower than airflow-worker's: where a pod fits both, Karpenter tries the heavier pool first
  limits = { cpu = "1000", memory = "4000Gi" }

  disruption {
    consolidation_policy = "WhenEmptyOrUnderutilized"
    consolidate_after    = "5m"
  }
  template {
    expire_after = "720h"
    node_class_ref {
      name = karpenter_nodeclass.default.name
    }
    requirements = {
      "node.kubernetes.io/instance-type" = ["r8g.large"]
      "kubernetes.io/arch"               = ["arm64"]
      "kubernetes.io/os"                 = ["linux"]
      "karpenter.sh/capacity-type"       = ["on-demand", "spot"]
    }
    taint {
      key    = "trino-xsmall"
      effect = "NoSchedule"
    }
  }
}

resource "karpenter_nodepool" "airflow_worker" {
  name   = "airflow-worker"
  weight = 100 # corrected (3)
  limits = { cpu = "2000", memory = "8000Gi" }

  disruption {
    consolidation_policy = "WhenEmpty"
    consolidate_after    = "2m"
  }
  template {
    expire_after = "720h"
    node_class_ref {
      name = karpenter_nodeclass.default.name
    }
    requirements = {
      "node.kubernetes.io/instance-type" = ["m5.large"]
      "kubernetes.io/arch"               = ["amd64"] # corrected (2)
      "kubernetes.io/os"                 = ["linux"]
      "karpenter.sh/capacity-type"       = ["spot", "on-demand"]
    }
    taint {
      key    = "airflow-worker"
      effect = "NoSchedule"
    }
  }
}

resource "karpenter_nodepool" "jupyterhub_small" {
  name   = "jupyterhub-small"
  limits = { cpu = "1600", memory = "16000Gi" }

  disruption {
    consolidation_policy = "WhenEmptyOrUnderutilized"
    consolidate_after    = "5m"
  }
  template {
    node_class_ref {
      name = karpenter_nodeclass.default.name
    }
    requirements = {
      "node.kubernetes.io/instance-type" = ["t3.large", "t3.xlarge", "t3.2xlarge"]
      "kubernetes.io/arch"               = ["amd64"]
      "kubernetes.io/os"                 = ["linux"]
      "karpenter.sh/capacity-type"       = ["spot", "on-demand"]
    }
    taint {
      key    = "jupyterhub-small"
      effect = "NoSchedule"
    }
  }
}
