//! The bodies of `POST /v1/completions`.
use crate::http::{
    generation::Usage, parameters::Stop, routes::chat_completions::types::StreamOptions,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A text and how to go on with it. Fields of OpenAI's API that are not listed are accepted where
/// they ask for what happens anyway (such as `n: 1`) and refused otherwise.
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
    /// The same seed picks the same tokens.
    pub seed: Option<i64>,
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
    /// Always 0.
    pub index: u32,
    /// The text.
    pub text: String,
    /// Always null: log probabilities are not supported.
    pub logprobs: Option<()>,
    /// `stop` or `length`; null in the pieces of a stream before the last.
    pub finish_reason: Option<&'static str>,
}
