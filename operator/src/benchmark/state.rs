//! Metrics about each benchmark, read from the cache when they are asked for: an alert is made of
//! them, and a fleet's board can be.
use super::Guarded;
use crate::events::find;
use candlepower_api::names::{conditions, operator_metrics as names};
use kube::{ResourceExt, runtime::reflector::Store};
use prometheus::{
    GaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// The state of all benchmarks.
pub(super) struct State {
    benchmarks: Vec<Store<Guarded>>,
    descriptions: Vec<Desc>,
}

impl State {
    /// The state of the benchmarks in these caches.
    pub(super) fn new(benchmarks: Vec<Store<Guarded>>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            benchmarks,
            descriptions: regressed()?.desc().into_iter().cloned().collect(),
        })
    }
}

fn regressed() -> Result<GaugeVec, prometheus::Error> {
    GaugeVec::new(
        Opts::new(
            names::BENCHMARK_REGRESSED,
            "1 where the last run of a schedule is worse than the one before it, 0 where it is not.",
        ),
        &[
            names::LABEL_NAMESPACE,
            names::LABEL_LLM_BENCHMARK,
            names::LABEL_LLM_DEPLOYMENT,
        ],
    )
}

impl Collector for State {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(series) = regressed() else {
            return Vec::new();
        };
        for guarded in self.benchmarks.iter().flat_map(Store::state) {
            let Ok(benchmark) = &guarded.0 else { continue };
            let found = benchmark
                .status
                .as_ref()
                .and_then(|status| find(&status.conditions, conditions::REGRESSED));
            let value = match found.map(|condition| condition.status.as_str()) {
                Some("True") => 1.0,
                Some("False") => 0.0,
                _ => continue,
            };
            let labels = [
                benchmark.namespace().unwrap_or_default(),
                benchmark.name_any(),
                benchmark.spec.target.deployment.clone().unwrap_or_default(),
            ];
            series.with_label_values(&labels).set(value);
        }
        let families = series.collect();
        families
            .into_iter()
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }
}
