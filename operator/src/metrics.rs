//! What the operator counts about itself.
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};
use std::{fs, time::Instant};

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    failures: IntCounterVec,
    duration: Histogram,
    /// Reconciles that run now.
    running: IntGauge,
    writes: IntCounterVec,
    watch_errors: IntCounterVec,
    resident_memory: Gauge,
}

/// One controller, for labels.
pub const DEPLOYMENT_CONTROLLER: &str = "llmdeployment";

impl Metrics {
    /// Registers everything.
    pub fn new() -> Result<Self, prometheus::Error> {
        let name = |suffix: &str| format!("candlepower_operator_{suffix}");
        let counters = |suffix: &str, help: &str, label: &str| {
            IntCounterVec::new(Opts::new(name(suffix), help), &["controller", label])
        };
        let metrics = Self {
            registry: Registry::new(),
            reconciles: counters(
                "reconciles_total",
                "Reconciles that ended, by result.",
                "result",
            )?,
            failures: counters(
                "reconcile_failures_total",
                "Reconciles that failed, by category.",
                "category",
            )?,
            duration: Histogram::with_opts(
                HistogramOpts::new(
                    name("reconcile_duration_seconds"),
                    "How long a reconcile takes.",
                )
                .buckets(vec![
                    0.000_1, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
                ]),
            )?,
            running: IntGauge::new(name("reconciles_running"), "Reconciles that run now.")?,
            writes: counters(
                "writes_total",
                "Objects written to the API server, by kind.",
                "kind",
            )?,
            watch_errors: counters(
                "watch_errors_total",
                "Watches that broke off and were started again, by kind.",
                "kind",
            )?,
            resident_memory: Gauge::new(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            )?,
        };
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
        registry.register(Box::new(self.resident_memory.clone()))
    }

    /// Starts the clock of a reconcile; dropping it stops the clock, also when it is cancelled.
    pub fn reconcile(&self) -> RunningReconcile<'_> {
        self.running.inc();
        RunningReconcile {
            metrics: self,
            started: Instant::now(),
        }
    }

    /// A reconcile came to its end.
    pub fn reconciled(&self) {
        self.reconciles
            .with_label_values(&[DEPLOYMENT_CONTROLLER, "success"])
            .inc();
    }

    /// A reconcile failed.
    pub fn failed(&self, category: &str) {
        self.reconciles
            .with_label_values(&[DEPLOYMENT_CONTROLLER, "failure"])
            .inc();
        self.failures
            .with_label_values(&[DEPLOYMENT_CONTROLLER, category])
            .inc();
    }

    /// Something was written to the API server.
    pub fn wrote(&self, kind: &str) {
        self.writes
            .with_label_values(&[DEPLOYMENT_CONTROLLER, kind])
            .inc();
    }

    /// A watch broke off.
    pub fn watch_failed(&self, kind: &str) {
        self.watch_errors
            .with_label_values(&[DEPLOYMENT_CONTROLLER, kind])
            .inc();
    }

    /// Everything in Prometheus' text form.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        if let Some(bytes) = resident_memory() {
            self.resident_memory.set(bytes);
        }
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

/// Read from Linux's own account, because a collector crate for this one figure is larger than
/// this file.
fn resident_memory() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconciles_failures_and_memory_are_exported() {
        let metrics = Metrics::new().unwrap();
        drop(metrics.reconcile());
        metrics.reconciled();
        metrics.failed("conflict");
        metrics.wrote("Service");
        let text = metrics.encode().unwrap();
        for line in [
            "candlepower_operator_reconciles_total{controller=\"llmdeployment\",result=\"success\"} 1",
            "candlepower_operator_reconcile_failures_total{category=\"conflict\",controller=\"llmdeployment\"} 1",
            "candlepower_operator_reconcile_duration_seconds_count 1",
            "candlepower_operator_reconciles_running 0",
            "candlepower_operator_writes_total{controller=\"llmdeployment\",kind=\"Service\"} 1",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
