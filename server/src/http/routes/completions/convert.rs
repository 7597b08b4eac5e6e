//! Completion requests to tasks, answers to completions.
use super::types::{CompletionBody, CompletionLogprobs, PromptField, TextChoice, TextCompletion};
use crate::{
    engine::FinishReason,
    http::{
        error::ApiError,
        generation::{Addition, Completion, Prompt, Task, TokenLogprob, Usage, Whole, sse::Chunks},
        identity::{self, StreamForm},
        json_body::JsonBody,
        parameters::{self, Counts},
        response_format::ResponseFormat,
    },
};

/// OpenAI's default for this route.
const MAX_TOKENS: usize = 16;
/// Most of the likeliest tokens, as in OpenAI's API.
const MAX_LOGPROBS: usize = 5;

/// The task that a request asks for, and the form of its answer.
pub(super) fn task(body: CompletionBody) -> Result<(Task, StreamForm), ApiError> {
    let JsonBody {
        own: request,
        parameters,
    } = body;
    let form = StreamForm::new(request.stream, request.stream_options)?;
    let logprobs = request
        .logprobs
        .map(|count| parameters::likeliest("logprobs", count, MAX_LOGPROBS))
        .transpose()?;
    let controls = parameters.validate(Counts {
        n: request.n,
        logprobs,
        max_tokens: request.max_tokens.or(Some(MAX_TOKENS)),
    })?;
    let format = request
        .response_format
        .and_then(ResponseFormat::into_grammar);
    Ok((
        Task {
            operation: "text_completion",
            prompt: prompt(request.prompt)?,
            controls: controls.in_form(format)?,
        },
        form,
    ))
}

fn prompt(field: PromptField) -> Result<Prompt, ApiError> {
    match field {
        PromptField::Text(text) => Ok(Prompt::Text(text)),
        PromptField::Texts(texts) => only_one(texts).map(Prompt::Text),
        PromptField::Tokens(tokens) => Ok(Prompt::Tokens(tokens)),
        PromptField::TokenArrays(arrays) => only_one(arrays).map(Prompt::Tokens),
    }
}

fn only_one<T>(prompts: Vec<T>) -> Result<T, ApiError> {
    let count = prompts.len();
    <[T; 1]>::try_from(prompts)
        .map(|[prompt]| prompt)
        .map_err(|_| {
            let message =
                format!("prompt has {count} prompts; write exactly one and send several requests");
            ApiError::invalid("prompt", message)
        })
}

/// The answer, whole or as chunks.
pub(super) struct CompletionChunks {
    id: String,
    created: u64,
    model: String,
    form: StreamForm,
    usage: Usage,
    logprobs: bool,
}

impl CompletionChunks {
    pub(super) fn new(model: &str, form: StreamForm, logprobs: bool) -> Self {
        Self {
            id: identity::new("cmpl"),
            created: identity::now(),
            model: model.to_owned(),
            form,
            usage: Usage::default(),
            logprobs,
        }
    }

    /// The answer in one piece.
    pub(super) fn whole(&self, choices: Vec<Whole>, completion: &Completion) -> TextCompletion {
        let choices = choices
            .into_iter()
            .enumerate()
            .map(|(index, Whole { content, reason })| self.choice(index, content, Some(reason)))
            .collect();
        self.object(choices, Some(completion.usage))
    }

    fn choice(&self, index: usize, addition: Addition, reason: Option<FinishReason>) -> TextChoice {
        TextChoice {
            index,
            logprobs: self.logprobs.then(|| logprobs(&addition.logprobs)),
            text: addition.text,
            finish_reason: reason.map(FinishReason::as_str),
        }
    }

    fn chunk(&self, choices: Vec<TextChoice>) -> TextCompletion {
        let usage = self.form.usage_beside(choices.len(), self.usage);
        self.object(choices, usage)
    }

    fn object(&self, choices: Vec<TextChoice>, usage: Option<Usage>) -> TextCompletion {
        TextCompletion {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.model.clone(),
            choices,
            usage,
        }
    }
}

fn logprobs(tokens: &[TokenLogprob]) -> CompletionLogprobs {
    let mut lists = CompletionLogprobs::default();
    for token in tokens {
        let all = token.likeliest.iter().chain([&token.picked]);
        lists.tokens.push(token.picked.text());
        lists.token_logprobs.push(token.picked.logprob);
        lists
            .top_logprobs
            .push(all.map(|one| (one.text(), one.logprob)).collect());
        lists.text_offset.push(token.offset);
    }
    lists
}

impl Chunks for CompletionChunks {
    type Chunk = TextCompletion;

    fn note_usage(&mut self, so_far: Usage) {
        self.usage = so_far;
    }

    fn add(&mut self, choice: usize, addition: Addition) -> Vec<TextCompletion> {
        let choice = self.choice(choice, addition, None);
        vec![self.chunk(vec![choice])]
    }

    fn end_choice(&mut self, choice: usize, reason: FinishReason) -> Vec<TextCompletion> {
        let choice = TextChoice {
            logprobs: None,
            ..self.choice(choice, Addition::default(), Some(reason))
        };
        vec![self.chunk(vec![choice])]
    }

    fn end(&mut self, _: &Completion) -> Option<TextCompletion> {
        let wanted = self.form.include_usage;
        wanted.then(|| self.chunk(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json_body;
    use serde_json::{Value, json};

    fn parsed(prompt_field: &Value) -> Result<Prompt, ApiError> {
        let body = json!({"model": "m", "prompt": prompt_field});
        task(json_body::parse(body.to_string().as_bytes()).unwrap()).map(|(task, _)| task.prompt)
    }

    #[test]
    fn a_prompt_is_text_or_token_ids_alone_or_in_an_array() {
        for text in [json!("a"), json!(["a"])] {
            assert!(matches!(parsed(&text).unwrap(), Prompt::Text(text) if text == "a"));
        }
        for ids in [json!([1, 2]), json!([[1, 2]])] {
            assert!(matches!(parsed(&ids).unwrap(), Prompt::Tokens(ids) if ids == [1, 2]));
        }
    }

    #[test]
    fn several_prompts_are_refused() {
        for prompts in [json!(["a", "b"]), json!([[1], [2]])] {
            let error = parsed(&prompts).unwrap_err();
            assert_eq!(error.param.as_deref(), Some("prompt"));
            assert!(error.message.contains("2 prompts"));
        }
    }

    #[test]
    fn the_default_length_is_openais() {
        let body = json!({"model": "m", "prompt": "a"});
        let (task, _) = task(json_body::parse(body.to_string().as_bytes()).unwrap()).unwrap();
        assert_eq!(task.controls.max_tokens, Some(16));
    }
}
