//! Load, throughput and resources over the time of a run.
use crate::{
    evidence::{
        Evidence,
        series::{Kind, Quantity},
    },
    figures::output_tokens_within,
    record::{Micros, Run},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parts that a run is divided into.
const MOMENTS: u64 = 150;
/// No part is shorter: scrapes come no faster.
const SHORTEST: Micros = 1_000_000;

/// A short part of a run.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// Its middle, in seconds since the run's start.
    pub at: f64,
    /// Output tokens per second that arrived.
    pub tokens_per_second: f64,
    /// Requests in flight, on average.
    pub in_flight: f64,
    /// Requests that waited in the server.
    pub waiting: Option<f64>,
    /// CPU in cores.
    pub cpu_cores: Option<f64>,
    /// Memory in bytes.
    pub memory: Option<f64>,
    /// KV cache in use, 0 to 1.
    pub kv_cache: Option<f64>,
    /// GPU utilisation, 0 to 1.
    pub gpu: Option<f64>,
}

/// The moments of a run.
pub(super) fn timeline(run: &Run, evidence: &Evidence) -> Vec<Moment> {
    let end = run.scenarios.iter().map(|one| one.ended).max().unwrap_or(0);
    let step = (end / MOMENTS).max(SHORTEST);
    let begins = (0..end / step).map(|place| place * step);
    begins
        .map(|begin| moment(run, evidence, (begin, begin + step)))
        .collect()
}

fn moment(run: &Run, evidence: &Evidence, window: (Micros, Micros)) -> Moment {
    let seconds = (window.1 - window.0) as f64 / 1e6;
    let requests = || {
        let scenarios = run.scenarios.iter();
        let meets = scenarios.filter(|one| one.started < window.1 && window.0 < one.ended);
        meets.flat_map(|one| &one.requests)
    };
    let inside = requests().map(|one| {
        let end = one.finished.min(window.1);
        end.saturating_sub(one.sent.max(window.0)) as f64 / 1e6
    });
    let tokens = requests().map(|one| output_tokens_within(one, window));
    Moment {
        at: (window.0 + window.1) as f64 / 2e6,
        tokens_per_second: tokens.sum::<f64>() / seconds,
        in_flight: inside.sum::<f64>() / seconds,
        waiting: look(evidence, Quantity::Waiting, window),
        cpu_cores: look(evidence, Quantity::CpuSeconds, window),
        memory: look(evidence, Quantity::Memory, window),
        kv_cache: look(evidence, Quantity::KvCacheUsage, window),
        gpu: look(evidence, Quantity::GpuUtilization, window),
    }
}

/// A gauge's mean, or a counter's rate; between scrapes that are rarer than moments, the rate of the
/// scrapes around it.
fn look(evidence: &Evidence, quantity: Quantity, window: (Micros, Micros)) -> Option<f64> {
    let series = evidence.series(quantity)?;
    let wider = |by: u64| {
        let more = (window.1 - window.0) * by;
        (window.0.saturating_sub(more), window.1 + more)
    };
    let found = |window| match quantity.kind() {
        Kind::Gauge => series.mean(window),
        Kind::Counter => series.rate(window),
    };
    (0..4).find_map(|by| found(wider(by)))
}
