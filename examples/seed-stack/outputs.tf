output "placement" {
  description = "What a workload's pod template needs, to run on a pool's nodes."
  value = {
    for pool in [karpenter_nodepool.trino_xsmall, karpenter_nodepool.airflow_worker, karpenter_nodepool.jupyterhub_small] :
    pool.name => {
      nodeSelector = pool.node_selector
      tolerations  = pool.tolerations
    }
  }
}

output "node_role_arn" {
  value = karpenter_bundle.this.node_role_arn
}

output "queue_url" {
  value = karpenter_bundle.this.queue_url
}
