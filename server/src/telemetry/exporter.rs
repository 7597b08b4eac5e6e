//! Sending spans to an OpenTelemetry collector, on a thread of its own and with a bounded queue: a
//! collector that is slow or away costs spans, never a request's time.
use super::{
    queue::{Occupancy, SpanQueue},
    spans::Spans,
    traces::TraceMetrics,
};
use candlepower_api::{names::labels, server_config::TracingConfig};
use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId},
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter as OtlpExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingDecision, SamplingResult,
        SdkTracerProvider, ShouldSample, SpanData, SpanExporter,
    },
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

const SERVICE_NAME: &str = "service.name";
/// Spans that wait for the collector; more are dropped.
const QUEUE: usize = 4096;
const BATCH: usize = 512;
/// How old a span gets before it is sent.
const DELAY: Duration = Duration::from_secs(1);

/// Spans as configured: exported to the endpoint, or none where there is no endpoint.
///
/// Call it inside the Tokio runtime, which drives the connection.
pub fn spans(config: &TracingConfig, metrics: &TraceMetrics) -> Result<Spans, ExporterBuildError> {
    let Some(endpoint) = &config.endpoint else {
        return Ok(Spans::disabled());
    };
    let exporter = OtlpExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY)
        .build();
    let occupancy = Occupancy::default();
    let watched = WatchedExporter {
        inner: exporter,
        endpoint: endpoint.clone(),
        failing: AtomicBool::new(false),
        occupancy: occupancy.clone(),
        metrics: metrics.clone(),
    };
    let processor = BatchSpanProcessor::builder(watched)
        .with_batch_config(batches)
        .build();
    let queue = SpanQueue::new(processor, QUEUE, occupancy, metrics.dropped.clone());
    let provider = SdkTracerProvider::builder()
        .with_span_processor(queue)
        .with_sampler(sampler(config.sampling_ratio.fraction()))
        .with_resource(resource())
        .build();
    Ok(Spans::new(provider).with_slow_first_token(config.slow_first_token.as_std()))
}

/// Follows the caller's decision; a request without one is traced with probability `ratio`. What
/// is not to be exported is recorded nevertheless: its end may show that it should be.
pub fn sampler(ratio: f64) -> impl ShouldSample + 'static {
    KeepRecording(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
        ratio,
    ))))
}

#[derive(Clone, Debug)]
struct KeepRecording(Sampler);

impl ShouldSample for KeepRecording {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self
            .0
            .should_sample(parent, trace_id, name, kind, attributes, links);
        if result.decision == SamplingDecision::Drop {
            result.decision = SamplingDecision::RecordOnly;
        }
        result
    }
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, and our name where they give none.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let named = found.iter().any(|(key, value)| {
        key.as_str() == SERVICE_NAME && !value.as_str().starts_with("unknown_service")
    });
    if named {
        return found;
    }
    Resource::builder()
        .with_attribute(KeyValue::new(SERVICE_NAME, labels::SERVER_NAME))
        .build()
}

/// Counts what arrives and what does not; says once when the collector cannot be reached, and once
/// when it can again.
#[derive(Debug)]
struct WatchedExporter<E> {
    inner: E,
    endpoint: String,
    failing: AtomicBool,
    occupancy: Occupancy,
    metrics: TraceMetrics,
}

impl<E: SpanExporter> SpanExporter for WatchedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.occupancy.leave(spans);
        let result = self.inner.export(batch).await;
        if result.is_ok() {
            self.metrics.exported.inc_by(spans as u64);
        } else {
            self.metrics.failures.inc();
            self.metrics.dropped.inc_by(spans as u64);
        }
        let failed = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed => tracing::warn!(
                endpoint = self.endpoint,
                %error,
                "spans cannot be sent and are dropped; requests are not affected"
            ),
            Ok(()) if failed => tracing::info!(endpoint = self.endpoint, "spans are sent again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;
    use candlepower_api::value::Percentage;
    use std::time::Instant;

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        let metrics = Metrics::new().unwrap();
        let spans = spans(&TracingConfig::default(), &metrics.traces).unwrap();
        assert!(!spans.is_enabled());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_collector_that_is_away_neither_fails_nor_delays_a_request() {
        let config = TracingConfig {
            endpoint: Some("http://127.0.0.1:9".into()),
            sampling_ratio: Percentage::of_hundred(100.0),
            ..TracingConfig::default()
        };
        let metrics = Metrics::new().unwrap();
        let spans = spans(&config, &metrics.traces).unwrap();
        let start = Instant::now();
        for _ in 0..2 * QUEUE {
            let span = spans.start_request(
                "POST /generate".into(),
                &axum::http::HeaderMap::new(),
                std::time::SystemTime::now(),
            );
            assert!(span.is_sampled());
            span.end(std::time::SystemTime::now());
        }
        assert!(start.elapsed() < Duration::from_secs(2));
        // The end of the process does not wait for it either.
        tokio::task::spawn_blocking(move || spans.shutdown(Duration::from_millis(100)))
            .await
            .unwrap();
        assert!(start.elapsed() < Duration::from_secs(4));
        // Half did not fit the queue, but for the batch that was on its way by then.
        let counted = metrics.traces.dropped.get();
        assert!(
            counted >= (QUEUE - BATCH) as u64,
            "{counted} spans counted as lost"
        );
    }

    #[test]
    fn the_service_has_our_name_unless_the_environment_gives_another() {
        let name = resource().get(&SERVICE_NAME.into()).unwrap().to_string();
        let expected =
            std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| labels::SERVER_NAME.to_owned());
        assert_eq!(name, expected);
    }
}
