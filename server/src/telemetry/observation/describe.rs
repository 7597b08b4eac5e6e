//! A request's spans: what they say, and the phases below the request.
use super::{Measured, Observation, Outcome};
use crate::telemetry::{metrics::ABORT, spans::TreeSpan};
use candlepower_api::names::spans as names;
use opentelemetry::{Array, KeyValue, Value};
use std::time::{Duration, Instant};

impl Observation {
    /// The request span's attributes.
    pub(super) fn describe(
        &self,
        span: &mut TreeSpan,
        measured: &Measured,
        outcome: &Outcome,
        ended: Instant,
    ) {
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
            Outcome::Finished(reasons) => {
                let reasons = reasons.iter().map(|reason| reason.as_str().into());
                span.set(KeyValue::new(
                    names::FINISH_REASONS,
                    Value::Array(Array::String(reasons.collect())),
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
    pub(super) fn trace_phases(&self, span: &TreeSpan, measured: &Measured, ended: Instant) {
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

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
