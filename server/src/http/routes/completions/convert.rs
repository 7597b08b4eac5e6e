//! Completion requests to tasks, answers to completions.
use super::types::{CompletionRequest, PromptField, TextChoice, TextCompletion};
use crate::http::{
    error::ApiError,
    generation::{Completion, Prompt, Task, Usage, sse::Chunks},
    identity::{self, StreamForm},
    parameters::Parameters,
};

/// OpenAI's default for this route.
const MAX_TOKENS: usize = 16;

/// The task that a request asks for, and the form of its answer.
pub(super) fn task(request: CompletionRequest) -> Result<(Task, StreamForm), ApiError> {
    let form = StreamForm::new(request.stream, request.stream_options)?;
    let controls = Parameters {
        max_tokens: request.max_tokens.or(Some(MAX_TOKENS)),
        temperature: request.temperature,
        top_p: request.top_p,
        seed: request.seed,
        stop: request.stop,
    }
    .validate()?;
    Ok((
        Task {
            operation: "text_completion",
            prompt: prompt(request.prompt)?,
            controls,
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
    include_usage: bool,
}

impl CompletionChunks {
    pub(super) fn new(model: &str, include_usage: bool) -> Self {
        Self {
            id: identity::new("cmpl"),
            created: identity::now(),
            model: model.to_owned(),
            include_usage,
        }
    }

    /// The answer in one piece.
    pub(super) fn whole(&self, text: String, completion: &Completion) -> TextCompletion {
        let choice = choice(text, Some(completion.reason.as_str()));
        self.object(vec![choice], Some(completion.usage))
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

const fn choice(text: String, finish_reason: Option<&'static str>) -> TextChoice {
    TextChoice {
        index: 0,
        text,
        logprobs: None,
        finish_reason,
    }
}

impl Chunks for CompletionChunks {
    type Chunk = TextCompletion;

    fn text(&mut self, text: String) -> TextCompletion {
        self.object(vec![choice(text, None)], None)
    }

    fn end(&mut self, completion: &Completion) -> Vec<TextCompletion> {
        let reason = Some(completion.reason.as_str());
        let last = self.object(vec![choice(String::new(), reason)], None);
        let usage = self
            .include_usage
            .then(|| self.object(Vec::new(), Some(completion.usage)));
        std::iter::once(last).chain(usage).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parsed(prompt_field: &Value) -> Result<Prompt, ApiError> {
        let body = json!({"model": "m", "prompt": prompt_field});
        task(serde_json::from_value(body).unwrap()).map(|(task, _)| task.prompt)
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
        let (task, _) = task(serde_json::from_value(body).unwrap()).unwrap();
        assert_eq!(task.controls.max_tokens, Some(16));
    }
}
