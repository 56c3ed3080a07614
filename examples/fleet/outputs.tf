output "versions" {
  description = "The version of Karpenter that each cluster has, and whether it is ready."
  value       = { for name, bundle in karpenter_bundle.this : name => "${bundle.version}${bundle.ready ? "" : ", not ready"}" }
}
