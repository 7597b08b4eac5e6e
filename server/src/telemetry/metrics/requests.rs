//! Series about requests: how many, how they ended, and how long their parts took.
use super::register::{counter, histogram, register, traced};
use crate::{engine::FinishReason, http::error::ErrorKind, telemetry::exemplars::TracedHistogram};
use candlepower_api::names::{buckets, metrics as names};
use prometheus::{Histogram, IntCounter, IntCounterVec, Opts, Registry};

/// The `finished_reason` of a request whose client went away before the answer was complete; the
/// name is vLLM's.
pub const ABORT: &str = "abort";

/// Series about requests.
#[derive(Debug)]
pub struct RequestMetrics {
    /// Prompt tokens processed.
    pub prompt_tokens: IntCounter,
    /// Tokens generated.
    pub generation_tokens: IntCounter,
    /// Request start to first token.
    pub time_to_first_token: TracedHistogram,
    /// Gap between successive tokens.
    pub inter_token_latency: TracedHistogram,
    /// (last token − first token) / (tokens − 1).
    pub time_per_output_token: TracedHistogram,
    /// Request start to last byte.
    pub end_to_end: TracedHistogram,
    /// Admission to first step.
    pub queue: TracedHistogram,
    /// First step to first token.
    pub prefill: TracedHistogram,
    /// First token to last token.
    pub decode: TracedHistogram,
    /// First step to last token.
    pub inference: TracedHistogram,
    /// Prompt tokens per request.
    pub prompt_length: Histogram,
    /// Generated tokens per request.
    pub generation_length: Histogram,
    success: IntCounterVec,
    errors: IntCounterVec,
}

impl RequestMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let seconds = |name, help| traced(registry, name, help, buckets::REQUEST_SECONDS);
        let tokens = |name, help| histogram(registry, name, help, buckets::REQUEST_TOKENS);
        let gap = |name, help| traced(registry, name, help, buckets::TOKEN_GAP);
        let metrics = Self {
            prompt_tokens: counter(registry, names::PROMPT_TOKENS, "Prompt tokens processed.")?,
            generation_tokens: counter(registry, names::GENERATION_TOKENS, "Tokens generated.")?,
            time_to_first_token: traced(
                registry,
                names::TIME_TO_FIRST_TOKEN,
                "TTFT: first token's time - request start.",
                buckets::TIME_TO_FIRST_TOKEN,
            )?,
            inter_token_latency: gap(
                names::INTER_TOKEN_LATENCY,
                "ITL: each gap between successive tokens.",
            )?,
            time_per_output_token: gap(
                names::REQUEST_TIME_PER_OUTPUT_TOKEN,
                "TPOT per request: (last token - first token) / (tokens - 1), for 2 tokens or more.",
            )?,
            end_to_end: seconds(
                names::E2E_REQUEST_LATENCY,
                "E2E: last byte - request start.",
            )?,
            queue: seconds(
                names::REQUEST_QUEUE_TIME,
                "First step - admission to the queue.",
            )?,
            prefill: seconds(names::REQUEST_PREFILL_TIME, "First token - first step.")?,
            decode: seconds(names::REQUEST_DECODE_TIME, "Last token - first token.")?,
            inference: seconds(names::REQUEST_INFERENCE_TIME, "Last token - first step.")?,
            prompt_length: tokens(names::REQUEST_PROMPT_TOKENS, "Prompt tokens per request.")?,
            generation_length: tokens(
                names::REQUEST_GENERATION_TOKENS,
                "Generated tokens per request.",
            )?,
            success: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        names::REQUEST_SUCCESS,
                        "Answers to requests, n to each, by why they ended; abort: the client left.",
                    ),
                    &[names::LABEL_FINISHED_REASON],
                ),
            )?,
            errors: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        names::REQUEST_ERRORS,
                        "Requests refused or failed, by kind and by whose fault it is.",
                    ),
                    &[names::LABEL_ERROR_TYPE, names::LABEL_FAULT],
                ),
            )?,
        };
        // A series that is there at 0 from the start lets `rate()` see the first error.
        for kind in ErrorKind::ALL {
            metrics
                .errors
                .with_label_values(&[kind.as_str(), kind.fault()]);
        }
        for reason in [
            FinishReason::Stop.as_str(),
            FinishReason::Length.as_str(),
            ABORT,
        ] {
            metrics.success.with_label_values(&[reason]);
        }
        Ok(metrics)
    }

    /// The histograms whose buckets have exemplars.
    pub(super) fn traced(&self) -> [&TracedHistogram; 8] {
        [
            &self.time_to_first_token,
            &self.inter_token_latency,
            &self.time_per_output_token,
            &self.end_to_end,
            &self.queue,
            &self.prefill,
            &self.decode,
            &self.inference,
        ]
    }

    /// An answer ended as it should, or [`ABORT`]ed by its client.
    pub fn succeeded(&self, finished_reason: &'static str) {
        self.success.with_label_values(&[finished_reason]).inc();
    }

    /// A request was refused or failed.
    pub fn failed(&self, kind: ErrorKind) {
        self.errors
            .with_label_values(&[kind.as_str(), kind.fault()])
            .inc();
    }
}
