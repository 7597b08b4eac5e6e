//! The answer as it comes: tokens to text, stop strings, and what is measured on the way.
use crate::{
    engine::{FinishReason, Generation, GenerationError, GenerationEvent},
    http::{
        error::{ApiError, ErrorKind},
        middleware::observe::Observed,
    },
    telemetry::{
        Outcome,
        observation::{Measured, millis, time_per_output_token},
    },
    text::{StopMatcher, TextError, TokenStream, Tokenizer},
};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use utoipa::ToSchema;

/// An answer that is being computed. Dropping it cancels the generation.
#[derive(Debug)]
pub struct Answer {
    /// Until it has ended.
    running: Option<Running>,
    /// Its end, until it is told.
    completion: Option<Completion>,
    observed: Observed,
    measured: Measured,
    /// Prompt (as JSON) and answer so far, where they are to be captured.
    captured: Option<(String, String)>,
}

#[derive(Debug)]
struct Running {
    generation: Generation,
    text: TokenStream,
    stop: StopMatcher,
}

/// A part of an answer.
#[derive(Clone, Debug)]
pub enum Piece {
    /// The next text; never empty.
    Text(String),
    /// There is no more.
    End(Completion),
}

/// How a complete answer ended.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Why.
    pub reason: FinishReason,
    /// Tokens in and out.
    pub usage: Usage,
    /// How long its parts took.
    pub timings: Timings,
}

/// Tokens in and out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the answer, the end token included.
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
        generation: Generation,
        tokenizer: &Tokenizer,
        stop: Vec<String>,
        observed: Observed,
        measured: Measured,
        captured_prompt: Option<String>,
    ) -> Self {
        let running = Running {
            generation,
            text: tokenizer.stream(),
            stop: StopMatcher::new(stop),
        };
        Self {
            running: Some(running),
            completion: None,
            observed,
            measured,
            captured: captured_prompt.map(|prompt| (prompt, String::new())),
        }
    }

    /// The next part. After the end, or an error, there is none.
    pub async fn next(&mut self) -> Result<Piece, ApiError> {
        loop {
            if let Some(completion) = self.completion.take() {
                return Ok(Piece::End(self.close(completion)));
            }
            let Some(running) = &mut self.running else {
                return Err(ApiError::new(ErrorKind::Internal, "the answer is over"));
            };
            let text = match running.generation.next().await {
                GenerationEvent::Started { queued, first_step } => {
                    self.measured.queue = Some((queued, first_step));
                    continue;
                }
                GenerationEvent::Token { id, at } => self.token(id, at)?,
                GenerationEvent::Finished {
                    reason,
                    at,
                    generated,
                } => {
                    // The model's end token is computed like any other, but not reported.
                    if generated > self.measured.generated {
                        self.measure_token(at);
                    }
                    self.rest(reason)?
                }
                GenerationEvent::Failed(error) => return Err(failure(&error)),
            };
            if !text.is_empty() {
                if let Some((_, answer)) = &mut self.captured {
                    answer.push_str(&text);
                }
                return Ok(Piece::Text(text));
            }
        }
    }

    /// The whole text.
    pub async fn collect(mut self) -> Result<(String, Completion), ApiError> {
        let mut text = String::new();
        loop {
            match self.next().await? {
                Piece::Text(piece) => text.push_str(&piece),
                Piece::End(completion) => return Ok((text, completion)),
            }
        }
    }

    /// The text that a token makes ready to send.
    fn token(&mut self, id: u32, at: Instant) -> Result<String, ApiError> {
        self.measure_token(at);
        let began = Instant::now();
        let Some(running) = &mut self.running else {
            return Ok(String::new());
        };
        let piece = running.text.push(id).map_err(|error| undecodable(&error))?;
        let matched = running.stop.push(&piece);
        self.measured.detokenize += began.elapsed();
        if matched.stopped {
            self.end(FinishReason::Stop);
        }
        Ok(matched.text)
    }

    /// The text that was held back until the answer's end.
    fn rest(&mut self, reason: FinishReason) -> Result<String, ApiError> {
        let began = Instant::now();
        let Some(Running { text, mut stop, .. }) = self.running.take() else {
            return Ok(String::new());
        };
        let tail = text.finish().map_err(|error| undecodable(&error))?;
        let matched = stop.push(&tail);
        let mut rest = matched.text;
        if !matched.stopped {
            rest.push_str(&stop.finish());
        }
        self.measured.detokenize += began.elapsed();
        self.end(if matched.stopped {
            FinishReason::Stop
        } else {
            reason
        });
        Ok(rest)
    }

    fn measure_token(&mut self, at: Instant) {
        let requests = &self.observed.metrics().requests;
        let first = if let Some((first, last)) = self.measured.tokens {
            let gap = at.saturating_duration_since(last);
            requests.inter_token_latency.observe(gap.as_secs_f64());
            first
        } else {
            let waited = at.saturating_duration_since(self.observed.started());
            requests
                .time_to_first_token
                .observe(waited.as_secs_f64(), self.observed.exemplar(waited));
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

    /// Stops the generation and notes how the answer ended.
    fn end(&mut self, reason: FinishReason) {
        self.running = None;
        let measured = &self.measured;
        let since_start =
            |instant: Instant| millis(instant.saturating_duration_since(self.observed.started()));
        self.completion = Some(Completion {
            reason,
            usage: Usage {
                prompt_tokens: measured.prompt_tokens,
                completion_tokens: measured.generated,
                total_tokens: measured.prompt_tokens + measured.generated,
            },
            timings: Timings {
                queue_ms: measured
                    .queue
                    .map(|(queued, first_step)| millis(first_step - queued)),
                time_to_first_token_ms: measured.tokens.map(|(first, _)| since_start(first)),
                time_per_output_token_ms: time_per_output_token(measured).map(millis),
                total_ms: since_start(Instant::now()),
            },
        });
    }

    /// Reports the complete answer.
    fn close(&mut self, completion: Completion) -> Completion {
        self.hand_over();
        self.observed.finish(Outcome::Finished(completion.reason));
        completion
    }

    /// Reports an error that comes too late for the response's status.
    pub(super) fn fail(&mut self, kind: ErrorKind) {
        self.hand_over();
        self.observed.metrics().requests.failed(kind);
        self.observed.finish(Outcome::Failed(kind));
    }

    fn hand_over(&mut self) {
        self.measured.texts = self.captured.take();
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
        GenerationError::Engine(_) | GenerationError::NotANumber => ErrorKind::Engine,
        GenerationError::ShuttingDown => ErrorKind::Draining,
    };
    ApiError::new(kind, error.to_string())
}

fn undecodable(error: &TextError) -> ApiError {
    ApiError::new(ErrorKind::Internal, error.to_string())
}
