//! `spec.observability`: metrics, traces and dashboards.
use crate::value::{Duration, Percentage};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Metrics, traces and dashboards.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observability {
    /// How metrics are collected.
    pub metrics: Metrics,
    /// Where traces go.
    pub tracing: Tracing,
    /// Grafana dashboards.
    pub dashboards: Dashboards,
}

/// How metrics are collected.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// `Auto` creates a PodMonitor where the cluster serves that kind, and otherwise runs a
    /// Prometheus beside the model.
    #[serde(default)]
    pub mode: MetricsMode,
    /// How often Prometheus scrapes the pods and evaluates the rules.
    #[serde(default = "quarter_minute")]
    #[x_kube(validation = Rule::new("self.matches('[1-9]')").message("observability.metrics.interval: write a time above 0, such as 15s"))]
    pub interval: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            mode: MetricsMode::Auto,
            interval: quarter_minute(),
        }
    }
}

/// A way to collect metrics.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum MetricsMode {
    /// PodMonitor where that kind is served, otherwise Sidecar.
    #[default]
    Auto,
    /// A Prometheus in each pod.
    Sidecar,
    /// A PodMonitor for the Prometheus of the cluster.
    PodMonitor,
    /// Nothing; the server exports its metrics all the same.
    None,
}

/// Where traces go.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("self.mode != 'Endpoint' || has(self.endpoint)").message("observability.tracing: mode Endpoint needs an endpoint, such as http://collector.observability:4317"))]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// `Auto` sends to `endpoint` or the operator's own collector where one is set, and otherwise
    /// runs a Jaeger beside the model.
    #[serde(default)]
    pub mode: TracingMode,
    /// An OTLP collector that speaks gRPC, such as `http://collector.observability:4317`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/]+')").message("observability.tracing.endpoint: write an http:// or https:// address, such as http://collector.observability:4317"))]
    pub endpoint: Option<String>,
    /// Share of the requests without a sampling decision of their own that is traced.
    #[serde(default = "one_in_ten")]
    pub sampling_ratio: Percentage,
    /// A request that waits longer for its first token is always traced, and so is one that fails
    /// through the server's fault.
    #[serde(default = "two_seconds")]
    pub slow_first_token: Duration,
    /// Put prompts and answers into spans. They may hold personal data.
    #[serde(default)]
    pub capture_prompts: bool,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            mode: TracingMode::Auto,
            endpoint: None,
            sampling_ratio: one_in_ten(),
            slow_first_token: two_seconds(),
            capture_prompts: false,
        }
    }
}

const fn quarter_minute() -> Duration {
    Duration::from_secs(15)
}

const fn one_in_ten() -> Percentage {
    Percentage::of_hundred(10.0)
}

const fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

/// A way to collect traces.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum TracingMode {
    /// Endpoint where one is set, here or in the operator, otherwise Sidecar.
    #[default]
    Auto,
    /// To `endpoint`.
    Endpoint,
    /// A Jaeger in each pod.
    Sidecar,
    /// No traces.
    None,
}

/// Grafana dashboards.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Dashboards {
    /// Deliver them as ConfigMaps for Grafana's sidecar.
    pub enabled: bool,
}

impl Default for Dashboards {
    fn default() -> Self {
        Self { enabled: true }
    }
}
