{{/* Names, labels, and the selectors that are patched into what a user left without one. */}}
{{- define "karpenter.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "karpenter.fullname" -}}
{{- $own := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- trunc 63 .Values.fullnameOverride | trimSuffix "-" -}}
{{- else if contains $own .Release.Name -}}
{{- trunc 63 .Release.Name | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $own | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "karpenter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "karpenter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "karpenter.labels" -}}
{{- $chart := printf "%s-%s" .Chart.Name .Chart.Version -}}
helm.sh/chart: {{ $chart | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "karpenter.selectorLabels" . }}
{{- with .Chart.AppVersion }}
app.kubernetes.io/version: {{ . | quote }}
{{- end }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- if .Values.additionalLabels }}
{{ toYaml .Values.additionalLabels }}
{{- end }}
{{- end -}}

{{- define "karpenter.serviceAccountName" -}}
{{- $fallback := "default" -}}
{{- if .Values.serviceAccount.create -}}
{{- $fallback = include "karpenter.fullname" . -}}
{{- end -}}
{{- default $fallback .Values.serviceAccount.name -}}
{{- end -}}

{{- define "karpenter.controller.image" -}}
{{- with .Values.controller.image -}}
{{- $tag := .tag | default (print $.Chart.AppVersion) -}}
{{- if not .digest -}}
{{- printf "%s:%s" .repository $tag -}}
{{- else -}}
{{- printf "%s:%s@%s" .repository $tag .digest -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "karpenter.pdb.apiVersion" -}}
{{- if and (.Capabilities.APIVersions.Has "policy/v1") (semverCompare ">= 1.21-0" .Capabilities.KubeVersion.Version) -}}
{{- print "policy/v1" -}}
{{- else -}}
{{- print "policy/v1beta1" -}}
{{- end -}}
{{- end -}}

{{/* All gates as NAME=VALUE; those that are on are named again, for a test of lists. */}}
{{- define "karpenter.featureGates" -}}
{{- $all := list -}}
{{- $on := list "None" -}}
{{- range $gate, $value := .Values.settings.featureGates -}}
{{- $all = append $all (printf "%s=%v" $gate $value) -}}
{{- if or (eq (toString $value) "true") (eq (toString $value) "1") -}}
{{- $on = append $on $gate -}}
{{- end -}}
{{- end -}}
{{- join "," $all -}}
{{- if has "spotToSpotConsolidation" $on -}},Spot=2{{- end -}}
{{- end -}}

{{/* Sets ._target.labelSelector, which changes .Values: maps are passed by reference. */}}
{{- define "karpenter.patchLabelSelector" -}}
{{- if not (hasKey ._target "labelSelector") -}}
{{- $labels := include "karpenter.selectorLabels" . | fromYaml -}}
{{- $_ := set ._target "labelSelector" (dict "matchLabels" $labels) -}}
{{- end -}}
{{- end -}}

{{- define "karpenter.patchPodAffinity" -}}
{{- $context := . -}}
{{- if hasKey ._podAffinity "requiredDuringSchedulingIgnoredDuringExecution" -}}
{{- range $term := ._podAffinity.requiredDuringSchedulingIgnoredDuringExecution -}}
{{- include "karpenter.patchLabelSelector" (merge (dict "_target" $term) $context) -}}
{{- end -}}
{{- end -}}
{{- if hasKey ._podAffinity "preferredDuringSchedulingIgnoredDuringExecution" -}}
{{- range $index, $weighted := ._podAffinity.preferredDuringSchedulingIgnoredDuringExecution -}}
{{- include "karpenter.patchLabelSelector" (merge (dict "_target" $weighted.podAffinityTerm) $context) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "karpenter.patchAffinity" -}}
{{- if hasKey .Values.affinity "podAffinity" -}}
{{- include "karpenter.patchPodAffinity" (merge (dict "_podAffinity" .Values.affinity.podAffinity) .) -}}
{{- end -}}
{{- if hasKey .Values.affinity "podAntiAffinity" -}}
{{- include "karpenter.patchPodAffinity" (merge (dict "_podAffinity" .Values.affinity.podAntiAffinity) .) -}}
{{- end -}}
{{- end -}}

{{- define "karpenter.patchTopologySpreadConstraints" -}}
{{- range .Values.topologySpreadConstraints -}}
{{- include "karpenter.patchLabelSelector" (merge (dict "_target" .) $) -}}
{{- end -}}
{{- end -}}
