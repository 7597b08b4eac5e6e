//! Chat requests to tasks, answers to chat completions.
use super::{
    logprobs,
    tools::{self, AnswerCall, CallReader, Offer},
    types::{
        AnswerMessage, ChatBody, ChatCompletion, ChatCompletionChunk, ChatLogprobs, Choice,
        ChunkChoice, Content, Delta, Message, Role, TextPart,
    },
};
use crate::{
    engine::FinishReason,
    http::{
        error::ApiError,
        generation::{Addition, Completion, Prompt, Task, Usage, Whole, sse::Chunks},
        identity::{self, StreamForm},
        json_body::JsonBody,
        parameters::Counts,
        response_format::ResponseFormat,
    },
    text::{CallReading, ChatMessage, ToolForm},
};

/// The task that a request asks for, and the form of its answer, from a model that calls tools in
/// `tool_form`.
pub(super) fn task(
    body: ChatBody,
    tool_form: Option<ToolForm>,
) -> Result<(Task, StreamForm), ApiError> {
    let JsonBody {
        own: request,
        parameters,
    } = body;
    if request.messages.is_empty() {
        return Err(ApiError::invalid(
            "messages",
            "messages is empty; write at least one",
        ));
    }
    let form = StreamForm::new(request.stream, request.stream_options)?;
    let mut controls = parameters.validate(Counts {
        n: request.n,
        logprobs: logprobs::wanted(request.logprobs, request.top_logprobs)?,
        max_tokens: max_tokens(request.max_tokens, request.max_completion_tokens)?,
    })?;
    let parallel = request.parallel_tool_calls.unwrap_or(true);
    let offer = Offer::new(&request.tools, request.tool_choice, parallel, tool_form)?;
    controls.calls = offer.reading;
    let format = request
        .response_format
        .and_then(ResponseFormat::into_grammar);
    let grammar = match (format, offer.grammar) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "response_format",
                "response_format and tool_choice ask for different answers; leave one of them out",
            ));
        }
        (Some(format), None) => Some(format),
        (None, calls) => calls.map(|calls| ("tools", calls)),
    };
    let controls = controls.in_form(grammar)?;
    let messages = request.messages.into_iter().enumerate();
    let messages = messages
        .map(|(index, message)| convert(index, message))
        .collect::<Result<_, _>>()?;
    Ok((
        Task {
            operation: "chat",
            prompt: Prompt::Chat {
                messages,
                tools: offer.tools,
            },
            controls,
        },
        form,
    ))
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

fn convert(index: usize, message: Message) -> Result<ChatMessage, ApiError> {
    let role = match message.role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let content = match message.content {
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => parts
            .into_iter()
            .map(|TextPart::Text { text }| text)
            .collect(),
        None if !message.tool_calls.is_empty() => String::new(),
        None => {
            return Err(ApiError::invalid(
                format!("messages[{index}].content"),
                format!("messages[{index}] has no content; only one with tool_calls needs none"),
            ));
        }
    };
    Ok(ChatMessage {
        role: role.to_owned(),
        content,
        tool_calls: tools::made(message.tool_calls)?,
        tool_call_id: message.tool_call_id,
    })
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
            .map(|(index, whole)| choice(index, whole, form))
            .collect(),
        usage: completion.usage,
    }
}

fn choice(index: usize, Whole { content, reason }: Whole, form: AnswerForm) -> Choice {
    let mut reader = CallReader::new(form.calls);
    let (mut text, mut calls) = reader.push(content.text);
    let (rest, last) = reader.finish();
    text.push_str(&rest);
    calls.extend(last);
    for call in &mut calls {
        call.index = None;
    }
    let silent = !calls.is_empty() && text.trim().is_empty();
    Choice {
        index,
        message: AnswerMessage {
            role: "assistant",
            content: (!silent).then_some(text),
            tool_calls: calls,
            refusal: None,
        },
        logprobs: form.logprobs.then(|| logprobs::of(content.logprobs)),
        finish_reason: reader.reason(reason),
    }
}

/// What an answer holds besides its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerForm {
    /// Whether and how it streams.
    pub(super) stream: StreamForm,
    /// Log probabilities.
    pub(super) logprobs: bool,
    /// Calls of tools, where they were offered.
    pub(super) calls: Option<CallReading>,
}

/// The answer as chunks.
pub(super) struct ChatChunks {
    envelope: Envelope,
    form: AnswerForm,
    usage: Usage,
    /// One a choice.
    readers: Vec<CallReader>,
}

impl ChatChunks {
    pub(super) fn new(envelope: Envelope, form: AnswerForm) -> Self {
        Self {
            envelope,
            form,
            usage: Usage::default(),
            readers: Vec::new(),
        }
    }

    fn chunk(&self, choices: Vec<ChunkChoice>) -> ChatCompletionChunk {
        let Envelope { id, created, model } = self.envelope.clone();
        ChatCompletionChunk {
            id,
            object: "chat.completion.chunk",
            created,
            model,
            usage: self.form.stream.usage_beside(choices.len(), self.usage),
            choices,
        }
    }
}

impl ChatChunks {
    /// What a choice goes on with, if that is anything.
    fn goes_on(
        &self,
        choice: usize,
        (text, tool_calls): (String, Vec<AnswerCall>),
        logprobs: Option<ChatLogprobs>,
    ) -> Vec<ChatCompletionChunk> {
        if text.is_empty() && tool_calls.is_empty() && logprobs.is_none() {
            return Vec::new();
        }
        let delta = Delta {
            content: (!text.is_empty()).then_some(text),
            tool_calls,
            ..Delta::default()
        };
        let choice = ChunkChoice {
            logprobs,
            ..choice_with(choice, delta)
        };
        vec![self.chunk(vec![choice])]
    }
}

impl Chunks for ChatChunks {
    type Chunk = ChatCompletionChunk;

    fn note_usage(&mut self, so_far: Usage) {
        self.usage = so_far;
    }

    fn begin(&mut self, choice: usize) -> Option<ChatCompletionChunk> {
        self.readers.push(CallReader::new(self.form.calls));
        let delta = Delta {
            role: Some("assistant"),
            content: Some(String::new()),
            ..Delta::default()
        };
        Some(self.chunk(vec![choice_with(choice, delta)]))
    }

    fn add(&mut self, choice: usize, addition: Addition) -> Vec<ChatCompletionChunk> {
        let found = self.readers[choice].push(addition.text);
        let logprobs = self.form.logprobs.then(|| logprobs::of(addition.logprobs));
        self.goes_on(choice, found, logprobs)
    }

    fn end_choice(&mut self, choice: usize, reason: FinishReason) -> Vec<ChatCompletionChunk> {
        let found = self.readers[choice].finish();
        let mut chunks = self.goes_on(choice, found, None);
        let last = ChunkChoice {
            finish_reason: Some(self.readers[choice].reason(reason)),
            ..choice_with(choice, Delta::default())
        };
        chunks.push(self.chunk(vec![last]));
        chunks
    }

    fn end(&mut self, _: &Completion) -> Option<ChatCompletionChunk> {
        let wanted = self.form.stream.include_usage;
        wanted.then(|| self.chunk(Vec::new()))
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
    use crate::http::json_body;
    use serde_json::json;

    fn request(fields: &serde_json::Value) -> ChatBody {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "a"}]});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        json_body::parse(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn parts_are_joined_and_developers_are_systems() {
        let request = request(&json!({"messages": [
            {"role": "developer", "content": [
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b"},
            ]},
        ]}));
        let (task, _) = task(request, None).unwrap();
        let Prompt::Chat { messages, .. } = task.prompt else {
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
                task(request(&fields), None).unwrap().0.controls.max_tokens,
                Some(3)
            );
        }
        let fields = json!({"max_tokens": 3, "max_completion_tokens": 4});
        let error = task(request(&fields), None).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("max_completion_tokens"));
    }

    #[test]
    fn a_conversation_without_a_message_is_refused() {
        let error = task(request(&json!({"messages": []})), None).unwrap_err();
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
