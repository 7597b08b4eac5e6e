//! The series about spans: how many arrive at the collector and how many are lost.
use super::metrics::counter;
use candlepower_api::names::metrics as names;
use prometheus::{IntCounter, Registry};

/// Series about spans. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TraceMetrics {
    /// Spans that the collector took.
    pub exported: IntCounter,
    /// Spans that were lost.
    pub dropped: IntCounter,
    /// Batches that could not be sent.
    pub failures: IntCounter,
}

impl TraceMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            exported: counter(
                registry,
                names::TRACE_SPANS_EXPORTED,
                "Spans that the collector took.",
            )?,
            dropped: counter(
                registry,
                names::TRACE_SPANS_DROPPED,
                "Spans lost because the queue was full or the collector did not take them.",
            )?,
            failures: counter(
                registry,
                names::TRACE_EXPORT_FAILURES,
                "Batches of spans that could not be sent.",
            )?,
        })
    }
}
