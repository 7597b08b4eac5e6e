//! OpenTelemetry spans, made after the fact from what was measured: nothing is traced while an
//! answer is computed, so tracing costs nothing where time matters.
use super::queue;
use crate::load::LoadTrace;
use axum::http::HeaderMap;
use candlepower_api::names::spans as names;
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceId,
        Tracer, TracerProvider,
    },
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider, Span},
};
use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

/// Name of the instrumentation scope.
const SCOPE: &str = "candlepower-server";

/// From when on a request counts as slow, and is exported in any case.
#[derive(Clone, Copy, Debug)]
pub struct SlowLimits {
    /// How long it may wait for its first token.
    pub first_token: Duration,
    /// How far apart its tokens may come, on average.
    pub output_token: Duration,
}

impl SlowLimits {
    /// No request is slow.
    pub const NONE: Self = Self {
        first_token: Duration::MAX,
        output_token: Duration::MAX,
    };
}

/// Where spans go; nowhere when tracing is off.
#[derive(Clone, Debug)]
pub struct Spans {
    target: Option<(SdkTracerProvider, SdkTracer)>,
    slow: SlowLimits,
}

impl Spans {
    /// No span is recorded. A caller's trace id is still read, for logs.
    pub const fn disabled() -> Self {
        Self {
            target: None,
            slow: SlowLimits::NONE,
        }
    }

    /// Spans go to `provider`.
    pub fn new(provider: SdkTracerProvider) -> Self {
        let tracer = provider.tracer(SCOPE);
        Self {
            target: Some((provider, tracer)),
            slow: SlowLimits::NONE,
        }
    }

    /// A request that is slower is always exported.
    #[must_use]
    pub const fn with_slow_limits(mut self, slow: SlowLimits) -> Self {
        self.slow = slow;
        self
    }

    /// From when on a request is exported in any case.
    pub const fn slow_limits(&self) -> SlowLimits {
        self.slow
    }

    /// Whether spans go anywhere.
    pub const fn is_enabled(&self) -> bool {
        self.target.is_some()
    }

    /// Begins the SERVER span of a request, below the caller's span where `headers` carry a W3C
    /// `traceparent`.
    pub fn start_request(&self, name: String, headers: &HeaderMap, at: SystemTime) -> TreeSpan {
        let parent = caller(headers);
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Server)
            .with_start_time(at);
        self.start(builder, &parent)
    }

    /// Begins a trace of its own.
    fn start_trace(&self, name: &'static str, at: SystemTime) -> TreeSpan {
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Internal)
            .with_start_time(at);
        self.start(builder, &Context::new())
    }

    /// Records how a model was loaded.
    pub fn load(&self, trace: &LoadTrace) {
        let load = self.start_trace(names::LOAD_MODEL, trace.started);
        let parts = [
            (names::DOWNLOAD, trace.download),
            (names::READ_WEIGHTS, Some(trace.read_weights)),
            (names::WARM_UP, Some(trace.warm_up)),
        ];
        let happened = parts
            .into_iter()
            .filter_map(|(name, times)| Some((name, times?)));
        for (name, (from, to)) in happened {
            load.child(name, from).end(to);
        }
        load.end(trace.finished);
    }

    fn start(&self, builder: SpanBuilder, parent: &Context) -> TreeSpan {
        match &self.target {
            Some((_, tracer)) => {
                let span = tracer.build_with_context(builder, parent);
                let context = span.span_context().clone();
                TreeSpan {
                    recording: Some((span, tracer.clone())),
                    context,
                }
            }
            None => TreeSpan {
                recording: None,
                context: parent.span().span_context().clone(),
            },
        }
    }

    /// Sends what is left; blocks for up to `timeout`.
    pub fn shutdown(&self, timeout: Duration) {
        if let Some((provider, _)) = &self.target
            && let Err(error) = provider.shutdown_with_timeout(timeout)
        {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// A span that may have children.
#[derive(Debug)]
pub struct TreeSpan {
    recording: Option<(Span, SdkTracer)>,
    context: SpanContext,
}

impl TreeSpan {
    /// The trace it belongs to, also when it is not recorded itself.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.context.is_valid().then(|| self.context.trace_id())
    }

    /// Its own id; none where tracing is off.
    pub fn span_id(&self) -> Option<SpanId> {
        self.recording.as_ref().map(|_| self.context.span_id())
    }

    /// Whether it will be exported.
    pub fn is_sampled(&self) -> bool {
        self.recording.is_some() && self.context.is_sampled()
    }

    /// Has it and the children that are made from now on exported, although its start decided
    /// otherwise; `because` says why. Nothing where tracing is off or it is exported anyway.
    pub fn sample_late(&mut self, because: &'static str) {
        if self.recording.is_none() || self.is_sampled() {
            return;
        }
        self.set(KeyValue::new(names::SAMPLED_BECAUSE, because));
        self.context = queue::sampled(&self.context);
    }

    /// Adds an attribute.
    pub fn set(&mut self, attribute: KeyValue) {
        if let Some((span, _)) = &mut self.recording {
            span.set_attribute(attribute);
        }
    }

    /// Marks it as failed.
    pub fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        if let Some((span, _)) = &mut self.recording {
            span.set_status(Status::error(why));
        }
    }

    /// Begins a span below it.
    #[must_use]
    pub fn child(&self, name: &'static str, from: SystemTime) -> Self {
        let Some((_, tracer)) = self.recording.as_ref().filter(|_| self.is_sampled()) else {
            return Self {
                recording: None,
                context: self.context.clone(),
            };
        };
        let parent = Context::new().with_remote_span_context(self.context.clone());
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Internal)
            .with_start_time(from);
        let span = tracer.build_with_context(builder, &parent);
        let context = span.span_context().clone();
        Self {
            recording: Some((span, tracer.clone())),
            context,
        }
    }

    /// Ends it.
    pub fn end(self, at: SystemTime) {
        if let Some((mut span, _)) = self.recording {
            span.end_with_timestamp(at);
        }
    }
}

/// The caller's span, from the W3C `traceparent` and `tracestate` headers.
fn caller(headers: &HeaderMap) -> Context {
    struct Headers<'a>(&'a HeaderMap);
    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key).and_then(|value| value.to_str().ok())
        }
        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(axum::http::HeaderName::as_str).collect()
        }
    }
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::exporter;
    use axum::http::HeaderValue;
    use opentelemetry_sdk::trace::InMemorySpanExporter;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(traceparent: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            axum::http::HeaderName::from_static("traceparent"),
            HeaderValue::from_static(traceparent),
        )])
    }

    fn in_memory(ratio: f64) -> (Spans, InMemorySpanExporter) {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_sampler(exporter::sampler(ratio))
            .build();
        (Spans::new(provider), exporter)
    }

    #[test]
    fn a_request_continues_its_callers_trace_whatever_the_ratio() {
        let (spans, exporter) = in_memory(0.0);
        let now = SystemTime::now();
        let span = spans.start_request("POST /generate".into(), &headers(CALLER), now);
        assert!(span.is_sampled());
        span.child("queue", now).end(now);
        span.end(now + Duration::from_secs(1));
        let finished = exporter.get_finished_spans().unwrap();
        let [child, root] = &finished[..] else {
            panic!("{finished:?}")
        };
        assert_eq!(root.parent_span_id.to_string(), "b7ad6b7169203331");
        assert_eq!(child.parent_span_id, root.span_context.span_id());
        assert_eq!(
            child.span_context.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(
            root.end_time.duration_since(root.start_time).unwrap(),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn an_unsampled_request_records_neither_itself_nor_children() {
        let (spans, exporter) = in_memory(0.0);
        let now = SystemTime::now();
        let span = spans.start_request("POST /generate".into(), &HeaderMap::new(), now);
        assert!(!span.is_sampled());
        span.child("queue", now).end(now);
        span.end(now);
        assert!(exporter.get_finished_spans().unwrap().is_empty());
    }

    #[test]
    fn loading_a_model_is_a_trace_of_its_own_that_is_exported_whatever_the_ratio() {
        let (spans, exporter) = in_memory(0.0);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        spans.load(&LoadTrace {
            started: at(1),
            download: Some((at(1), at(2))),
            read_weights: (at(2), at(3)),
            warm_up: (at(3), at(5)),
            finished: at(6),
        });
        let finished = exporter.get_finished_spans().unwrap();
        let names: Vec<_> = finished.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["download", "read_weights", "warm_up", "load_model"]);
        for child in &finished[..3] {
            assert_eq!(child.parent_span_id, finished[3].span_context.span_id());
        }
        assert_eq!(
            (finished[2].start_time, finished[2].end_time),
            (at(3), at(5))
        );
    }

    #[test]
    fn without_tracing_logs_still_know_the_callers_trace() {
        let spans = Spans::disabled();
        let span =
            spans.start_request("POST /generate".into(), &headers(CALLER), SystemTime::now());
        assert_eq!(
            span.trace_id().unwrap().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert!(!span.is_sampled());
        let span = spans.start_request(
            "POST /generate".into(),
            &headers("rubbish"),
            SystemTime::now(),
        );
        assert_eq!(span.trace_id(), None);
    }
}
