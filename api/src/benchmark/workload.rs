//! `spec.workload`: what the requests ask for.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the requests ask for.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Workload {
    /// The same seed makes the same requests.
    pub seed: i64,
    /// Prompt lengths and how often each occurs.
    #[schemars(length(min = 1, max = 32))]
    pub prompts: Vec<PromptMix>,
    /// Tokens that each answer may have.
    #[schemars(range(min = 1, max = 100_000))]
    pub output_tokens: i32,
    /// Ask for a stream; without one there is no time to first token.
    pub stream: bool,
}

/// One prompt length and how often it occurs.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptMix {
    /// Tokens of the prompt.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub tokens: i32,
    /// How often it occurs, relative to the others.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: i32,
}

impl Default for Workload {
    fn default() -> Self {
        let mix = |tokens, weight| PromptMix { tokens, weight };
        Self {
            seed: 1,
            prompts: vec![mix(64, 50), mix(128, 35), mix(256, 15)],
            output_tokens: 128,
            stream: true,
        }
    }
}
