{{- define "candlepower.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "candlepower.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "candlepower.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "candlepower.selectorLabels" -}}
app.kubernetes.io/name: {{ include "candlepower.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "candlepower.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "candlepower.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "candlepower.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "candlepower.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* repository:tag, with the chart's appVersion where no tag is given; a digest is a tag, too. */}}
{{- define "candlepower.image" -}}
{{- $tag := default .root.Chart.AppVersion .image.tag }}
{{- printf "%s%s%s" .image.repository (hasPrefix "sha256:" $tag | ternary "@" ":") $tag }}
{{- end }}

{{/* What the operator may do where its resources live: read them, and write their children. */}}
{{- define "candlepower.rules" -}}
# Written, too: a benchmark's temporary copies of a deployment, and the runs of its schedule.
- apiGroups: [candlepower.dev]
  resources: [llmdeployments, llmbenchmarks]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [candlepower.dev]
  resources: [llmdeployments/status, llmbenchmarks/status]
  verbs: [get, patch]
# Needed to own children where OwnerReferencesPermissionEnforcement is on, such as on OpenShift.
- apiGroups: [candlepower.dev]
  resources: [llmdeployments/finalizers, llmbenchmarks/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch]
# A benchmark's job gets an account that may read and patch the ConfigMap of its own report. Kubernetes lets the
# operator grant no right that it does not have itself.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, persistentvolumeclaims, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors, prometheusrules]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Why a node cannot start a pod is told by events alone.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
