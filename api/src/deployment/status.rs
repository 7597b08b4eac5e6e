//! `status`: what the operator applied and observed.
use super::{AutoscalingStatus, Device, MetricsMode, TracingMode};
use crate::{
    server_config::{LoadStage, LoadedModel},
    value::Duration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator applied and observed.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LLMDeploymentStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is true now; `Ready` sums it up.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
    /// Number of pods.
    #[serde(default)]
    pub replicas: i32,
    /// Number of pods that serve.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The number of pods that the operator chose, with `spec.autoscaling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
    /// The pods' label selector, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Where requests go inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The server image, pinned at creation, so that a new operator does not restart models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What `image` is for; the processor where it does not say. With another device, another image is pinned.
    #[serde(default, skip_serializing_if = "Device::is_cpu")]
    pub image_device: Device,
    /// How far loading has come in the pod that is furthest behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// The loaded model, as the server reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<LoadedModel>,
    /// How long the pods that serve took to become Ready, or since when that is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Startup>,
    /// Figures over the last minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<Performance>,
    /// Alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<AlertStatus>,
    /// Where metrics and traces go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability: Option<ObservabilityStatus>,
}

/// Where metrics and traces go, after `Auto` has been decided.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservabilityStatus {
    /// How metrics are collected; never `Auto`.
    pub metrics: MetricsMode,
    /// How traces are collected; never `Auto`.
    pub tracing: TracingMode,
    /// Prometheus, where its address is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<String>,
    /// Where spans are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<String>,
}

/// How far loading has come.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// What the server is doing.
    pub stage: LoadStage,
    /// Progress within the stage, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
    /// Estimated time left in the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Duration>,
}

/// One way to Ready. Time without wanted replicas belongs to none.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Startup {
    /// When the resource was made or changed, or was Ready no more (RFC 3339).
    pub began: String,
    /// Time from then to Ready; absent until it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Duration>,
}

/// Figures over the last minutes, merged over all pods.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Performance {
    /// Time to first token; absent where no request got one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft: Option<Percentiles>,
    /// Time per output token; absent where no answer had two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpot: Option<Percentiles>,
    /// Generated tokens per second.
    pub tokens_per_second: String,
    /// Requests per second.
    pub requests_per_second: String,
    /// Share of failed requests.
    pub error_rate: String,
    /// Length of the window that the figures speak of.
    pub window: Duration,
    /// When they were taken (RFC 3339).
    pub observed_at: String,
}

/// Percentiles of a latency.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    /// Median.
    pub p50: Duration,
    /// 95th percentile.
    pub p95: Duration,
    /// 99th percentile.
    pub p99: Duration,
}

/// Alerts of this resource.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatus {
    /// Names of the alerts that fire, as the operator sees them in the pods' own metrics.
    #[serde(default)]
    pub firing: Vec<String>,
    /// The same in a few characters, for the table of `kubectl get`.
    #[serde(default)]
    pub summary: String,
    /// Folder of the runbooks; each alert's page is `<runbooksUrl>/<alert>.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbooks_url: Option<String>,
}
