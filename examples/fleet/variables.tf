variable "clusters" {
  description = "The EKS clusters of this account and region, by name, and the version of Karpenter that each is to have."
  type        = map(object({ karpenter_version = string }))
}

variable "default_cluster" {
  description = "The cluster of whatever names none."
  type        = string
}

variable "chart_repository" {
  description = "Where Karpenter's charts are pulled from."
  type        = string
  default     = "oci://public.ecr.aws/karpenter"
}
