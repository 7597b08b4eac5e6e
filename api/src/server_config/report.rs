//! What the server says about loading: how far it is, and what is loaded.
use crate::{names::reasons::LoadProblem, value::Duration};
use serde::{Deserialize, Serialize};

/// Body of the server's start-up probe: how far loading has come. The operator copies it to
/// `status.load`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadReport {
    /// What the server is doing.
    pub stage: LoadStage,
    /// Progress within the stage, 0 to 100.
    pub percent: u8,
    /// Estimated time left in the stage, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Duration>,
    /// What is in the way for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<LoadProblem>,
    /// What is loaded, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<LoadedModel>,
}

impl LoadReport {
    /// So far, and nothing else to tell.
    pub const fn at(stage: LoadStage, percent: u8) -> Self {
        Self {
            stage,
            percent,
            remaining: None,
            problem: None,
            model: None,
        }
    }
}

/// A stage of loading, in order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "kubernetes", derive(schemars::JsonSchema))]
pub enum LoadStage {
    /// Nothing was asked for yet (`preload: false`).
    Waiting,
    /// The model's files are fetched.
    Downloading,
    /// The checksum is being computed.
    Verifying,
    /// Weights are being read.
    ReadingWeights,
    /// A first generation runs.
    WarmingUp,
    /// The model serves.
    Loaded,
}

/// Facts about the loaded model.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "kubernetes", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LoadedModel {
    /// The name that requests use.
    pub name: String,
    /// The architecture that the weights declare.
    pub architecture: String,
    /// The precision of most weights.
    pub precision: String,
    /// Where it runs: `cpu` or `cuda`.
    pub device: String,
    /// What computes it: `kernels`, `candle`, or one sequence at a time `candle-transformers`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub backend: String,
    /// Longest sequence (prompt and answer) in tokens.
    #[cfg_attr(feature = "kubernetes", schemars(with = "i64"))]
    pub context_length: u64,
    /// Bytes of the weights in memory.
    #[cfg_attr(feature = "kubernetes", schemars(with = "i64"))]
    pub weights_bytes: u64,
    /// Bytes that the KV cache may take.
    #[cfg_attr(feature = "kubernetes", schemars(with = "i64"))]
    pub kv_cache_bytes: u64,
    /// Bytes that one token takes in the KV cache, in all layers. Servers before it do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kubernetes", schemars(with = "Option<i64>"))]
    pub kv_bytes_per_token: Option<u64>,
}
