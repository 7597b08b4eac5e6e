//! The real router over an engine without a model.
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use candlepower_api::server_config::{EngineConfig, ServerConfig};
use candlepower_server::{
    engine::mock::MockEngine,
    faults::{self, Faults},
    http::{AppState, Options, access::Access, drain::Drain, router},
    load::{ModelHost, mock},
    telemetry::{
        Metrics, Spans, exporter,
        queue::{Occupancy, SpanQueue},
        spans::SlowLimits,
    },
    text::Tokenizer,
};
use http_body_util::BodyExt;
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, SdkTracerProvider, SimpleSpanProcessor, SpanData,
};
use prometheus::IntCounter;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tower::ServiceExt;

pub(crate) const MODEL: &str = mock::NAME;
pub(crate) const BODY_LIMIT: usize = 16 * 1024;
const TEMPLATE: &str =
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}";

pub(crate) struct TestServer {
    pub(crate) state: AppState,
    spans: InMemorySpanExporter,
    faults: Faults,
}

/// A response that has been read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// The data of its server-sent events; comments are left out.
    pub(crate) fn events(&self) -> Vec<&str> {
        self.text
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "))
            .collect()
    }

    /// Its events but the last, which is `[DONE]`.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let mut events = self.events();
        assert_eq!(events.pop(), Some("[DONE]"), "{}", self.text);
        events
            .iter()
            .map(|event| serde_json::from_str(event).unwrap())
            .collect()
    }

    /// Its error's (status, type, param, code).
    pub(crate) fn error(&self) -> (u16, String, Option<String>, Option<String>) {
        let body = self.json();
        let error = &body["error"];
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{body}"
        );
        let field = |name: &str| error[name].as_str().map(str::to_owned);
        (
            self.status.as_u16(),
            field("type").unwrap(),
            field("param"),
            field("code"),
        )
    }

    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

/// An engine that answers with `text`.
pub(crate) fn answering(text: &str) -> MockEngine {
    MockEngine::new().answering(text.bytes().map(u32::from).collect())
}

impl TestServer {
    pub(crate) fn new(engine: MockEngine) -> Self {
        Self::with_queue(engine, 8, 8)
    }

    pub(crate) fn with_queue(engine: MockEngine, batch: usize, queue: usize) -> Self {
        Self::with_template(engine, batch, queue, TEMPLATE)
    }

    pub(crate) fn with_template(
        engine: MockEngine,
        batch: usize,
        queue: usize,
        template: &str,
    ) -> Self {
        let tokenizer = Tokenizer::of_bytes().unwrap();
        Self::with_tokenizer(engine, batch, queue, template, tokenizer)
    }

    pub(crate) fn with_tokenizer(
        engine: MockEngine,
        batch: usize,
        queue: usize,
        template: &str,
        tokenizer: Tokenizer,
    ) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let faults = Faults::default();
        let config = EngineConfig {
            max_batch_size: batch,
            max_queue_depth: queue,
            ..EngineConfig::default()
        };
        let observer = faults::observer(Arc::clone(&metrics) as _, Some(&faults));
        let model = mock::served(engine, tokenizer, template, &config, observer).unwrap();
        let host = ModelHost::of(model);
        let mut server = Self::of(host, metrics, true);
        server.faults = faults;
        server
    }

    /// Lets faults be injected.
    pub(crate) fn allowing_faults(mut self) -> Self {
        self.state.faults = Some(self.faults.clone());
        self
    }

    /// A server whose model is not loaded and cannot be.
    pub(crate) fn without_model(preload: bool) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let config = ServerConfig::for_model("/no/such/model.gguf");
        let host = ModelHost::new(config, Arc::clone(&metrics) as _);
        Self::of(host, metrics, preload)
    }

    /// Traces requests with probability `ratio`, and those whose tokens come later than these say.
    pub(crate) fn sampling(
        mut self,
        ratio: f64,
        first_token: Duration,
        output_token: Duration,
    ) -> Self {
        let limits = SlowLimits {
            first_token,
            output_token,
        };
        self.state.spans = tracing(&self.spans, ratio).with_slow_limits(limits);
        self
    }

    fn of(host: ModelHost, metrics: Arc<Metrics>, preload: bool) -> Self {
        let spans = InMemorySpanExporter::default();
        let state = AppState {
            host,
            metrics,
            spans: tracing(&spans, 1.0),
            faults: None,
            drain: Drain::default(),
            access: Access::default(),
            options: Options {
                preload,
                body_limit: BODY_LIMIT,
                request_timeout: None,
                capture_prompts: false,
            },
        };
        Self {
            state,
            spans,
            faults: Faults::default(),
        }
    }

    pub(crate) fn router(&self) -> Router {
        router(self.state.clone())
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer {
            status: head.status,
            headers: head.headers,
            text,
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(post(path, body.to_string())).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// The value of a series, such as `llm_model_loaded` or `x_total{label="value"}`.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
            .unwrap_or_else(|| panic!("{series} is missing in\n{text}"))
            .parse()
            .unwrap()
    }

    pub(crate) fn finished_spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    /// Waits until the engine has nothing to do.
    pub(crate) async fn idle(&self) {
        self.wait_for_load("idle", |load| load == (0, 0)).await;
        // It says what it holds a moment after the last request has ended.
        self.wait_for_metric("llm_kv_cache_usage_perc", |usage| usage == 0.0)
            .await;
    }

    pub(crate) async fn wait_for_metric(&self, series: &str, reached: impl Fn(f64) -> bool) {
        for _ in 0..500 {
            if reached(self.metric(series).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{series} is still {} after 5 s", self.metric(series).await);
    }

    /// Waits until the engine computes a request.
    pub(crate) async fn busy(&self) {
        self.wait_for_load("busy", |(running, _)| running > 0).await;
    }

    pub(crate) async fn wait_for_load(
        &self,
        state: &str,
        reached: impl Fn((usize, usize)) -> bool,
    ) {
        let engine = self.state.host.served().unwrap().engine.clone();
        for _ in 0..500 {
            if reached(engine.load()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not {state} in 5 s: {:?}", engine.load());
    }
}

fn tracing(exporter: &InMemorySpanExporter, ratio: f64) -> Spans {
    let queue = SpanQueue::new(
        SimpleSpanProcessor::new(exporter.clone()),
        usize::MAX,
        Occupancy::default(),
        IntCounter::new("dropped", "dropped").unwrap(),
    );
    let provider = SdkTracerProvider::builder()
        .with_span_processor(queue)
        .with_sampler(exporter::sampler(ratio))
        .build();
    Spans::new(provider)
}

pub(crate) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}
