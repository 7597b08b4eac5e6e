//! How a container of a target ended.
use serde::{Deserialize, Serialize};

/// The end of a container, as its pod's status tells it. Of each container only the last one is told there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Termination {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Kubernetes' reason, such as `OOMKilled` or `Error`.
    pub reason: String,
    /// Its exit status.
    pub exit_code: i32,
    /// When, in microseconds since 1970, by the clock of the pod's node; Kubernetes tells whole seconds.
    pub finished_at: u64,
}
