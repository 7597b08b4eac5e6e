//! From prompt to text, the same for all routes: encode, submit, listen.
mod answer;
mod choice;
mod prompt;
pub mod sse;

pub use answer::{Answer, Completion, Piece, Timings, Usage, Whole};
pub use choice::{Addition, SpelledLogprob, TokenLogprob};
pub use prompt::Prompt;

use super::{
    error::{ApiError, ErrorKind},
    middleware::observe::Observed,
    parameters::Controls,
    state::AppState,
};
use crate::{
    engine::{GenerationRequest, Grammar, Sampling, SubmitError},
    load::ServedModel,
    telemetry::observation::Measured,
    text::{GrammarSource, TokenStream, Tokenizer},
};
use choice::Choice;
use std::{sync::Arc, time::Instant};
use tracing::Span;

/// What a route asks for.
#[derive(Clone, Debug)]
pub struct Task {
    /// The operation's name in OpenTelemetry's GenAI conventions.
    pub operation: &'static str,
    /// What goes in.
    pub prompt: Prompt,
    /// Limits and sampling.
    pub controls: Controls,
}

/// Puts `task` into the engine's queue: each answer is one generation there, and takes one place.
pub async fn begin(
    state: &AppState,
    model: Arc<ServedModel>,
    observed: Observed,
    task: Task,
) -> Result<Answer, ApiError> {
    let Task {
        operation,
        prompt,
        mut controls,
    } = task;
    check(&model, &controls)?;
    let mut measured = Measured {
        operation,
        model: model.facts.name.clone(),
        ..Measured::default()
    };
    let marks = controls.calls.map_or(&[][..], |calls| calls.form.marks());
    let message = matches!(prompt, Prompt::Chat { .. }).then_some(marks);
    let captured = state.options.capture_prompts.then(|| prompt.as_json());

    let began = Instant::now();
    if let Some(faults) = &state.faults {
        tokio::time::sleep(faults.tokenize_delay()).await;
    }
    let encoded = encode(Arc::clone(&model), prompt, controls.format.take()).await;
    measured.tokenize = Some((began, Instant::now()));
    measured.prompt_tokens = encoded.as_ref().map_or(0, |(ids, _)| ids.len());
    observed.measured(measured.clone());
    let (prompt, grammar) = encoded?;
    controls.sampling.grammar = grammar;

    let max_tokens = controls
        .max_tokens
        .map_or_else(|| rest_of_context(&model, &prompt), Ok)?;
    if let Some(faults) = &state.faults {
        tokio::time::sleep(faults.first_token_delay()).await;
    }
    // Where the queue cannot take all of them, those that it took are dropped, and so cancelled.
    let choices = (0..controls.choices)
        .map(|index| {
            let request = GenerationRequest {
                prompt: prompt.clone(),
                max_tokens,
                deadline: observed.deadline().instant(),
                sampling: of_choice(&controls.sampling, index),
            };
            let generation = model.engine.submit(request);
            generation
                .map(|running| {
                    let text = text_after(&model.tokenizer, message, &prompt);
                    Choice::new(running, &model.tokenizer, text, &controls)
                })
                .map_err(|error| refusal(&error))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Answer::new(choices, observed, measured, captured))
}

/// A text goes on where the prompt ends; a message begins anew, and tokens that mark calls of tools are
/// text in it.
fn text_after(tokenizer: &Tokenizer, message: Option<&[&str]>, prompt: &[u32]) -> TokenStream {
    match message {
        Some(marks) => tokenizer.stream_with(marks),
        None => tokenizer.stream_after(prompt),
    }
}

/// What only the served model decides.
fn check(model: &ServedModel, controls: &Controls) -> Result<(), ApiError> {
    let places = model.engine.places();
    if controls.choices > places {
        let message = format!(
            "n is {}, but batch and queue of this server hold {places}; write less and send several requests",
            controls.choices
        );
        return Err(ApiError::invalid("n", message));
    }
    let vocabulary = model.engine.limits().vocabulary;
    let mut biased = controls.sampling.logit_bias.iter().map(|(id, _)| *id);
    match biased.find(|id| *id as usize >= vocabulary) {
        None => Ok(()),
        Some(id) => Err(ApiError::invalid(
            "logit_bias",
            format!(
                "logit_bias has the token id {id}, which is not in the vocabulary; ids are below {vocabulary}"
            ),
        )),
    }
}

/// Choices with the same seed would be the same: each has the seed after the one before it.
fn of_choice(sampling: &Sampling, index: usize) -> Sampling {
    Sampling {
        seed: sampling.seed.map(|seed| seed.wrapping_add(index as u64)),
        ..sampling.clone()
    }
}

/// Encoding a long prompt takes a while, and so does a grammar: not on the threads that everybody's
/// tokens pass through.
async fn encode(
    model: Arc<ServedModel>,
    prompt: Prompt,
    format: Option<(&'static str, GrammarSource)>,
) -> Result<(Vec<u32>, Option<Grammar>), ApiError> {
    let work = move || {
        let grammar = format
            .map(|(field, source)| {
                let vocabulary = model.engine.limits().vocabulary;
                let grammar = model.tokenizer.grammar(source, vocabulary);
                grammar.map_err(|error| ApiError::invalid(field, error.to_string()))
            })
            .transpose()?;
        Ok((prompt.encode(&model)?, grammar))
    };
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?
}

/// As many tokens as fit behind the prompt.
fn rest_of_context(model: &ServedModel, prompt: &[u32]) -> Result<usize, ApiError> {
    let limits = model.engine.limits();
    let context = limits.context_length.min(limits.kv_cache_tokens());
    match context.checked_sub(prompt.len()) {
        Some(rest) if rest > 0 => Ok(rest),
        _ => Err(ApiError::new(
            ErrorKind::ContextLengthExceeded,
            format!(
                "the prompt has {} tokens, but the model's context holds {context}, answer included; shorten the prompt",
                prompt.len()
            ),
        )),
    }
}

fn refusal(error: &SubmitError) -> ApiError {
    let kind = match error {
        SubmitError::QueueFull { .. } => ErrorKind::QueueFull,
        SubmitError::TooLong { .. } => {
            let message = format!("{error}; shorten the prompt or lower max_tokens");
            return ApiError::new(ErrorKind::ContextLengthExceeded, message);
        }
        SubmitError::EmptyPrompt => ErrorKind::InvalidRequest,
        SubmitError::Stopped => ErrorKind::Engine,
    };
    ApiError::new(kind, error.to_string())
}
