//! `spec.autoscaling`: the operator chooses the number of pods.
use crate::value::Duration;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Let the operator choose the number of pods from the requests that wait and run.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("autoscaling: write a minReplicas that is not above maxReplicas"))]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// Fewest pods.
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
    /// Running requests that each pod should have at most; default: `engine.maxBatchSize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub running_requests_per_replica: Option<i32>,
    /// How long the highest wish of the past is kept before pods are removed.
    #[serde(default = "five_minutes")]
    pub scale_down_stabilization: Duration,
    /// How long the lowest wish of the past is kept before pods are added.
    #[serde(default)]
    pub scale_up_stabilization: Duration,
}

const fn one() -> i32 {
    1
}

const fn five_minutes() -> Duration {
    Duration::from_secs(300)
}
