variable "cluster_name" {
  description = "The EKS cluster's name."
  type        = string
}
