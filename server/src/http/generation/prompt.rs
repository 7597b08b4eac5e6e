//! What goes into a generation, and its token ids.
use crate::{
    http::error::{ApiError, ErrorKind},
    load::ServedModel,
    text::{ChatMessage, TextError},
};
use serde_json::{Value, json};

/// What goes into a generation.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// A text to go on with.
    Text(String),
    /// A conversation; the model's template turns it into text.
    Chat {
        /// What was said.
        messages: Vec<ChatMessage>,
        /// Tools that may be called, in OpenAI's form.
        tools: Vec<Value>,
    },
    /// Token ids, as they are.
    Tokens(Vec<u32>),
}

impl Prompt {
    /// Token ids.
    pub(super) fn encode(self, model: &ServedModel) -> Result<Vec<u32>, ApiError> {
        match self {
            Self::Text(text) => model
                .tokenizer
                .encode(&text, true)
                .map_err(|error| unreadable("prompt", &error)),
            Self::Chat { messages, tools } => {
                let template = model.chat_template.as_ref().ok_or_else(|| {
                    ApiError::invalid(
                        "messages",
                        "this model has no chat template; use /v1/completions instead",
                    )
                })?;
                // The template writes the beginning-of-text token itself.
                template
                    .render_with_tools(&messages, &tools)
                    .and_then(|text| model.tokenizer.encode(&text, false))
                    .map_err(|error| unreadable("messages", &error))
            }
            Self::Tokens(tokens) => {
                let vocabulary = model.engine.limits().vocabulary;
                match tokens.iter().find(|id| **id as usize >= vocabulary) {
                    None => Ok(tokens),
                    Some(id) => Err(ApiError::invalid(
                        "prompt",
                        format!(
                            "the token id {id} is not in the vocabulary; ids are below {vocabulary}"
                        ),
                    )),
                }
            }
        }
    }

    /// In the form of OpenTelemetry's `gen_ai.input.messages`.
    pub(super) fn as_json(&self) -> String {
        let message = |role: &str, content: Value| json!({"role": role, "parts": [{"type": "text", "content": content}]});
        let messages: Vec<_> = match self {
            Self::Text(text) => vec![message("user", json!(text))],
            Self::Chat { messages, .. } => messages
                .iter()
                .map(|ChatMessage { role, content, .. }| message(role, json!(content)))
                .collect(),
            Self::Tokens(ids) => vec![message("user", json!(ids))],
        };
        Value::Array(messages).to_string()
    }
}

fn unreadable(param: &str, error: &TextError) -> ApiError {
    ApiError {
        kind: ErrorKind::InvalidRequest,
        message: error.to_string(),
        param: Some(param.to_owned()),
    }
}
