//! `spec.concurrencyPolicy` and `spec.records`: when a benchmark may run, and what it leaves behind.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether several benchmarks of one target may run at the same time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// It waits until the others have ended, so that no run measures another one's load.
    #[default]
    Queue,
    /// It runs at once.
    Allow,
}

/// Where the records of all requests are kept.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Records {
    /// A PersistentVolumeClaim of yours; each run gets a folder of its name.
    #[schemars(length(min = 1, max = 253))]
    pub existing_claim: String,
}
