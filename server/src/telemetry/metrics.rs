//! The Prometheus series. Their names come from [`names`]; their labels never come from requests.
mod register;
mod requests;

pub(super) use register::{counter, register};
pub use requests::{ABORT, RequestMetrics};

use super::{
    busy::BusyClock, container::Container, exemplars::TracedHistogram, family, gpu::Gpus,
    openmetrics, traces::TraceMetrics,
};
use crate::engine::{StepObserver, StepSummary};
use candlepower_api::{
    names::{buckets, metrics as names},
    server_config::LoadedModel,
};
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, IntCounter, IntGauge, Opts, Registry, TextEncoder,
    proto::MetricFamily,
};
use register::{gauge, histogram, int_gauge};
use std::time::{Duration, Instant};

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
    kv_bytes_per_token: Gauge,
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
        let kv_bytes_per_token = model.kv_bytes_per_token.unwrap_or_default();
        self.model.kv_bytes_per_token.set(kv_bytes_per_token as f64);
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
        let exemplars = self.requests.traced().map(TracedHistogram::exemplars);
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

    fn admitted(&self, summary: &StepSummary) {
        self.set_load((summary.running, summary.waiting));
        let total = summary.kv_total_tokens.max(1);
        self.steps
            .kv_cache_usage
            .set(summary.kv_used_tokens as f64 / total as f64);
    }

    fn step(&self, summary: &StepSummary) {
        if summary.running == 0 {
            self.busy.end(Instant::now());
        }
        self.admitted(summary);
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
                "Requests submitted and waiting for a place in the batch.",
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
            kv_bytes_per_token: gauge(
                registry,
                names::MODEL_KV_BYTES_PER_TOKEN,
                "Bytes that one token takes in the KV cache, in all layers.",
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

fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
