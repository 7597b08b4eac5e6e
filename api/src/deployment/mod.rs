//! `LLMDeployment`: one model, served.
mod access;
mod alerts;
mod autoscaling;
mod engine;
mod model;
mod objectives;
mod observability;
mod patch;
mod pod;
mod resources;
mod rollout;
pub mod status;

pub use access::{Access, ApiKeys, NetworkPolicyAccess, Tls};
pub use alerts::{
    Alerts, ErrorRateAlert, MemoryAlert, Severity, ThroughputAlert, TimeToFirstTokenAlert,
};
pub use autoscaling::{Autoscaling, AutoscalingStatus};
pub use engine::Engine;
pub use model::{Credentials, Model, SecretReference};
pub use objectives::{LatencyObjective, Objectives};
pub use observability::{Dashboards, Metrics, MetricsMode, Observability, Tracing, TracingMode};
pub use patch::PatchError;
pub use pod::PodOverrides;
pub use resources::{Cache, CacheAccessMode, ComputeRequests, Device, DeviceClaim, Resources};
pub use rollout::{Rollout, RolloutStrategy};
pub use status::LLMDeploymentStatus;

use crate::precision::Precision;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Serves one language model behind an OpenAI-compatible endpoint, with its metrics, traces,
/// alerts and dashboards. Only `model.source` is required.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "candlepower.dev",
    version = "v1alpha1",
    kind = "LLMDeployment",
    plural = "llmdeployments",
    shortname = "llm",
    shortname = "llms",
    category = "all",
    namespaced,
    status = "LLMDeploymentStatus",
    derive = "PartialEq",
    doc = "Serves one language model behind an OpenAI-compatible endpoint, with its metrics, traces, alerts and dashboards.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Model", type_ = "string", json_path = ".status.model.name"),
    printcolumn(name = "Precision", type_ = "string", json_path = ".status.model.precision"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "TTFT-P95", type_ = "string", json_path = ".status.performance.ttft.p95"),
    printcolumn(name = "Tok/s", type_ = "string", json_path = ".status.performance.tokensPerSecond"),
    printcolumn(name = "Alerts", type_ = "string", json_path = ".status.alerts.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", priority = 1, json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Replicas", type_ = "string", priority = 1, json_path = ".status.readyReplicas"),
    printcolumn(name = "URL", type_ = "string", priority = 1, json_path = ".status.url"),
    validation = Rule::new("self.metadata.name.size() <= 50").message("metadata.name: write at most 50 characters, because the names and labels of the children are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name: write lower-case letters, digits and '-', starting with a letter, because the Service has the same name")
)]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))").message("set either spec.replicas or spec.autoscaling, not both: autoscaling owns the number of replicas"))]
#[x_kube(validation = Rule::new("self.observability.metrics.mode == 'None' || !self.alerts.window.matches('^([0-9.]+(ms|s|m|h))+$') || !self.observability.metrics.interval.matches('^([0-9.]+(ms|s|m|h))+$') || duration(self.alerts.window) >= duration(self.observability.metrics.interval) + duration(self.observability.metrics.interval) + duration(self.observability.metrics.interval) + duration(self.observability.metrics.interval)").message("alerts.window: write at least four times observability.metrics.interval, such as 5m for 15s, because a rate needs several scrapes"))]
#[x_kube(validation = Rule::new("!has(self.engine.kvCacheMemory) || !isQuantity(string(self.engine.kvCacheMemory)) || !isQuantity(string(self.resources.memory)) || quantity(string(self.engine.kvCacheMemory)).isLessThan(quantity(string(self.resources.memory)))").message("engine.kvCacheMemory: write less than resources.memory, which has to hold the weights, too"))]
#[serde(rename_all = "camelCase")]
pub struct LLMDeploymentSpec {
    /// Which model to serve and where it comes from.
    pub model: Model,
    /// How the weights are held in memory. `auto` keeps the precision of a quantised file and
    /// otherwise chooses by device and memory.
    #[serde(default)]
    pub precision: Precision,
    /// Load and warm up the model before a pod is Ready. With `false` it is loaded at the first
    /// request, which then waits.
    #[serde(default = "yes")]
    pub preload: bool,
    /// Number of pods; 1 when neither this nor `autoscaling` is set. An outside autoscaler may
    /// own this field by the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// Let the operator choose the number of pods from the requests that wait and run, in place of
    /// `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Batching and memory of the inference engine.
    #[serde(default)]
    pub engine: Engine,
    /// GPUs, CPU and memory of each pod.
    #[serde(default)]
    pub resources: Resources,
    /// A volume for fetched models, shared by all replicas. Without one, each pod fetches for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// Metrics, traces and dashboards.
    #[serde(default)]
    pub observability: Observability,
    /// Thresholds of the alerts.
    #[serde(default)]
    pub alerts: Alerts,
    /// Service level objectives; each one brings alerts for how fast its error budget burns.
    #[serde(default)]
    pub objectives: Objectives,
    /// Who may send requests.
    #[serde(default)]
    pub access: Access,
    /// How a change reaches the pods.
    #[serde(default)]
    pub rollout: Rollout,
    /// Additions to the pods.
    #[serde(default)]
    pub pod: PodOverrides,
}

impl LLMDeploymentSpec {
    /// The number of pods that the resource asks for, where no autoscaler decides.
    pub fn desired_replicas(&self) -> i32 {
        match &self.autoscaling {
            Some(autoscaling) => autoscaling.clamp(autoscaling.min_replicas),
            None => self.replicas.unwrap_or(1),
        }
    }
}

impl LLMDeployment {
    /// The number of pods that are wanted now: the autoscaler's, as the status has it, where there is one.
    pub fn wanted_replicas(&self) -> i32 {
        let status = self.status.as_ref();
        match status.and_then(|status| status.autoscaling.as_ref()) {
            Some(chosen) if self.spec.autoscaling.is_some() => chosen.desired_replicas,
            _ => self.spec.desired_replicas(),
        }
    }
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests;
