//! Sending spans to an OpenTelemetry collector, on a thread of its own and with a bounded queue: a
//! collector that is slow or away costs spans, never a request's time.
use super::{
    queue::{Occupancy, SpanQueue},
    spans::{SlowLimits, Spans},
    traces::TraceMetrics,
};
use candlepower_api::{
    names::{labels, spans as names},
    server_config::TracingConfig,
};
use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId},
};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter as OtlpExporter, WithExportConfig, WithTonicConfig,
    tonic_types::transport::ClientTlsConfig,
};
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

/// A collector that cannot even be tried.
#[derive(Debug, thiserror::Error)]
enum UnusableEndpoint {
    #[error("it begins with neither http:// nor https://")]
    Scheme,
    #[error("{0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Spans as configured: exported to the endpoint, or none where there is no endpoint. Nor where it
/// cannot be used, which a warning tells: a model that serves without traces is better than none.
///
/// Call it inside the Tokio runtime, which drives the connection.
pub fn spans(config: &TracingConfig, metrics: &TraceMetrics) -> Spans {
    let Some(endpoint) = &config.endpoint else {
        return Spans::disabled();
    };
    match exporter(endpoint) {
        Ok(exporter) => pipeline(exporter, endpoint, config, metrics),
        Err(error) => {
            tracing::warn!(
                endpoint,
                %error,
                "tracing.endpoint cannot be used, so that nothing is traced: write the URL of a collector that speaks OTLP over gRPC, such as http://collector:4317, or with https:// where SSL_CERT_FILE, or the system, has the certificates to check it with"
            );
            Spans::disabled()
        }
    }
}

fn exporter(endpoint: &str) -> Result<OtlpExporter, UnusableEndpoint> {
    let builder = OtlpExporter::builder().with_tonic();
    let builder = if endpoint.starts_with("https://") {
        // Without roots, which the default lacks, no certificate would ever be trusted.
        builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots())
    } else if endpoint.starts_with("http://") {
        builder
    } else {
        return Err(UnusableEndpoint::Scheme);
    };
    Ok(builder.with_endpoint(endpoint).build()?)
}

fn pipeline(
    exporter: OtlpExporter,
    endpoint: &str,
    config: &TracingConfig,
    metrics: &TraceMetrics,
) -> Spans {
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY)
        .build();
    let occupancy = Occupancy::default();
    let watched = WatchedExporter {
        inner: exporter,
        endpoint: endpoint.to_owned(),
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
    Spans::new(provider).with_slow_limits(SlowLimits {
        first_token: config.slow_first_token.as_std(),
        output_token: config.slow_output_token.as_std(),
    })
}

/// Follows the caller's decision; a request without one is traced with probability `ratio`. What
/// is not to be exported is recorded nevertheless: its end may show that it should be. Loading a
/// model is rare, and its only trace tells what a cold start took: it is always exported.
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
        if name == names::LOAD_MODEL {
            result.decision = SamplingDecision::RecordAndSample;
        } else if result.decision == SamplingDecision::Drop {
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
        let spans = spans(&TracingConfig::default(), &metrics.traces);
        assert!(!spans.is_enabled());
    }

    #[tokio::test]
    async fn an_endpoint_that_cannot_be_used_switches_tracing_off_and_does_no_more() {
        let metrics = Metrics::new().unwrap();
        for endpoint in ["collector:4317", "ftp://collector", "http://", "http://a b"] {
            let config = TracingConfig {
                endpoint: Some(endpoint.into()),
                ..TracingConfig::default()
            };
            assert!(!spans(&config, &metrics.traces).is_enabled(), "{endpoint}");
        }
    }

    fn always() -> TracingConfig {
        TracingConfig {
            endpoint: Some("http://127.0.0.1:9".into()),
            sampling_ratio: Percentage::of_hundred(100.0),
            ..TracingConfig::default()
        }
    }

    /// Begins and ends the spans of `requests`.
    fn trace(spans: &Spans, requests: usize) {
        for _ in 0..requests {
            let span = spans.start_request(
                "POST /generate".into(),
                &axum::http::HeaderMap::new(),
                std::time::SystemTime::now(),
            );
            assert!(span.is_sampled());
            span.end(std::time::SystemTime::now());
        }
    }

    async fn shut_down(spans: Spans) {
        tokio::task::spawn_blocking(move || spans.shutdown(Duration::from_millis(100)))
            .await
            .unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_collector_that_is_away_neither_fails_nor_delays_a_request() {
        let metrics = Metrics::new().unwrap();
        let spans = spans(&always(), &metrics.traces);
        let start = Instant::now();
        trace(&spans, 2 * QUEUE);
        assert!(start.elapsed() < Duration::from_secs(2));
        // The end of the process does not wait for it either.
        shut_down(spans).await;
        assert!(start.elapsed() < Duration::from_secs(4));
        // Half did not fit the queue, but for the batch that was on its way by then.
        let counted = metrics.traces.dropped.get();
        assert!(
            counted >= (QUEUE - BATCH) as u64,
            "{counted} spans counted as lost"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_collector_that_takes_connections_and_never_answers_costs_spans_and_no_time() {
        let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let endpoint = format!("http://{}", silent.local_addr().unwrap());
        let exporter = OtlpExporter::builder()
            .with_tonic()
            .with_endpoint(&endpoint)
            .with_timeout(Duration::from_millis(200))
            .build()
            .unwrap();
        let metrics = Metrics::new().unwrap();
        let counts = &metrics.traces;
        let spans = pipeline(exporter, &endpoint, &always(), counts);
        let (connected, connection) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let accepted = silent.accept().map(|(connection, _)| connection);
            connected.send((silent, accepted.unwrap()))
        });

        let start = Instant::now();
        trace(&spans, 3 * QUEUE);
        assert!(start.elapsed() < Duration::from_secs(2), "requests waited");
        // All are lost but what the queue and one batch on its way hold.
        let all = 3 * QUEUE as u64;
        let lost = counts.dropped.get();
        assert!(lost >= all - (QUEUE + BATCH) as u64, "{lost} counted");
        let _open = connection.recv_timeout(Duration::from_secs(5)).unwrap();

        while counts.dropped.get() < all && start.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(counts.dropped.get(), all, "each span is counted once");
        assert_eq!(counts.exported.get(), 0);
        let batches = counts.failures.get();
        assert!(batches >= (QUEUE / BATCH) as u64, "{batches} failed");
        shut_down(spans).await;
    }

    #[test]
    fn the_service_has_our_name_unless_the_environment_gives_another() {
        let name = resource().get(&SERVICE_NAME.into()).unwrap().to_string();
        let expected =
            std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| labels::SERVER_NAME.to_owned());
        assert_eq!(name, expected);
    }
}
