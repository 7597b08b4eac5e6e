//! The bodies of `POST /v1/completions`.
use crate::http::{
    generation::Usage, json_body::JsonBody, response_format::ResponseFormat,
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
    /// Answers to the one prompt; each is a generation of its own.
    #[schema(minimum = 1, maximum = 128, default = 1)]
    pub n: Option<usize>,
    /// Report each token's log probability, with those of this many of the likeliest tokens.
    #[schema(maximum = 5)]
    pub logprobs: Option<usize>,
    /// What form the answer has.
    pub response_format: Option<ResponseFormat>,
    /// Send the answer as it comes.
    #[serde(default)]
    pub stream: bool,
    /// What else a stream holds.
    pub stream_options: Option<StreamOptions>,
}

/// The whole body.
pub type CompletionBody = JsonBody<CompletionRequest>;

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
    /// Tokens in and out; in a stream's chunks where it was asked for.
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
