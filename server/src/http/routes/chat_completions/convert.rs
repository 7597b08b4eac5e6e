//! Chat requests to tasks, answers to chat completions.
use super::{
    logprobs,
    types::{
        AnswerMessage, ChatCompletion, ChatCompletionChunk, ChatRequest, Choice, ChunkChoice,
        Content, Delta, Message, ResponseFormat, Role, TextPart,
    },
};
use crate::{
    engine::FinishReason,
    http::{
        error::ApiError,
        generation::{Addition, Completion, Prompt, Task, Usage, Whole, sse::Chunks},
        identity::{self, StreamForm},
        parameters::Parameters,
    },
    text::{ChatMessage, GrammarSource},
};
use serde_json::json;

/// The task that a request asks for, and the form of its answer.
pub(super) fn task(request: ChatRequest) -> Result<(Task, StreamForm), ApiError> {
    if request.messages.is_empty() {
        return Err(ApiError::invalid(
            "messages",
            "messages is empty; write at least one",
        ));
    }
    let form = StreamForm::new(request.stream, request.stream_options)?;
    let mut controls = Parameters {
        n: request.n,
        logprobs: logprobs::wanted(request.logprobs, request.top_logprobs)?,
        max_tokens: max_tokens(request.max_tokens, request.max_completion_tokens)?,
        temperature: request.temperature,
        top_k: request.top_k,
        top_p: request.top_p,
        min_p: request.min_p,
        repetition_penalty: request.repetition_penalty,
        presence_penalty: request.presence_penalty,
        frequency_penalty: request.frequency_penalty,
        logit_bias: request.logit_bias,
        seed: request.seed,
        stop: request.stop,
    }
    .validate()?;
    controls.format = request
        .response_format
        .and_then(format)
        .map(|source| ("response_format", source));
    let messages = request.messages.into_iter().map(message).collect();
    Ok((
        Task {
            operation: "chat",
            prompt: Prompt::Chat(messages),
            controls,
        },
        form,
    ))
}

fn format(format: ResponseFormat) -> Option<GrammarSource> {
    match format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(GrammarSource::JsonSchema(json!({"type": "object"}))),
        ResponseFormat::JsonSchema { json_schema } => {
            Some(GrammarSource::JsonSchema(json_schema.schema))
        }
    }
}

fn max_tokens(old: Option<usize>, new: Option<usize>) -> Result<Option<usize>, ApiError> {
    match (old, new) {
        (Some(old), Some(new)) if old != new => Err(ApiError::invalid(
            "max_completion_tokens",
            format!(
                "max_tokens is {old} and max_completion_tokens is {new}; write only one of them"
            ),
        )),
        _ => Ok(new.or(old)),
    }
}

fn message(Message { role, content }: Message) -> ChatMessage {
    let role = match role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let content = match content {
        Content::Text(text) => text,
        Content::Parts(parts) => parts
            .into_iter()
            .map(|TextPart::Text { text }| text)
            .collect(),
    };
    ChatMessage {
        role: role.to_owned(),
        content,
    }
}

/// What all chunks of an answer have in common.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    id: String,
    created: u64,
    model: String,
}

impl Envelope {
    pub(super) fn new(model: &str) -> Self {
        Self {
            id: identity::new("chatcmpl"),
            created: identity::now(),
            model: model.to_owned(),
        }
    }
}

/// The answer in one piece.
pub(super) fn whole(
    envelope: Envelope,
    form: AnswerForm,
    choices: Vec<Whole>,
    completion: &Completion,
) -> ChatCompletion {
    let Envelope { id, created, model } = envelope;
    let choices = choices.into_iter().enumerate();
    ChatCompletion {
        id,
        object: "chat.completion",
        created,
        model,
        choices: choices
            .map(|(index, Whole { content, reason })| Choice {
                index,
                message: AnswerMessage {
                    role: "assistant",
                    content: content.text,
                    refusal: None,
                },
                logprobs: form.logprobs.then(|| logprobs::of(content.logprobs)),
                finish_reason: reason.as_str(),
            })
            .collect(),
        usage: completion.usage,
    }
}

/// What an answer holds besides its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerForm {
    /// One more chunk with `usage`.
    pub(super) include_usage: bool,
    /// Log probabilities.
    pub(super) logprobs: bool,
}

/// The answer as chunks.
pub(super) struct ChatChunks {
    envelope: Envelope,
    form: AnswerForm,
}

impl ChatChunks {
    pub(super) const fn new(envelope: Envelope, form: AnswerForm) -> Self {
        Self { envelope, form }
    }

    fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<Usage>) -> ChatCompletionChunk {
        let Envelope { id, created, model } = self.envelope.clone();
        ChatCompletionChunk {
            id,
            object: "chat.completion.chunk",
            created,
            model,
            choices,
            usage,
        }
    }
}

impl Chunks for ChatChunks {
    type Chunk = ChatCompletionChunk;

    fn begin(&mut self, choice: usize) -> Option<ChatCompletionChunk> {
        let delta = Delta {
            role: Some("assistant"),
            content: Some(String::new()),
        };
        Some(self.chunk(vec![choice_with(choice, delta)], None))
    }

    fn add(&mut self, choice: usize, addition: Addition) -> Vec<ChatCompletionChunk> {
        let delta = Delta {
            role: None,
            content: Some(addition.text),
        };
        let choice = ChunkChoice {
            logprobs: self.form.logprobs.then(|| logprobs::of(addition.logprobs)),
            ..choice_with(choice, delta)
        };
        vec![self.chunk(vec![choice], None)]
    }

    fn end_choice(&mut self, choice: usize, reason: FinishReason) -> Vec<ChatCompletionChunk> {
        let choice = ChunkChoice {
            finish_reason: Some(reason.as_str()),
            ..choice_with(choice, Delta::default())
        };
        vec![self.chunk(vec![choice], None)]
    }

    fn end(&mut self, completion: &Completion) -> Option<ChatCompletionChunk> {
        self.form
            .include_usage
            .then(|| self.chunk(Vec::new(), Some(completion.usage)))
    }
}

const fn choice_with(index: usize, delta: Delta) -> ChunkChoice {
    ChunkChoice {
        index,
        delta,
        logprobs: None,
        finish_reason: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &serde_json::Value) -> ChatRequest {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "a"}]});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn parts_are_joined_and_developers_are_systems() {
        let request = request(&json!({"messages": [
            {"role": "developer", "content": [
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b"},
            ]},
        ]}));
        let (task, _) = task(request).unwrap();
        let Prompt::Chat(messages) = task.prompt else {
            panic!("{task:?}")
        };
        assert_eq!(
            (&*messages[0].role, &*messages[0].content),
            ("system", "ab")
        );
    }

    #[test]
    fn both_names_of_max_tokens_work_but_may_not_differ() {
        for fields in [
            json!({"max_tokens": 3}),
            json!({"max_completion_tokens": 3}),
        ] {
            assert_eq!(
                task(request(&fields)).unwrap().0.controls.max_tokens,
                Some(3)
            );
        }
        let fields = json!({"max_tokens": 3, "max_completion_tokens": 4});
        let error = task(request(&fields)).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("max_completion_tokens"));
    }

    #[test]
    fn a_conversation_without_a_message_is_refused() {
        let error = task(request(&json!({"messages": []}))).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("messages"));
    }

    #[test]
    fn an_image_is_refused_with_what_is_supported() {
        let image = json!([{"type": "image_url", "image_url": {"url": "x"}}]);
        let error = serde_json::from_value::<Content>(image)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("images and audio are not supported"),
            "{error}"
        );
    }
}
