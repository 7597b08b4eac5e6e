//! The Prometheus series. Their names come from [`names`]; their labels never come from requests.

use super::{
    busy::BusyClock, container::Container, exemplars::TracedHistogram, family, gpu::Gpus,
    openmetrics, traces::TraceMetrics,
};
use crate::{
    engine::{FinishReason, StepObserver, StepSummary},
    http::error::ErrorKind,
};
use candlepower_api::{
    names::{buckets, metrics as names},
    server_config::LoadedModel,
};
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder, core::Collector, proto::MetricFamily,
};
use std::time::{Duration, Instant};

/// The `finished_reason` of a request whose client went away before the answer was complete; the
/// name is vLLM's.
pub const ABORT: &str = "abort";

/// A counter that vLLM's dashboards ask for, of what this server never does.
const NEVER: (&str, &str) = (
    names::NUM_PREEMPTIONS,
    "Sequences that lost their place in the batch: always 0, admission reserves what they need.",
);

/// All series of one server, in a registry of its own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Series about requests.
    pub requests: RequestMetrics,
    /// Series about spans.
    pub traces: TraceMetrics,
    steps: StepMetrics,
    model: ModelMetrics,
    busy: BusyClock,
    container: Container,
    gpus: Gpus,
}

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
    pub inter_token_latency: Histogram,
    /// (last token − first token) / (tokens − 1).
    pub time_per_output_token: TracedHistogram,
    /// Request start to last byte.
    pub end_to_end: TracedHistogram,
    /// Admission to first step.
    pub queue: Histogram,
    /// First step to first token.
    pub prefill: Histogram,
    /// First token to last token.
    pub decode: Histogram,
    /// First step to last token.
    pub inference: Histogram,
    /// Prompt tokens per request.
    pub prompt_length: Histogram,
    /// Generated tokens per request.
    pub generation_length: Histogram,
    success: IntCounterVec,
    errors: IntCounterVec,
}

#[derive(Debug)]
struct StepMetrics {
    running: IntGauge,
    waiting: IntGauge,
    kv_cache_usage: Gauge,
    rows: Histogram,
    sequences: Histogram,
    prefix_queries: IntCounter,
    prefix_hits: IntCounter,
}

#[derive(Debug)]
struct ModelMetrics {
    loaded: IntGauge,
    info: GaugeVec,
    weights_bytes: Gauge,
    context_length: Gauge,
    load_seconds: Gauge,
}

impl Metrics {
    /// Registers all series.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let metrics = Self {
            requests: RequestMetrics::new(&registry)?,
            steps: StepMetrics::new(&registry)?,
            model: ModelMetrics::new(&registry)?,
            traces: TraceMetrics::new(&registry)?,
            busy: BusyClock::default(),
            container: Container::default(),
            gpus: Gpus::default(),
            registry,
        };
        counter(&metrics.registry, NEVER.0, NEVER.1)?;
        #[cfg(target_os = "linux")]
        metrics.registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(metrics)
    }

    /// The model serves; it took `load_time`. `revision` says which version of the weights it is,
    /// and is empty where that is not known.
    pub fn model_loaded(&self, model: &LoadedModel, revision: &str, load_time: Duration) {
        let labels = [
            &*model.name,
            &*model.architecture,
            &*model.precision,
            &*model.device,
            &*model.backend,
            revision,
        ];
        self.model.info.with_label_values(&labels).set(1.0);
        self.model.weights_bytes.set(model.weights_bytes as f64);
        self.model.context_length.set(model.context_length as f64);
        self.model.load_seconds.set(load_time.as_secs_f64());
        self.model.loaded.set(1);
    }

    /// Requests being computed and waiting, as known at this moment.
    pub fn set_load(&self, (running, waiting): (usize, usize)) {
        self.steps.running.set(gauge_value(running));
        self.steps.waiting.set(gauge_value(waiting));
    }

    /// The text form that Prometheus reads.
    pub fn render(&self) -> prometheus::Result<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// The same as OpenMetrics, with exemplars.
    pub fn render_openmetrics(&self) -> Result<String, std::fmt::Error> {
        let requests = &self.requests;
        let exemplars = [
            &requests.time_to_first_token,
            &requests.time_per_output_token,
            &requests.end_to_end,
        ]
        .map(TracedHistogram::exemplars);
        openmetrics::encode(&self.gather(), &exemplars.into())
    }

    /// Adds the series of this machine's GPUs.
    #[must_use]
    pub fn with_gpus(mut self, gpus: Gpus) -> Self {
        self.gpus = gpus;
        self
    }

    /// All series at this moment, the read ones behind the counted ones.
    fn gather(&self) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        let busy = self.busy.total(Instant::now()).as_secs_f64();
        families.extend(family::counters(
            names::ENGINE_BUSY_SECONDS,
            "Time in which at least one request was being computed.",
            vec![(Vec::new(), busy)],
        ));
        families.extend(self.container.families());
        families.extend(self.gpus.families());
        families
    }
}

impl StepObserver for Metrics {
    fn before_step(&self) {
        self.busy.begin(Instant::now());
    }

    fn step(&self, summary: &StepSummary) {
        if summary.is_idle() {
            self.busy.end(Instant::now());
        }
        self.set_load((summary.running, summary.waiting));
        let total = summary.kv_total_tokens.max(1);
        self.steps
            .kv_cache_usage
            .set(summary.kv_used_tokens as f64 / total as f64);
        self.steps
            .prefix_queries
            .inc_by(summary.prompt_tokens as u64);
        self.steps
            .prefix_hits
            .inc_by(summary.cached_prompt_tokens as u64);
        if summary.rows > 0 {
            self.steps.rows.observe(summary.rows as f64);
            self.steps.sequences.observe(summary.sequences as f64);
        }
    }
}

impl RequestMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let seconds = |name, help| histogram(registry, name, help, buckets::REQUEST_SECONDS);
        let tokens = |name, help| histogram(registry, name, help, buckets::REQUEST_TOKENS);
        let gap = |name, help| histogram(registry, name, help, buckets::TOKEN_GAP);
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
            time_per_output_token: traced(
                registry,
                names::REQUEST_TIME_PER_OUTPUT_TOKEN,
                "TPOT per request: (last token - first token) / (tokens - 1), for 2 tokens or more.",
                buckets::TOKEN_GAP,
            )?,
            end_to_end: traced(
                registry,
                names::E2E_REQUEST_LATENCY,
                "E2E: last byte - request start.",
                buckets::REQUEST_SECONDS,
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
                        "Requests answered, by why the answer ended; abort: the client left.",
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

impl StepMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            running: int_gauge(
                registry,
                names::NUM_REQUESTS_RUNNING,
                "Requests that a step is being computed for.",
            )?,
            waiting: int_gauge(
                registry,
                names::NUM_REQUESTS_WAITING,
                "Requests admitted and waiting for a place in the batch.",
            )?,
            kv_cache_usage: gauge(
                registry,
                names::KV_CACHE_USAGE,
                "Reserved share of the KV cache, 0 to 1.",
            )?,
            rows: histogram(
                registry,
                names::ITERATION_TOKENS,
                "Packed rows per engine step.",
                buckets::STEP_ROWS,
            )?,
            sequences: histogram(
                registry,
                names::BATCH_SIZE,
                "Sequences per engine step.",
                buckets::BATCH_SIZE,
            )?,
            prefix_queries: counter(
                registry,
                names::PREFIX_CACHE_QUERIES,
                "Prompt tokens looked up in the prefix cache.",
            )?,
            prefix_hits: counter(
                registry,
                names::PREFIX_CACHE_HITS,
                "Prompt tokens found in the prefix cache, which are not computed again.",
            )?,
        })
    }
}

impl ModelMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let labels = [
            names::LABEL_MODEL_NAME,
            names::LABEL_ARCHITECTURE,
            names::LABEL_PRECISION,
            names::LABEL_DEVICE,
            names::LABEL_BACKEND,
            names::LABEL_REVISION,
        ];
        Ok(Self {
            loaded: int_gauge(registry, names::MODEL_LOADED, "1 while a model is loaded.")?,
            info: register(
                registry,
                GaugeVec::new(
                    Opts::new(
                        names::MODEL_INFO,
                        "Always 1: what is loaded, in its labels.",
                    ),
                    &labels,
                ),
            )?,
            weights_bytes: gauge(
                registry,
                names::MODEL_WEIGHTS_BYTES,
                "Bytes of the weights in memory.",
            )?,
            context_length: gauge(
                registry,
                names::MODEL_CONTEXT_LENGTH,
                "Longest sequence (prompt and answer) in tokens.",
            )?,
            load_seconds: gauge(
                registry,
                names::MODEL_LOAD_SECONDS,
                "Seconds that loading and warming up took.",
            )?,
        })
    }
}

pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let collector = collector?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

pub(super) fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
) -> prometheus::Result<IntCounter> {
    register(registry, IntCounter::new(name, help))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Gauge> {
    register(registry, Gauge::new(name, help))
}

fn int_gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    register(registry, IntGauge::new(name, help))
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    edges: &[f64],
) -> prometheus::Result<Histogram> {
    let options = HistogramOpts::new(name, help).buckets(edges.to_vec());
    register(registry, Histogram::with_opts(options))
}

fn traced(
    registry: &Registry,
    name: &str,
    help: &str,
    edges: &'static [f64],
) -> prometheus::Result<TracedHistogram> {
    let histogram = histogram(registry, name, help, edges)?;
    Ok(TracedHistogram::new(histogram, edges))
}

fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
