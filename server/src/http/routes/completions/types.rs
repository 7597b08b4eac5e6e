//! The bodies of `POST /v1/completions`.
use crate::http::{
    generation::Usage,
    parameters::{LogitBias, Stop},
    response_format::ResponseFormat,
    routes::chat_completions::types::StreamOptions,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A text and how to go on with it. Fields of OpenAI's API that are not listed are accepted where
/// they ask for what happens anyway (such as `store: false`) and refused otherwise.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionRequest {
    /// The served model's name, see `GET /v1/models`.
    pub model: String,
    /// What to go on with.
    pub prompt: PromptField,
    /// Most tokens to generate; the default is OpenAI's.
    #[schema(minimum = 1, default = 16)]
    pub max_tokens: Option<usize>,
    /// 0 picks the most likely token; higher values vary more.
    #[schema(minimum = 0, maximum = 2, default = 1.0)]
    pub temperature: Option<f64>,
    /// Pick from the smallest set of tokens whose probabilities sum to this.
    #[schema(exclusive_minimum = 0, maximum = 1, default = 1.0)]
    pub top_p: Option<f64>,
    /// Pick from this many of the likeliest tokens; 0 or -1: from all.
    #[schema(minimum = -1, default = -1)]
    pub top_k: Option<i64>,
    /// Pick from tokens at least this times as likely as the likeliest.
    #[schema(minimum = 0, maximum = 1, default = 0.0)]
    pub min_p: Option<f64>,
    /// Above 1, tokens that prompt or answer have become less likely.
    #[schema(exclusive_minimum = 0, maximum = 2, default = 1.0)]
    pub repetition_penalty: Option<f64>,
    /// Above 0, tokens that the answer has become less likely.
    #[schema(minimum = -2, maximum = 2, default = 0.0)]
    pub presence_penalty: Option<f64>,
    /// Above 0, tokens become less likely each time that the answer has them.
    #[schema(minimum = -2, maximum = 2, default = 0.0)]
    pub frequency_penalty: Option<f64>,
    /// From token ids to -100 (never) … 100 (always), which is added to their logits.
    pub logit_bias: Option<LogitBias>,
    /// The same seed picks the same tokens.
    pub seed: Option<i64>,
    /// Answers to the one prompt; each is a generation of its own.
    #[schema(minimum = 1, maximum = 128, default = 1)]
    pub n: Option<usize>,
    /// Report each token's log probability, with those of this many of the likeliest tokens.
    #[schema(maximum = 5)]
    pub logprobs: Option<usize>,
    /// What form the answer has.
    pub response_format: Option<ResponseFormat>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Option<Stop>,
    /// Send the answer as it comes.
    #[serde(default)]
    pub stream: bool,
    /// What else a stream holds.
    pub stream_options: Option<StreamOptions>,
}

/// What to go on with.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "prompt is a string, an array of one string, or an array of token ids"
)]
pub enum PromptField {
    /// A text.
    Text(String),
    /// Exactly one text.
    Texts(Vec<String>),
    /// Token ids.
    Tokens(Vec<u32>),
    /// Exactly one array of token ids.
    TokenArrays(Vec<Vec<u32>>),
}

/// The answer, or one event of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TextCompletion {
    /// Names this answer.
    pub id: String,
    /// Always `text_completion`.
    pub object: &'static str,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// One; none in the chunk that holds `usage`.
    pub choices: Vec<TextChoice>,
    /// Tokens in and out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// A text, or a piece of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TextChoice {
    /// Which answer.
    pub index: usize,
    /// The text.
    pub text: String,
    /// Where they were asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// `stop` or `length`; null in the pieces of a stream before the last.
    pub finish_reason: Option<&'static str>,
}

/// The log probabilities of a text's tokens: one entry each in every list.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct CompletionLogprobs {
    /// What they spell.
    pub tokens: Vec<String>,
    /// How likely the model held them.
    pub token_logprobs: Vec<f32>,
    /// The likeliest tokens in their places; the token itself is one of them.
    pub top_logprobs: Vec<BTreeMap<String, f32>>,
    /// Characters of the answer before them.
    pub text_offset: Vec<usize>,
}
