//! The way of a finished span to the exporter: a bounded queue that counts what it loses, and that
//! lets spans through which turned out to matter only at their end.
use candlepower_api::names::spans as names;
use opentelemetry::{
    Context,
    trace::{SpanContext, TraceFlags},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use prometheus::IntCounter;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Spans between the queue's entry and the exporter. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Occupancy(Arc<AtomicUsize>);

impl Occupancy {
    /// Takes a place, unless `most` are taken.
    fn enter(&self, most: usize) -> bool {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < most).then_some(taken + 1)
            })
            .is_ok()
    }

    /// Gives `spans` places back.
    pub fn leave(&self, spans: usize) {
        self.0.fetch_sub(spans, Ordering::AcqRel);
    }
}

/// Stands before the SDK's batching, which drops silently when its queue is full: here it never
/// is, since no more enter than it holds.
#[derive(Debug)]
pub struct SpanQueue<P> {
    inner: P,
    most: usize,
    occupancy: Occupancy,
    dropped: IntCounter,
}

impl<P: SpanProcessor> SpanQueue<P> {
    /// Hands up to `most` spans to `inner`, whose exporter tells `occupancy` what left; what does
    /// not fit counts as `dropped`.
    pub fn new(inner: P, most: usize, occupancy: Occupancy, dropped: IntCounter) -> Self {
        Self {
            inner,
            most,
            occupancy,
            dropped,
        }
    }
}

impl<P: SpanProcessor> SpanProcessor for SpanQueue<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let Some(span) = to_export(span) else { return };
        if self.occupancy.enter(self.most) {
            self.inner.on_end(span);
        } else {
            self.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// The span, if it is to be exported: sampled from the start, or at its end.
fn to_export(mut span: SpanData) -> Option<SpanData> {
    if span.span_context.is_sampled() {
        return Some(span);
    }
    let late =
        |attribute: &opentelemetry::KeyValue| attribute.key.as_str() == names::SAMPLED_BECAUSE;
    span.attributes.iter().any(late).then(|| {
        span.span_context = sampled(&span.span_context);
        span
    })
}

/// The same span, sampled.
pub fn sampled(context: &SpanContext) -> SpanContext {
    SpanContext::new(
        context.trace_id(),
        context.span_id(),
        context.trace_flags() | TraceFlags::SAMPLED,
        context.is_remote(),
        context.trace_state().clone(),
    )
}
