#!/usr/bin/env bash
# package.sh [DIR [VERSION...]]   package the test charts into DIR (default: one that goes again) with Karpenter's own CRDs, and push them to
# oci://$LAB_REGISTRY/karpenter when that is set. VERSION: 1.14.1 unless given. Wants helm and karpenter-crds on the PATH.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
out=${1:-$work/packages}; shift $(( $# > 0 )); mkdir -p "$out"
[ $# -gt 0 ] || set -- 1.14.1

cp -r "$here/karpenter" "$here/karpenter-crd" "$work"
mkdir "$work/karpenter/crds"; rm -f "$work/karpenter-crd/templates/.gitkeep"
# One file a CRD, named after it, without what only a server fills in.
karpenter-crds | awk -v dir="$work/karpenter/crds" '
  function flush() { if (text != "") { printf "%s", text > (dir "/" group "_" plural ".yaml"); text = "" } }
  /^---$/ { flush(); skip = 0; next }
  /^status:/ { skip = 1 }
  skip || /^  creationTimestamp: null$/ { next }
  /^  group: / { group = $2 }
  /^    plural: / { plural = $2 }
  { text = text $0 "\n" }
  END { flush() }'
for crd in "$work"/karpenter/crds/*.yaml; do
  awk '{ print } /^  annotations:$/ && !done { done = 1
    print "    {{- with .Values.additionalAnnotations }}\n      {{- toYaml . | nindent 4 }}\n    {{- end }}" }' \
    "$crd" > "$work/karpenter-crd/templates/${crd##*/}"
done
for version in "$@"; do
  for chart in karpenter karpenter-crd; do
    helm package "$work/$chart" --version "$version" --app-version "$version" --destination "$out"
    [ -z "${LAB_REGISTRY:-}" ] || helm push --plain-http "$out/$chart-$version.tgz" "oci://$LAB_REGISTRY/karpenter"
  done
done
