//! One request as it was measured, reported once, whichever way it ends: to the histograms, as a
//! tree of spans, and as a log line.
mod describe;

use super::{
    exemplars::TracedHistogram,
    metrics::{ABORT, Metrics},
    spans::{SlowLimits, Spans, TreeSpan},
};
use crate::{engine::FinishReason, http::error::ErrorKind};
use axum::http::HeaderMap;
use candlepower_api::names::{metrics::FAULT_SERVER, spans as names};
use opentelemetry::trace::SpanId;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// How a request ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// With complete answers to its prompt, each for its own reason.
    Finished(Vec<FinishReason>),
    /// With an error.
    Failed(ErrorKind),
    /// The client went away.
    Aborted,
}

impl Outcome {
    /// In a word; in more where its answers ended differently.
    fn name(&self) -> String {
        match self {
            Self::Finished(reasons) => {
                let mut names: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
                names.sort_unstable();
                names.dedup();
                names.join(",")
            }
            Self::Failed(kind) => kind.as_str().to_owned(),
            Self::Aborted => ABORT.to_owned(),
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
    /// None where tracing is off.
    span_id: Option<SpanId>,
    sampled: AtomicBool,
    slow: SlowLimits,
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
            span_id: span.span_id(),
            sampled: AtomicBool::new(span.is_sampled()),
            slow: spans.slow_limits(),
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

    /// What the caller learns of its trace, in the form of W3C Trace Context Level 2: the trace, the
    /// server's span in it, and whether it is exported as far as is known by now.
    pub fn trace_response(&self) -> Option<String> {
        let (trace_id, span_id) = (self.trace_id()?, self.span_id?);
        let flags = u8::from(self.sampled.load(Ordering::Relaxed));
        Some(format!("00-{trace_id}-{span_id}-{flags:02x}"))
    }

    /// Keeps what is known of its generation.
    pub fn measured(&self, measured: Measured) {
        if let Some(open) = self.lock().as_mut() {
            open.measured = measured;
        }
    }

    /// Reports how it ended. Only the first end counts.
    pub fn finish(&self, outcome: &Outcome) {
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
        outcome: &Outcome,
        ended: Instant,
    ) -> Option<&'static str> {
        let waited = measured.tokens.map_or(ended, |(first, _)| first) - self.started;
        let dragging =
            time_per_output_token(measured).is_some_and(|gap| gap > self.slow.output_token);
        match outcome {
            Outcome::Failed(kind) if kind.fault() == FAULT_SERVER => Some(names::BECAUSE_ERROR),
            _ if self.begins_slowly(waited) || dragging => Some(names::BECAUSE_SLOW),
            _ => None,
        }
    }

    fn begins_slowly(&self, waited: Duration) -> bool {
        self.span_id.is_some() && waited > self.slow.first_token
    }

    /// The trace's id for an exemplar from the first token on, which was `waited` for: that a request
    /// which begins slowly will be exported is known by then.
    pub fn exemplar(&self, waited: Duration) -> Option<&str> {
        let exported = self.sampled.load(Ordering::Relaxed) || self.begins_slowly(waited);
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
    fn count(&self, measured: &Measured, outcome: &Outcome, ended: Instant) {
        let requests = &self.metrics.requests;
        let Outcome::Finished(reasons) = outcome else {
            if *outcome == Outcome::Aborted {
                requests.succeeded(ABORT);
            }
            return;
        };
        for reason in reasons {
            requests.succeeded(reason.as_str());
        }
        requests
            .prompt_length
            .observe(measured.prompt_tokens as f64);
        requests
            .generation_length
            .observe(measured.generated as f64);
        let exemplar = self.sampled_trace_id();
        let observe = |times: &TracedHistogram, time: Duration| {
            times.observe(time.as_secs_f64(), exemplar);
        };
        observe(&requests.end_to_end, ended - self.started);
        if let Some(gap) = time_per_output_token(measured) {
            observe(&requests.time_per_output_token, gap);
        }
        if let Some((queued, first_step)) = measured.queue {
            observe(&requests.queue, first_step - queued);
        }
        if let (Some((_, first_step)), Some((first, last))) = (measured.queue, measured.tokens) {
            observe(&requests.prefill, first - first_step);
            observe(&requests.decode, last - first);
            observe(&requests.inference, last - first_step);
        }
    }

    fn log(&self, measured: &Measured, outcome: &Outcome, ended: Instant) {
        tracing::info!(
            method = self.method,
            path = self.path,
            outcome = outcome.name(),
            trace_id = self.trace_id(),
            prompt_tokens = measured.prompt_tokens,
            completion_tokens = measured.generated,
            first_token_ms = measured
                .tokens
                .map(|(first, _)| millis(first - self.started)),
            total_ms = millis(ended - self.started),
            "request"
        );
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() {
            Outcome::Failed(ErrorKind::Internal)
        } else {
            Outcome::Aborted
        };
        self.finish(&outcome);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_end_differently_are_each_counted_by_their_reason() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (spans, headers) = (Spans::disabled(), HeaderMap::new());
        let observation =
            Observation::start("POST", "/generate", Arc::clone(&metrics), &spans, &headers);
        let outcome = Outcome::Finished(vec![
            FinishReason::Stop,
            FinishReason::Length,
            FinishReason::Stop,
        ]);
        assert_eq!(outcome.name(), "length,stop");
        observation.finish(&outcome);
        let text = metrics.render().unwrap();
        for counted in ["stop\"} 2", "length\"} 1", "abort\"} 0"] {
            let line = format!("llm_request_success_total{{finished_reason=\"{counted}");
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }
}
