variable "cluster_name" {
  description = "The EKS cluster's name. Region and credentials come from the ordinary AWS chain, everything else from EKS."
  type        = string
}

variable "chart_repository" {
  description = "Where Karpenter's charts are: an OCI repository, a directory, or a .tgz."
  type        = string
  default     = "oci://public.ecr.aws/karpenter"
}
