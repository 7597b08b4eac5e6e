//! Sending spans to an OpenTelemetry collector, on a thread of its own and with a bounded queue: a
//! collector that is slow or away costs spans, never a request's time.
use super::spans::Spans;
use candlepower_api::{names::labels, server_config::TracingConfig};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter as OtlpExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
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
pub fn spans(config: &TracingConfig) -> Result<Spans, ExporterBuildError> {
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
    let processor = BatchSpanProcessor::builder(LoggedExporter::new(exporter, endpoint.clone()))
        .with_batch_config(batches)
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(sampler(config.sampling_ratio.fraction()))
        .with_resource(resource())
        .build();
    Ok(Spans::new(provider))
}

/// Follows the caller's decision; a request without one is traced with probability `ratio`.
pub fn sampler(ratio: f64) -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)))
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

/// Says once when the collector cannot be reached, and once when it can again.
#[derive(Debug)]
struct LoggedExporter<E> {
    inner: E,
    endpoint: String,
    failing: AtomicBool,
}

impl<E> LoggedExporter<E> {
    const fn new(inner: E, endpoint: String) -> Self {
        Self {
            inner,
            endpoint,
            failing: AtomicBool::new(false),
        }
    }
}

impl<E: SpanExporter> SpanExporter for LoggedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.inner.export(batch).await;
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
    use candlepower_api::value::Percentage;
    use std::time::Instant;

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        assert!(!spans(&TracingConfig::default()).unwrap().is_enabled());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_collector_that_is_away_neither_fails_nor_delays_a_request() {
        let config = TracingConfig {
            endpoint: Some("http://127.0.0.1:9".into()),
            sampling_ratio: Percentage::of_hundred(100.0),
            ..TracingConfig::default()
        };
        let spans = spans(&config).unwrap();
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
    }

    #[test]
    fn the_service_has_our_name_unless_the_environment_gives_another() {
        let name = resource().get(&SERVICE_NAME.into()).unwrap().to_string();
        let expected =
            std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| labels::SERVER_NAME.to_owned());
        assert_eq!(name, expected);
    }
}
