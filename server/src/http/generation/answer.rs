//! The answers to one prompt as they come, and what is measured on the way.
use super::choice::{Addition, Choice};
use crate::{
    engine::{FinishReason, GenerationError, GenerationEvent},
    http::{
        deadline,
        error::{ApiError, ErrorKind},
        middleware::observe::Observed,
    },
    telemetry::{
        Outcome,
        observation::{Measured, millis, time_per_output_token},
    },
    text::TextError,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
    time::Instant,
};
use utoipa::ToSchema;

/// Answers that are being computed. Dropping them cancels their generations.
#[derive(Debug)]
pub struct Answer {
    choices: Vec<Choice>,
    /// Whose word is heard first, so that none waits for a fast one.
    turn: usize,
    /// Parts that were not told yet.
    ready: VecDeque<Piece>,
    /// Why each choice ended, as far as it has.
    reasons: Vec<FinishReason>,
    over: bool,
    observed: Observed,
    measured: Measured,
    /// Prompt (as JSON) and answers so far, where they are to be captured.
    captured: Option<(String, Vec<String>)>,
}

/// A part of an answer.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A choice goes on; never with nothing.
    Addition(usize, Addition),
    /// A choice is complete.
    ChoiceEnd(usize, FinishReason),
    /// All are.
    End(Completion),
}

/// One complete choice.
#[derive(Clone, Debug)]
pub struct Whole {
    /// All of it.
    pub content: Addition,
    /// Why it ended.
    pub reason: FinishReason,
}

/// What complete answers took.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Tokens in and out.
    pub usage: Usage,
    /// How long their parts took.
    pub timings: Timings,
}

/// Tokens in and out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the answers, the end tokens included.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
}

/// How long the parts of an answer took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Timings {
    /// Admission to first step.
    pub queue_ms: Option<f64>,
    /// Request start to first token.
    pub time_to_first_token_ms: Option<f64>,
    /// (last token − first token) / (tokens − 1), of two tokens or more.
    pub time_per_output_token_ms: Option<f64>,
    /// Request start to the answer's end.
    pub total_ms: f64,
}

impl Answer {
    pub(super) fn new(
        choices: Vec<Choice>,
        observed: Observed,
        mut measured: Measured,
        captured_prompt: Option<String>,
    ) -> Self {
        let texts = vec![String::new(); choices.len()];
        let reasons = vec![FinishReason::Stop; choices.len()];
        measured.answers = choices.len();
        Self {
            choices,
            turn: 0,
            ready: VecDeque::new(),
            reasons,
            over: false,
            observed,
            measured,
            captured: captured_prompt.map(|prompt| (prompt, texts)),
        }
    }

    /// How many there are.
    pub const fn choices(&self) -> usize {
        self.choices.len()
    }

    /// Tokens in and out so far. After the end it is for the completion to tell.
    pub const fn usage(&self) -> Usage {
        let (prompt_tokens, completion_tokens) =
            (self.measured.prompt_tokens, self.measured.generated);
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
        }
    }

    /// The next part. After the end, or an error, there is none.
    pub async fn next(&mut self) -> Result<Piece, ApiError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(piece);
            }
            if self.over {
                return Err(ApiError::new(ErrorKind::Internal, "the answer is over"));
            }
            if !self.choices.iter().any(Choice::is_running) {
                return Ok(Piece::End(self.close()));
            }
            let (index, event) = poll_fn(|context| self.poll_event(context)).await;
            self.take(index, event)?;
        }
    }

    /// All choices, whole.
    pub async fn collect(mut self) -> Result<(Vec<Whole>, Completion), ApiError> {
        let empty = Whole {
            content: Addition::default(),
            reason: FinishReason::Stop,
        };
        let mut choices = vec![empty; self.choices.len()];
        loop {
            match self.next().await? {
                Piece::Addition(index, addition) => {
                    let content = &mut choices[index].content;
                    content.text.push_str(&addition.text);
                    content.logprobs.extend(addition.logprobs);
                }
                Piece::ChoiceEnd(index, reason) => choices[index].reason = reason,
                Piece::End(completion) => return Ok((choices, completion)),
            }
        }
    }

    fn poll_event(&mut self, context: &mut Context) -> Poll<(usize, GenerationEvent)> {
        let count = self.choices.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            if let Poll::Ready(event) = self.choices[index].poll_event(context) {
                self.turn = index + 1;
                return Poll::Ready((index, event));
            }
        }
        Poll::Pending
    }

    fn take(&mut self, index: usize, event: GenerationEvent) -> Result<(), ApiError> {
        match event {
            GenerationEvent::Started { queued, first_step } => {
                self.measured.queue.get_or_insert((queued, first_step));
            }
            GenerationEvent::Token { id, at, logprobs } => {
                self.measure_token(index, at);
                let began = Instant::now();
                let (addition, stopped) = self.choices[index]
                    .push(id, logprobs)
                    .map_err(|error| undecodable(&error))?;
                self.measured.detokenize += began.elapsed();
                self.tell(index, addition, stopped.then_some(FinishReason::Stop));
            }
            GenerationEvent::Finished {
                reason,
                at,
                generated,
            } => {
                // The model's end token is computed like any other, but not reported.
                if generated > self.choices[index].tokens {
                    self.measure_token(index, at);
                }
                let began = Instant::now();
                let (addition, reason) = self.choices[index]
                    .finish(reason)
                    .map_err(|error| undecodable(&error))?;
                self.measured.detokenize += began.elapsed();
                self.tell(index, addition, Some(reason));
            }
            GenerationEvent::Failed(error) => return Err(failure(&error)),
        }
        Ok(())
    }

    fn tell(&mut self, index: usize, addition: Addition, end: Option<FinishReason>) {
        if !addition.is_empty() {
            if let Some((_, texts)) = &mut self.captured {
                texts[index].push_str(&addition.text);
            }
            self.ready.push_back(Piece::Addition(index, addition));
        }
        if let Some(reason) = end {
            self.reasons[index] = reason;
            self.ready.push_back(Piece::ChoiceEnd(index, reason));
        }
    }

    fn measure_token(&mut self, index: usize, at: Instant) {
        let requests = &self.observed.metrics().requests;
        let choice = &mut self.choices[index];
        choice.tokens += 1;
        let known = self.measured.tokens.map(|(first, _)| first);
        let waited = known
            .unwrap_or(at)
            .saturating_duration_since(self.observed.started());
        let exemplar = self.observed.exemplar(waited);
        if let Some(last) = choice.last_token.replace(at) {
            let gap = at.saturating_duration_since(last);
            requests
                .inter_token_latency
                .observe(gap.as_secs_f64(), exemplar);
        }
        let first = if let Some(first) = known {
            first
        } else {
            requests
                .time_to_first_token
                .observe(waited.as_secs_f64(), exemplar);
            requests
                .prompt_tokens
                .inc_by(self.measured.prompt_tokens as u64);
            at
        };
        self.measured.tokens = Some((first, at));
        // Counted as they come, so that rates are smooth while long answers run.
        requests.generation_tokens.inc();
        self.measured.generated += 1;
    }

    /// Reports the complete answers.
    fn close(&mut self) -> Completion {
        self.over = true;
        let measured = &self.measured;
        let since_start =
            |instant: Instant| millis(instant.saturating_duration_since(self.observed.started()));
        let completion = Completion {
            usage: self.usage(),
            timings: Timings {
                queue_ms: measured
                    .queue
                    .map(|(queued, first_step)| millis(first_step - queued)),
                time_to_first_token_ms: measured.tokens.map(|(first, _)| since_start(first)),
                time_per_output_token_ms: time_per_output_token(measured).map(millis),
                total_ms: since_start(Instant::now()),
            },
        };
        let reasons = std::mem::take(&mut self.reasons);
        self.hand_over();
        self.observed.finish(&Outcome::Finished(reasons));
        completion
    }

    /// Reports an error that comes too late for the response's status.
    pub(super) fn fail(&mut self, kind: ErrorKind) {
        self.over = true;
        self.hand_over();
        self.observed.metrics().requests.failed(kind);
        self.observed.finish(&Outcome::Failed(kind));
    }

    fn hand_over(&mut self) {
        let captured = self.captured.take();
        self.measured.texts = captured.map(|(prompt, texts)| (prompt, texts.join("\n")));
        self.observed.measured(std::mem::take(&mut self.measured));
    }
}

impl Drop for Answer {
    /// An answer that was not completed is reported too: by whoever knows the error, or as aborted.
    fn drop(&mut self) {
        self.hand_over();
    }
}

fn failure(error: &GenerationError) -> ApiError {
    let kind = match error {
        GenerationError::Engine(_)
        | GenerationError::NotANumber
        | GenerationError::Grammar(_)
        | GenerationError::Stopped => ErrorKind::Engine,
        GenerationError::DeadlineExceeded => return deadline::exceeded(),
        GenerationError::ShuttingDown => ErrorKind::Draining,
    };
    match error {
        // Its words may quote the answer, which does not belong into the log.
        GenerationError::Grammar(_) => tracing::warn!("an answer could not go on in its format"),
        _ if kind == ErrorKind::Engine => tracing::warn!(%error, "the engine failed a request"),
        _ => {}
    }
    ApiError::new(kind, error.to_string())
}

fn undecodable(error: &TextError) -> ApiError {
    ApiError::new(ErrorKind::Internal, error.to_string())
}
