//! The bodies of `POST /v1/chat/completions`.
use super::tools::{AnswerCall, MadeCall, Tool, ToolChoice};
use crate::http::{generation::Usage, json_body::JsonBody, response_format::ResponseFormat};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A conversation and how to answer it. Fields of OpenAI's API that are not listed are accepted
/// where they ask for what happens anyway (such as `store: false`) and refused otherwise.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatRequest {
    /// The served model's name, see `GET /v1/models`.
    pub model: String,
    /// The conversation so far; at least one message.
    pub messages: Vec<Message>,
    /// Most tokens to generate; default: what the context holds.
    #[schema(minimum = 1)]
    pub max_tokens: Option<usize>,
    /// OpenAI's newer name of `max_tokens`.
    #[schema(minimum = 1)]
    pub max_completion_tokens: Option<usize>,
    /// Answers to the one prompt; each is a generation of its own.
    #[schema(minimum = 1, maximum = 128, default = 1)]
    pub n: Option<usize>,
    /// Report each token's log probability.
    #[serde(default)]
    pub logprobs: bool,
    /// With those of this many of the likeliest tokens; needs `logprobs: true`.
    #[schema(maximum = 20)]
    pub top_logprobs: Option<usize>,
    /// What the model may call, where its chat template writes calls as Hermes and Qwen, Mistral, or
    /// Llama from 3.1 on do.
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// Whether it calls something; default: as it likes.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several things in one answer.
    #[schema(default = true)]
    pub parallel_tool_calls: Option<bool>,
    /// What form the answer has.
    pub response_format: Option<ResponseFormat>,
    /// Send the answer as it comes.
    #[serde(default)]
    pub stream: bool,
    /// What else a stream holds.
    pub stream_options: Option<StreamOptions>,
}

/// The whole body.
pub type ChatBody = JsonBody<ChatRequest>;

/// What else a stream holds.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamOptions {
    /// One more chunk before the end, with `usage`.
    #[serde(default)]
    pub include_usage: bool,
    /// `usage` so far in every chunk, as in vLLM.
    #[serde(default)]
    pub continuous_usage_stats: bool,
    /// Accepted and of no effect: chunks are not padded.
    #[serde(default)]
    pub include_obfuscation: bool,
}

/// One message of a conversation.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said; may be missing beside `tool_calls`.
    pub content: Option<Content>,
    /// What the assistant called.
    #[serde(default)]
    pub tool_calls: Vec<MadeCall>,
    /// The call that a tool's message answers.
    pub tool_call_id: Option<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// OpenAI's newer name of `system`.
    Developer,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// What the model called.
    Tool,
}

/// Text, whole or in parts.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "content is a string or an array of {\"type\": \"text\", \"text\": \"…\"}; images and audio are not supported"
)]
pub enum Content {
    /// Whole.
    Text(String),
    /// In parts, which are joined.
    Parts(Vec<TextPart>),
}

/// A part of a message.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum TextPart {
    /// Text; other types are not supported.
    Text {
        /// The text.
        text: String,
    },
}

/// The answer to a conversation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatCompletion {
    /// Names this answer.
    pub id: String,
    /// Always `chat.completion`.
    pub object: &'static str,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// As many as were asked for.
    pub choices: Vec<Choice>,
    /// Tokens in and out.
    pub usage: Usage,
}

/// An answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Choice {
    /// Which answer.
    pub index: usize,
    /// The message.
    pub message: AnswerMessage,
    /// Where they were asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// `stop`, `length` or `tool_calls`.
    pub finish_reason: &'static str,
}

/// The model's message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnswerMessage {
    /// Always `assistant`.
    pub role: &'static str,
    /// Its text; null where there are calls and nothing else.
    pub content: Option<String>,
    /// What the model calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<AnswerCall>,
    /// Always null.
    pub refusal: Option<()>,
}

/// One event of a streamed answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatCompletionChunk {
    /// Names this answer; the same in all its chunks.
    pub id: String,
    /// Always `chat.completion.chunk`.
    pub object: &'static str,
    /// When the answer began, in seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// One; none in the chunk that holds `usage`.
    pub choices: Vec<ChunkChoice>,
    /// In the last chunk, or so far in each, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// What a chunk adds to an answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChunkChoice {
    /// Which answer.
    pub index: usize,
    /// The addition.
    pub delta: Delta,
    /// Where they were asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// `stop`, `length` or `tool_calls` in the last chunk, null before.
    pub finish_reason: Option<&'static str>,
}

/// An addition to the model's message.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Delta {
    /// In the first chunk: `assistant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The next text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// What the model calls, each call whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<AnswerCall>,
}

/// The log probabilities of a message's tokens.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatLogprobs {
    /// One entry a token.
    pub content: Vec<ChatTokenLogprob>,
    /// Always null.
    pub refusal: Option<()>,
}

/// How likely the model held a token, and others in its place.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatTokenLogprob {
    /// What it spells, with � in place of half a character.
    pub token: String,
    /// The natural logarithm of its probability.
    pub logprob: f32,
    /// What it spells, as UTF-8.
    pub bytes: Vec<u8>,
    /// The likeliest tokens, in falling order.
    pub top_logprobs: Vec<ChatTopLogprob>,
}

/// A token that the model held likely.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatTopLogprob {
    /// What it spells, with � in place of half a character.
    pub token: String,
    /// The natural logarithm of its probability.
    pub logprob: f32,
    /// What it spells, as UTF-8.
    pub bytes: Vec<u8>,
}
