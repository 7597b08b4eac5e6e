//! prometheus-operator's PodMonitor and PrometheusRule, as far as they are written here.
use crate::observability::rules::RuleGroup;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// The API group and version of both kinds.
pub(in crate::deployment) const API_VERSION: &str = "monitoring.coreos.com/v1";

/// Which pods Prometheus scrapes, and how.
#[derive(Clone, CustomResource, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "monitoring.coreos.com",
    version = "v1",
    kind = "PodMonitor",
    namespaced,
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub(in crate::deployment) struct PodMonitorSpec {
    #[serde(default)]
    pub(in crate::deployment) selector: LabelSelector,
    #[serde(default)]
    pub(in crate::deployment) pod_metrics_endpoints: Vec<Endpoint>,
}

/// A port that is scraped.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::deployment) struct Endpoint {
    pub(in crate::deployment) port: String,
    pub(in crate::deployment) path: String,
    pub(in crate::deployment) interval: String,
    pub(in crate::deployment) relabelings: Vec<Relabeling>,
}

/// Sets a label of each series.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::deployment) struct Relabeling {
    pub(in crate::deployment) action: String,
    pub(in crate::deployment) source_labels: Vec<String>,
    pub(in crate::deployment) target_label: String,
}

/// Recording and alerting rules.
#[derive(Clone, CustomResource, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "monitoring.coreos.com",
    version = "v1",
    kind = "PrometheusRule",
    namespaced,
    derive = "PartialEq",
    schema = "disabled"
)]
pub(in crate::deployment) struct PrometheusRuleSpec {
    #[serde(default)]
    pub(in crate::deployment) groups: Vec<RuleGroup>,
}
