#!/usr/bin/env bash
# demo.sh up PROVIDER | down   the seed stack in a lab of its own ($LAB_HOME/demo), applied with the real tofu.
# `up` can be repeated; `down` destroys the stack with tofu, shows what is left, and stops the servers.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); . "$here/lib.sh"
run=$LAB_HOME/demo; work=$run/workspace
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

lab_runs() { [ -f "$run/.environment" ] && [ -n "$(components)" ] && alive kube-apiserver && alive moto; }

up() {
  if lab_runs; then say "The lab runs already in $run"; else
    say "Starting a lab: Kubernetes API server, AWS emulator, OCI registry"
    CLUSTER_NAME=demo KARPENTER_READY=1 "$here/up.sh" "$run"
  fi
  . "$run/env"
  write_workspace "$1"
  . "$run/shell" > /dev/null
  [ -f "$run/before" ] || "$LAB_PYTHON" "$here/inventory.py" > "$run/before"
  say "tofu init"
  rm -rf .terraform .terraform.lock.hcl   # the provider may be another build than last time's
  tofu init
  say "tofu apply   (examples/seed-stack, cluster_name = \"$CLUSTER_NAME\")"
  tofu apply -auto-approve
  say "What exists now. kubectl:"
  kubectl get ec2nodeclasses.karpenter.k8s.aws,nodepools.karpenter.sh
  kubectl -n kube-system get deployment,serviceaccount -l app.kubernetes.io/name=karpenter
  say "helm list:"
  helm list -A
  say "AWS (boto3), what was not there before:"
  "$LAB_PYTHON" "$here/inventory.py" | grep -vxFf "$run/before" || echo "  nothing"
  say "The second plan is empty, with refresh"
  tofu plan -detailed-exitcode
  say "... and without refresh"
  tofu plan -detailed-exitcode -refresh=false
  say "Look around"
  cat <<T
  . $run/shell        # tofu, kubectl, helm and the AWS variables of this lab; changes to the configuration's directory
  tofu plan
  kubectl get nodepools -o yaml
  helm -n kube-system get values karpenter
  \$LAB_PYTHON $here/inventory.py      # everything in the AWS account
End it with: make demo-down
T
}

down() {
  lab_runs || { say "No demo is running in $run"; "$here/down.sh" "$run"; return; }
  . "$run/shell" > /dev/null
  local failed=0
  say "tofu destroy"
  tofu destroy -auto-approve || failed=1
  say "Left in the AWS account that was not there before (the spot service-linked role stays, by design):"
  "$LAB_PYTHON" "$here/inventory.py" | grep -vxFf "$run/before" || echo "  nothing"
  say "Left in the cluster (the CRDs stay, by design):"
  kubectl get crds -o name
  say "Stopping the servers"
  "$here/down.sh" "$run"; rm -rf "$run"
  return $failed
}

# A copy of the example beside the lab, so that its state goes when the lab goes; the provider comes from a mirror on disk, as after
# a release: `tofu init` finds it without a registry.
write_workspace() {
  local version=0.1.0 platform
  platform=$(go env GOOS)_$(go env GOARCH)
  mkdir -p "$work"; cp "$here"/../examples/seed-stack/*.tf "$work/"
  local plugins=$run/mirror/registry.opentofu.org/karpenter-tofu/karpenter/$version/$platform
  mkdir -p "$plugins"; ln -sfn "$1" "$plugins/terraform-provider-karpenter_v$version"
  cat > "$run/tofurc" <<T
provider_installation {
  filesystem_mirror {
    path = "$run/mirror"
  }
}
T
  cat > "$run/shell" <<T
. "$run/env"
export TF_CLI_CONFIG_FILE="$run/tofurc" CHECKPOINT_DISABLE=1
export TF_VAR_cluster_name=$CLUSTER_NAME TF_VAR_chart_repository=oci://$LAB_REGISTRY/karpenter
cd "$work"
T
}

case ${1:-} in
  up) up "${2:?the built provider}" ;;
  down) down ;;
  *) sed -n 2,3p "$0"; exit 2 ;;
esac
