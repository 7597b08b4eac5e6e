//! `spec.engine`: batching and memory of the inference engine.
use crate::value::{ByteSize, Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Batching and memory of the inference engine.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Engine {
    /// Sequences computed at once.
    #[schemars(range(min = 1, max = 1024))]
    pub max_batch_size: i32,
    /// How long an idle engine waits for company before the first step.
    pub max_batch_wait: Duration,
    /// Requests that may wait; one more is answered with 429.
    #[schemars(range(min = 0, max = 100_000))]
    pub max_queue_depth: i32,
    /// Longest sequence (prompt and answer) in tokens; default: the model's own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 10_000_000))]
    pub max_context_length: Option<i32>,
    /// Memory for the KV cache; default: what `maxBatchSize` sequences of full length need, or
    /// what the memory limit leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache_memory: Option<ByteSize>,
    /// Most prompt tokens computed in one step.
    #[schemars(range(min = 1, max = 65_536))]
    pub prefill_chunk: i32,
    /// Reuse the KV cache of equal prompt beginnings.
    pub prefix_caching: bool,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            max_batch_size: 16,
            max_batch_wait: Duration::default(),
            max_queue_depth: 256,
            max_context_length: None,
            kv_cache_memory: None,
            prefill_chunk: 512,
            prefix_caching: true,
        }
    }
}
