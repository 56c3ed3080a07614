terraform {
  required_providers {
    karpenter = { source = "karpenter-tofu/karpenter" }
  }
}
