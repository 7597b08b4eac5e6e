//! `spec.autoscaling`: the operator chooses the number of pods, and `status.autoscaling`: what it chose.
use crate::value::Duration;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Let the operator choose the number of pods from the requests that wait and run.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("self.minReplicas >= 1").message("autoscaling: write a minReplicas of 1 or more, because nothing would wake a model without pods; to switch the model off, write replicas: 0 in place of autoscaling"))]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("autoscaling: write a minReplicas that is not above maxReplicas"))]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// Fewest pods; 1 or more.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub min_replicas: i32,
    /// Most pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// Waiting requests that each pod should have at most.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10000))]
    pub waiting_requests_per_replica: i32,
    /// Running requests that each pod should have at most; default: `engine.maxBatchSize`. With fewer,
    /// pods come before requests wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub running_requests_per_replica: Option<i32>,
    /// Pods are removed down to the highest number that was needed within this time.
    #[serde(default = "five_minutes")]
    pub scale_down_stabilization: Duration,
    /// Pods are added up to the lowest number that was needed within this time.
    #[serde(default)]
    pub scale_up_stabilization: Duration,
}

impl Autoscaling {
    /// The nearest number of pods that the limits allow; never 0, which nothing would end.
    pub fn clamp(&self, replicas: i32) -> i32 {
        let fewest = self.min_replicas.max(1);
        replicas.clamp(fewest, self.max_replicas.max(fewest))
    }
}

/// What the operator chose, and why.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingStatus {
    /// Number of pods that the operator asks for.
    pub desired_replicas: i32,
    /// Why it is this number, in one word.
    pub reason: String,
    /// The same in a sentence, with the figures of the moment in which the number or the reason changed.
    pub message: String,
    /// When the number last changed (RFC 3339); absent before its first change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<String>,
}

const fn one() -> i32 {
    1
}

const fn five_minutes() -> Duration {
    Duration::from_secs(300)
}
