# A fleet: one provider block, and a bundle, a node class and a pool on each of several clusters, each with the version of Karpenter that
# it is to have. Nothing here is per cluster but the map: no provider aliases, no kubeconfig, no modules that pass providers on.
#
# An upgrade is one version in the map: the clusters go one after the other, in as many applies as there are changes to the map.

provider "karpenter" {
  cluster_name = var.default_cluster
}

resource "karpenter_bundle" "this" {
  for_each = var.clusters

  cluster_name = each.key
  version      = each.value.karpenter_version

  chart {
    repository = var.chart_repository
  }
}

resource "karpenter_nodeclass" "default" {
  for_each = var.clusters

  cluster_name = each.key
  name         = "default"
  ami_family   = "AL2023"
  role         = karpenter_bundle.this[each.key].node_role_name

  ami_selector_term {
    alias = "al2023@latest"
  }
  subnet_selector_term {
    tags = { "karpenter.sh/discovery" = "{{ cluster_name }}" } # the class's own cluster
  }
  security_group_selector_term {
    tags = { "karpenter.sh/discovery" = "{{ cluster_name }}" }
  }
}

resource "karpenter_nodepool" "general" {
  for_each = var.clusters

  cluster_name = each.key
  name         = "general"
  limits       = { cpu = "500" }

  template {
    node_class_ref {
      name = karpenter_nodeclass.default[each.key].name
    }
    requirements = {
      "kubernetes.io/arch"         = ["amd64"]
      "karpenter.sh/capacity-type" = ["spot", "on-demand"]
    }
  }
}

# It names no cluster: it is made on the default one, and stays there when the default moves. Only a `cluster_name` that is written here,
# and is another, replaces it.
resource "karpenter_nodepool" "canary" {
  name   = "canary"
  weight = 10
  limits = { cpu = "16" }

  template {
    node_class_ref {
      name = karpenter_nodeclass.default[var.default_cluster].name
    }
    requirements = { "kubernetes.io/arch" = ["arm64"] }
    taint {
      key    = "canary"
      effect = "NoSchedule"
    }
  }
}
