//! Makes series and registers them.
use crate::telemetry::exemplars::TracedHistogram;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Registry, core::Collector,
};

pub(in crate::telemetry) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let collector = collector?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

pub(in crate::telemetry) fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
) -> prometheus::Result<IntCounter> {
    register(registry, IntCounter::new(name, help))
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Gauge> {
    register(registry, Gauge::new(name, help))
}

pub(super) fn int_gauge(
    registry: &Registry,
    name: &str,
    help: &str,
) -> prometheus::Result<IntGauge> {
    register(registry, IntGauge::new(name, help))
}

pub(super) fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    edges: &[f64],
) -> prometheus::Result<Histogram> {
    let options = HistogramOpts::new(name, help).buckets(edges.to_vec());
    register(registry, Histogram::with_opts(options))
}

pub(super) fn traced(
    registry: &Registry,
    name: &str,
    help: &str,
    edges: &'static [f64],
) -> prometheus::Result<TracedHistogram> {
    let histogram = histogram(registry, name, help, edges)?;
    Ok(TracedHistogram::new(histogram, edges))
}
