//! One request as it was measured, reported once, whichever way it ends: to the histograms, as a
//! tree of spans, and as a log line.
use super::{metrics::ABORT, metrics::Metrics, spans::Spans, spans::TreeSpan};
use crate::{engine::FinishReason, http::error::ErrorKind};
use axum::http::HeaderMap;
use candlepower_api::names::{metrics::FAULT_SERVER, spans as names};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// With a complete answer.
    Finished(FinishReason),
    /// With an error.
    Failed(ErrorKind),
    /// The client went away.
    Aborted,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Finished(reason) => reason.as_str(),
            Self::Failed(kind) => kind.as_str(),
            Self::Aborted => ABORT,
        }
    }
}

/// What was measured of one generation.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// `chat` or `text_completion`.
    pub operation: &'static str,
    /// The model's name.
    pub model: String,
    /// When encoding the prompt began and ended.
    pub tokenize: Option<(Instant, Instant)>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens picked, of all answers.
    pub generated: usize,
    /// Answers to the one prompt; 0 means 1.
    pub answers: usize,
    /// When the first and the last token were picked.
    pub tokens: Option<(Instant, Instant)>,
    /// When it entered the queue and when its first step began.
    pub queue: Option<(Instant, Instant)>,
    /// Time spent turning tokens into text, in all.
    pub detokenize: Duration,
    /// Prompt and answer, only where they are to be captured.
    pub texts: Option<(String, String)>,
}

/// Watches one request from its first byte to its last. It reports when it is finished or, if
/// nobody does that, when its last owner drops it: then the client has gone.
#[derive(Debug)]
pub struct Observation {
    method: &'static str,
    path: &'static str,
    metrics: Arc<Metrics>,
    started: Instant,
    started_at: SystemTime,
    trace_id: Option<String>,
    sampled: AtomicBool,
    recorded: bool,
    slow_first_token: Duration,
    /// Until it is reported.
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    span: TreeSpan,
    measured: Measured,
}

impl Observation {
    /// Begins to watch a request of the route `path`.
    pub fn start(
        method: &'static str,
        path: &'static str,
        metrics: Arc<Metrics>,
        spans: &Spans,
        headers: &HeaderMap,
    ) -> Self {
        let started_at = SystemTime::now();
        let span = spans.start_request(format!("{method} {path}"), headers, started_at);
        Self {
            method,
            path,
            metrics,
            started: Instant::now(),
            started_at,
            trace_id: span.trace_id().map(|id| id.to_string()),
            sampled: AtomicBool::new(span.is_sampled()),
            recorded: spans.is_enabled(),
            slow_first_token: spans.slow_first_token(),
            open: Mutex::new(Some(Open {
                span,
                measured: Measured::default(),
            })),
        }
    }

    /// When the request began.
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// The series that it reports to.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Its trace's id, exported or not: log lines carry it.
    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// Its trace's id, if the trace is exported.
    pub fn sampled_trace_id(&self) -> Option<&str> {
        self.trace_id
            .as_deref()
            .filter(|_| self.sampled.load(Ordering::Relaxed))
    }

    /// Keeps what is known of its generation.
    pub fn measured(&self, measured: Measured) {
        if let Some(open) = self.lock().as_mut() {
            open.measured = measured;
        }
    }

    /// Reports how it ended. Only the first end counts.
    pub fn finish(&self, outcome: Outcome) {
        let Some(Open { mut span, measured }) = self.lock().take() else {
            return;
        };
        let ended = Instant::now();
        if let Some(because) = self.sampled_because(&measured, outcome, ended) {
            span.sample_late(because);
            self.sampled.store(span.is_sampled(), Ordering::Relaxed);
        }
        self.count(&measured, outcome, ended);
        self.log(&measured, outcome, ended);
        if span.is_sampled() {
            self.describe(&mut span, &measured, outcome, ended);
            self.trace_phases(&span, &measured, ended);
            span.end(self.wall(ended));
        }
    }

    /// Why it is exported in any case.
    fn sampled_because(
        &self,
        measured: &Measured,
        outcome: Outcome,
        ended: Instant,
    ) -> Option<&'static str> {
        let waited = measured.tokens.map_or(ended, |(first, _)| first) - self.started;
        match outcome {
            Outcome::Failed(kind) if kind.fault() == FAULT_SERVER => Some(names::BECAUSE_ERROR),
            _ if self.is_slow(waited) => Some(names::BECAUSE_SLOW),
            _ => None,
        }
    }

    fn is_slow(&self, waited: Duration) -> bool {
        self.recorded && waited > self.slow_first_token
    }

    /// The trace's id for an exemplar of a first token that was `waited` for: that a slow request
    /// will be exported is known by then.
    pub fn exemplar(&self, waited: Duration) -> Option<&str> {
        let exported = self.sampled.load(Ordering::Relaxed) || self.is_slow(waited);
        self.trace_id.as_deref().filter(|_| exported)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wall-clock time of `instant`.
    fn wall(&self, instant: Instant) -> SystemTime {
        self.started_at + instant.saturating_duration_since(self.started)
    }

    /// Histograms hold complete answers only: an aborted one would flatter them. Errors are
    /// counted where they are answered.
    fn count(&self, measured: &Measured, outcome: Outcome, ended: Instant) {
        let requests = &self.metrics.requests;
        let Outcome::Finished(reason) = outcome else {
            if outcome == Outcome::Aborted {
                requests.succeeded(ABORT);
            }
            return;
        };
        requests.succeeded(reason.as_str());
        let exemplar = self.sampled_trace_id();
        requests
            .end_to_end
            .observe((ended - self.started).as_secs_f64(), exemplar);
        requests
            .prompt_length
            .observe(measured.prompt_tokens as f64);
        requests
            .generation_length
            .observe(measured.generated as f64);
        if let Some(gap) = time_per_output_token(measured) {
            requests
                .time_per_output_token
                .observe(gap.as_secs_f64(), exemplar);
        }
        if let Some((queued, first_step)) = measured.queue {
            requests.queue.observe((first_step - queued).as_secs_f64());
        }
        if let (Some((_, first_step)), Some((first, last))) = (measured.queue, measured.tokens) {
            requests.prefill.observe((first - first_step).as_secs_f64());
            requests.decode.observe((last - first).as_secs_f64());
            requests
                .inference
                .observe((last - first_step).as_secs_f64());
        }
    }

    fn log(&self, measured: &Measured, outcome: Outcome, ended: Instant) {
        tracing::info!(
            method = self.method,
            path = self.path,
            outcome = outcome.as_str(),
            trace_id = self.trace_id.as_deref().unwrap_or_default(),
            prompt_tokens = measured.prompt_tokens,
            completion_tokens = measured.generated,
            first_token_ms = measured
                .tokens
                .map(|(first, _)| millis(first - self.started)),
            total_ms = millis(ended - self.started),
            "request"
        );
    }

    fn describe(&self, span: &mut TreeSpan, measured: &Measured, outcome: Outcome, ended: Instant) {
        span.set(KeyValue::new("http.request.method", self.method));
        span.set(KeyValue::new("http.route", self.path));
        span.set(KeyValue::new(names::PROVIDER_NAME, "candlepower"));
        if !measured.operation.is_empty() {
            span.set(KeyValue::new(names::OPERATION_NAME, measured.operation));
            span.set(KeyValue::new(names::REQUEST_MODEL, measured.model.clone()));
            span.set(KeyValue::new(
                names::INPUT_TOKENS,
                integer(measured.prompt_tokens),
            ));
            span.set(KeyValue::new(
                names::OUTPUT_TOKENS,
                integer(measured.generated),
            ));
        }
        match outcome {
            Outcome::Finished(reason) => {
                let reasons = vec![StringValue::from(reason.as_str())];
                span.set(KeyValue::new(
                    names::FINISH_REASONS,
                    Value::Array(Array::String(reasons)),
                ));
                span.set(KeyValue::new("http.response.status_code", 200));
            }
            Outcome::Failed(kind) => {
                let status = kind.status();
                span.set(KeyValue::new("error.type", kind.as_str()));
                span.set(KeyValue::new(
                    "http.response.status_code",
                    i64::from(status.as_u16()),
                ));
                // A refused request is the caller's failure, not this span's: so say the
                // conventions for HTTP servers.
                if status.is_server_error() {
                    span.fail(kind.as_str());
                }
            }
            Outcome::Aborted => span.set(KeyValue::new("error.type", ABORT)),
        }
        self.describe_latency(span, measured, ended);
        if let Some((prompt, answer)) = &measured.texts {
            span.set(KeyValue::new("gen_ai.input.messages", prompt.clone()));
            span.set(KeyValue::new("gen_ai.output.messages", answer.clone()));
        }
    }

    fn describe_latency(&self, span: &mut TreeSpan, measured: &Measured, ended: Instant) {
        let mut seconds = |name, duration: Duration| {
            span.set(KeyValue::new(name, duration.as_secs_f64()));
        };
        seconds(names::E2E, ended - self.started);
        if let Some((first, last)) = measured.tokens {
            seconds(names::TIME_TO_FIRST_TOKEN, first - self.started);
            seconds(names::TIME_IN_MODEL_DECODE, last - first);
        }
        if let Some((queued, first_step)) = measured.queue {
            seconds(names::TIME_IN_QUEUE, first_step - queued);
            if let Some((first, _)) = measured.tokens {
                seconds(names::TIME_IN_MODEL_PREFILL, first - first_step);
            }
        }
    }

    /// The children. Phases that were not measured are left out rather than guessed.
    fn trace_phases(&self, span: &TreeSpan, measured: &Measured, ended: Instant) {
        let phase = |parent: &TreeSpan, name, from, to| {
            parent.child(name, self.wall(from)).end(self.wall(to));
        };
        if let Some((from, to)) = measured.tokenize {
            phase(span, names::TOKENIZE_INPUT, from, to);
        }
        if let Some((queued, first_step)) = measured.queue {
            phase(span, names::QUEUE, queued, first_step);
        }
        if let Some((first, last)) = measured.tokens {
            let begin = measured.queue.map_or(first, |(_, first_step)| first_step);
            let model = span.child(names::MODEL_GENERATE, self.wall(begin));
            if begin < first {
                phase(&model, names::PREFILL, begin, first);
            }
            phase(&model, names::DECODE, first, last);
            model.end(self.wall(last));
        }
        // Tokens become text one by one, all along. One span stands for all of it: as long as the
        // sum, at the request's end.
        if measured.detokenize > Duration::ZERO {
            let from = ended
                .checked_sub(measured.detokenize)
                .unwrap_or(self.started);
            phase(span, names::DECODE_OUTPUT, from, ended);
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.finish(if std::thread::panicking() {
            Outcome::Failed(ErrorKind::Internal)
        } else {
            Outcome::Aborted
        });
    }
}

/// (last token − first token) / (tokens − 1), of two tokens or more. Several answers to one prompt
/// are computed side by side: their tokens are those of an average one.
pub fn time_per_output_token(measured: &Measured) -> Option<Duration> {
    let (first, last) = measured.tokens?;
    let generated = measured.generated / measured.answers.max(1);
    let gaps = u32::try_from(generated.checked_sub(1)?)
        .ok()
        .filter(|gaps| *gaps > 0)?;
    Some((last - first) / gaps)
}

/// Milliseconds with three digits after the point, for people.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
