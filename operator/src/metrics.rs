//! What the operator counts about itself.
use crate::error::Error;
use candlepower_api::names::operator_metrics as names;
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Series in Prometheus' text form, in parts that are made while they are sent.
pub(crate) type Parts = Box<dyn Iterator<Item = String> + Send>;

/// Makes the series of what there is now.
pub(crate) type Source = Box<dyn Fn() -> Parts + Send + Sync>;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    /// Of what is too much for the registry.
    sources: Mutex<Vec<Source>>,
    reconciles: IntCounterVec,
    failures: IntCounterVec,
    duration: Histogram,
    /// Reconciles that run now.
    running: IntGauge,
    writes: IntCounterVec,
    watch_errors: IntCounterVec,
    retries_pending: IntGaugeVec,
    api_requests: IntCounterVec,
    leader: IntGauge,
    scrapes: IntCounterVec,
    scrape_duration: Histogram,
}

/// The same from the side of one controller, whose name its series carry.
#[derive(Clone, Debug)]
pub struct ControllerMetrics {
    metrics: Arc<Metrics>,
    controller: &'static str,
}

/// The controller of `LLMDeployment`, for labels.
pub const DEPLOYMENT_CONTROLLER: &str = "llmdeployment";
/// The controller of `LLMBenchmark`, for labels.
pub const BENCHMARK_CONTROLLER: &str = "llmbenchmark";

impl ControllerMetrics {
    /// What `controller` counts. Failures are there at 0 from the start: the first one would
    /// otherwise be no increase, and a board could not tell none from a name that is wrong.
    pub fn new(metrics: &Arc<Metrics>, controller: &'static str) -> Self {
        for result in ["success", "failure"] {
            metrics.reconciles.with_label_values(&[controller, result]);
        }
        metrics.retries_pending.with_label_values(&[controller]);
        for category in Error::CATEGORIES {
            metrics.failures.with_label_values(&[controller, category]);
        }
        Self {
            metrics: metrics.clone(),
            controller,
        }
    }

    /// Starts the clock of a reconcile; dropping it stops the clock, also when it is cancelled.
    pub fn reconcile(&self) -> RunningReconcile<'_> {
        self.metrics.running.inc();
        RunningReconcile {
            metrics: &self.metrics,
            started: Instant::now(),
        }
    }

    /// A reconcile came to its end.
    pub fn reconciled(&self) {
        self.metrics
            .reconciles
            .with_label_values(&[self.controller, "success"])
            .inc();
    }

    /// A reconcile failed.
    pub fn failed(&self, category: &str) {
        self.metrics
            .reconciles
            .with_label_values(&[self.controller, "failure"])
            .inc();
        self.metrics
            .failures
            .with_label_values(&[self.controller, category])
            .inc();
    }

    /// One more object waits to be tried again.
    pub fn retry_begins(&self) {
        self.retries_pending().inc();
    }

    /// One object does so no more.
    pub fn retry_ends(&self) {
        self.retries_pending().dec();
    }

    fn retries_pending(&self) -> IntGauge {
        let of_all = &self.metrics.retries_pending;
        of_all.with_label_values(&[self.controller])
    }

    /// Something was written to the API server.
    pub fn wrote(&self, kind: &str) {
        self.metrics
            .writes
            .with_label_values(&[self.controller, kind])
            .inc();
    }

    /// A watch begins: how often it broke off is told from now on.
    pub fn watches(&self, kind: &str) {
        self.metrics
            .watch_errors
            .with_label_values(&[self.controller, kind]);
    }

    /// A watch broke off.
    pub fn watch_failed(&self, kind: &str) {
        self.metrics
            .watch_errors
            .with_label_values(&[self.controller, kind])
            .inc();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, label: &str| {
            IntCounterVec::new(Opts::new(name, help), &["controller", label])
        };
        let seconds = |name: &str, help: &str| {
            let edges = vec![
                0.000_1, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
            ];
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(edges))
        };
        let metrics = Self {
            registry: Registry::new(),
            sources: Mutex::default(),
            reconciles: counters(
                names::RECONCILES,
                "Reconciles that ended, by result.",
                "result",
            )?,
            failures: counters(
                names::RECONCILE_FAILURES,
                "Reconciles that failed, by category.",
                "category",
            )?,
            duration: seconds(names::RECONCILE_DURATION, "How long a reconcile takes.")?,
            running: IntGauge::new(names::RECONCILES_RUNNING, "Reconciles that run now.")?,
            writes: counters(
                names::WRITES,
                "Objects written to the API server, by kind.",
                "kind",
            )?,
            watch_errors: counters(
                names::WATCH_ERRORS,
                "Watches that broke off and were started again, by kind.",
                "kind",
            )?,
            retries_pending: IntGaugeVec::new(
                Opts::new(
                    names::RETRIES_PENDING,
                    "Objects whose last reconcile failed, and that wait to be tried again.",
                ),
                &["controller"],
            )?,
            api_requests: IntCounterVec::new(
                Opts::new(
                    names::API_REQUESTS,
                    "Requests to the API server, by verb, resource and status.",
                ),
                &[
                    names::LABEL_VERB,
                    names::LABEL_RESOURCE,
                    names::LABEL_STATUS,
                ],
            )?,
            leader: IntGauge::new(
                names::LEADER,
                "1 while this process leads, or where there is no election.",
            )?,
            scrapes: IntCounterVec::new(
                Opts::new(names::SCRAPES, "Scrapes of models' pods, by result."),
                &[names::LABEL_RESULT],
            )?,
            scrape_duration: seconds(
                names::SCRAPE_DURATION,
                "How long it takes to scrape all pods.",
            )?,
        };
        for result in ["success", "failure"] {
            metrics.scrapes.with_label_values(&[result]);
        }
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let registry = &self.registry;
        registry.register(Box::new(self.reconciles.clone()))?;
        registry.register(Box::new(self.failures.clone()))?;
        registry.register(Box::new(self.duration.clone()))?;
        registry.register(Box::new(self.running.clone()))?;
        registry.register(Box::new(self.writes.clone()))?;
        registry.register(Box::new(self.watch_errors.clone()))?;
        registry.register(Box::new(self.retries_pending.clone()))?;
        registry.register(Box::new(self.api_requests.clone()))?;
        registry.register(Box::new(self.leader.clone()))?;
        registry.register(Box::new(self.scrapes.clone()))?;
        registry.register(Box::new(self.scrape_duration.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(())
    }

    /// The API server was asked; `None` where it did not answer.
    pub fn requested(&self, verb: &str, resource: &str, status: Option<u16>) {
        let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        self.api_requests
            .with_label_values(&[verb, resource, &status])
            .inc();
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// A pod was asked for its metrics.
    pub fn scraped(&self, answered: bool) {
        let result = if answered { "success" } else { "failure" };
        self.scrapes.with_label_values(&[result]).inc();
    }

    /// All pods were asked; it took this long.
    pub fn scraped_all(&self, took: Duration) {
        self.scrape_duration.observe(took.as_secs_f64());
    }

    /// Exports what `collector` collects, too.
    pub fn add(&self, collector: Box<dyn Collector>) -> Result<(), prometheus::Error> {
        self.registry.register(collector)
    }

    /// Exports what `source` makes, too.
    pub(crate) fn add_source(&self, source: Source) {
        self.sources().push(source);
    }

    /// Everything in Prometheus' text form, in parts.
    pub(crate) fn parts(&self) -> Result<Parts, prometheus::Error> {
        let own = std::iter::once(self.encode()?);
        let others: Vec<_> = self.sources().iter().map(|source| source()).collect();
        Ok(Box::new(own.chain(others.into_iter().flatten())))
    }

    fn sources(&self) -> MutexGuard<'_, Vec<Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the process counts about itself, in Prometheus' text form.
    fn encode(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Measures one reconcile.
#[derive(Debug)]
pub struct RunningReconcile<'a> {
    metrics: &'a Metrics,
    started: Instant,
}

impl Drop for RunningReconcile<'_> {
    fn drop(&mut self) {
        self.metrics.running.dec();
        self.metrics
            .duration
            .observe(self.started.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        metrics.parts().unwrap().collect()
    }

    #[test]
    fn what_is_made_for_each_scrape_follows_what_is_counted() {
        let metrics = Metrics::new().unwrap();
        let parts = || -> Parts { Box::new(["a 1\n", "b 2\n"].map(str::to_owned).into_iter()) };
        metrics.add_source(Box::new(parts));
        assert!(text(&metrics).contains("candlepower_operator_leader 0\n"));
        assert!(text(&metrics).ends_with("\na 1\nb 2\n"));
    }

    #[test]
    fn what_never_failed_is_told_as_zero() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let controller = ControllerMetrics::new(&metrics, BENCHMARK_CONTROLLER);
        controller.watches("Pod");
        metrics.leads(false);
        let text = text(&metrics);
        for line in [
            "candlepower_operator_reconciles_total{controller=\"llmbenchmark\",result=\"failure\"} 0",
            "candlepower_operator_reconcile_failures_total{category=\"conflict\",controller=\"llmbenchmark\"} 0",
            "candlepower_operator_reconcile_failures_total{category=\"unreachable\",controller=\"llmbenchmark\"} 0",
            "candlepower_operator_watch_errors_total{controller=\"llmbenchmark\",kind=\"Pod\"} 0",
            "candlepower_operator_scrapes_total{result=\"failure\"} 0",
            "candlepower_operator_retries_pending{controller=\"llmbenchmark\"} 0",
            "candlepower_operator_leader 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn reconciles_failures_and_memory_are_exported() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let controller = ControllerMetrics::new(&metrics, DEPLOYMENT_CONTROLLER);
        drop(controller.reconcile());
        controller.reconciled();
        controller.failed("conflict");
        controller.wrote("Service");
        metrics.requested("get", "pods", None);
        metrics.leads(true);
        let text = text(&metrics);
        for line in [
            "candlepower_operator_reconciles_total{controller=\"llmdeployment\",result=\"success\"} 1",
            "candlepower_operator_reconcile_failures_total{category=\"conflict\",controller=\"llmdeployment\"} 1",
            "candlepower_operator_reconcile_duration_seconds_count 1",
            "candlepower_operator_reconciles_running 0",
            "candlepower_operator_writes_total{controller=\"llmdeployment\",kind=\"Service\"} 1",
            "candlepower_operator_api_requests_total{resource=\"pods\",status=\"none\",verb=\"get\"} 1",
            "candlepower_operator_leader 1",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
