//! `spec.rollout`: how a change reaches the pods.
use crate::value::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a change reaches the pods.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// `Auto` replaces pods one by one, but stops the old one first where a second one may not find
    /// room beside it (GPUs, a cache that one node uses at a time).
    pub strategy: RolloutStrategy,
    /// How long a pod that is being stopped may finish its running requests.
    pub drain_timeout: Duration,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: RolloutStrategy::Auto,
            drain_timeout: Duration::from_secs(60),
        }
    }
}

/// An order of stopping and starting.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum RolloutStrategy {
    /// Recreate with GPUs or a cache in mode `ReadWriteOnce`, otherwise Rolling.
    #[default]
    Auto,
    /// The new pod becomes Ready before an old one stops.
    Rolling,
    /// The old pods stop before new ones start.
    Recreate,
}
