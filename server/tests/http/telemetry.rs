//! The trace of a request: its spans, whether they are exported, and what the caller learns of it.
use crate::setup::{MODEL, TestServer, answering, post};
use axum::body::Body;
use candlepower_server::{engine::mock::MockEngine, telemetry::Spans};
use opentelemetry::{
    Array, Value,
    trace::{SpanKind, Status},
};
use opentelemetry_sdk::trace::SpanData;
use serde_json::json;
use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

/// Longer than any request of these tests takes.
const LONG: Duration = Duration::from_secs(60);
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn chat() -> axum::http::Request<Body> {
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "secret"}]});
    post("/v1/chat/completions", body.to_string())
}

fn by_name(spans: &[SpanData]) -> HashMap<&str, &SpanData> {
    let map: HashMap<_, _> = spans.iter().map(|span| (&*span.name, span)).collect();
    assert_eq!(map.len(), spans.len(), "a name appears twice");
    map
}

fn attribute(span: &SpanData, name: &str) -> Option<Value> {
    span.attributes
        .iter()
        .find(|pair| pair.key.as_str() == name)
        .map(|pair| pair.value.clone())
}

fn reasons(reasons: &[&'static str]) -> Value {
    let reasons = reasons.iter().map(|reason| (*reason).into());
    Value::Array(Array::String(reasons.collect()))
}

fn length(span: &SpanData) -> Duration {
    span.end_time.duration_since(span.start_time).unwrap()
}

#[tokio::test]
async fn a_request_is_a_tree_of_spans_below_its_caller() {
    let step = Duration::from_millis(10);
    let server = TestServer::new(answering("hello").with_step_time(step));
    let mut request = chat();
    request
        .headers_mut()
        .insert("traceparent", CALLER.parse().unwrap());
    let answer = server.send(request).await;
    assert_eq!(
        answer.headers["x-trace-id"],
        "0af7651916cd43dd8448eb211c80319c"
    );

    let spans = server.finished_spans();
    let spans = by_name(&spans);
    let root = spans["POST /v1/chat/completions"];
    let span_id = root.span_context.span_id();
    assert_eq!(
        answer.headers["traceresponse"],
        format!("00-0af7651916cd43dd8448eb211c80319c-{span_id}-01")
    );
    assert_eq!(root.span_kind, SpanKind::Server);
    assert_eq!(root.parent_span_id.to_string(), "b7ad6b7169203331");
    let parent = |name: &str| spans[name].parent_span_id;
    for child in ["tokenize_input", "queue", "model_generate", "decode_output"] {
        assert_eq!(parent(child), root.span_context.span_id(), "{child}");
    }
    for child in ["prefill", "decode"] {
        assert_eq!(
            parent(child),
            spans["model_generate"].span_context.span_id(),
            "{child}"
        );
    }
    for span in spans.values() {
        assert_eq!(span.span_context.trace_id(), root.span_context.trace_id());
        assert!(
            root.start_time <= span.start_time && span.end_time <= root.end_time,
            "{span:?}"
        );
    }
    // Phases follow each other without a gap: prefill is a step, decode the other five.
    assert_eq!(spans["queue"].end_time, spans["prefill"].start_time);
    assert_eq!(spans["prefill"].end_time, spans["decode"].start_time);
    assert!(length(spans["prefill"]) >= step);
    assert!(length(spans["decode"]) >= 5 * step);
    assert!(root.start_time <= SystemTime::now());
}

#[tokio::test]
async fn the_request_span_says_what_happened_and_no_more() {
    let step = Duration::from_millis(2);
    let server = TestServer::new(answering("hello").with_step_time(step));
    server.send(chat()).await;
    let spans = server.finished_spans();
    let root = by_name(&spans)["POST /v1/chat/completions"];
    for (name, expected) in [
        ("gen_ai.operation.name", Value::from("chat")),
        ("gen_ai.provider.name", Value::from("candlepower")),
        ("gen_ai.request.model", Value::from(MODEL)),
        (
            "gen_ai.usage.input_tokens",
            Value::I64("user: secret\n".len() as i64),
        ),
        ("gen_ai.usage.output_tokens", Value::I64(6)),
        ("gen_ai.response.finish_reasons", reasons(&["stop"])),
        ("http.response.status_code", Value::I64(200)),
    ] {
        assert_eq!(attribute(root, name), Some(expected), "{name}");
    }
    // Prefill is one step, decode the other five.
    let step = step.as_secs_f64();
    for (name, least) in [
        ("e2e", 6.0 * step),
        ("time_to_first_token", step),
        ("time_in_queue", 0.0),
        ("time_in_model_prefill", step),
        ("time_in_model_decode", 5.0 * step),
    ] {
        let value = attribute(root, &format!("gen_ai.latency.{name}"));
        assert!(
            matches!(value, Some(Value::F64(seconds)) if seconds >= least),
            "{name}: {value:?}"
        );
    }
    let everything = format!("{spans:?}");
    assert!(!everything.contains("secret") && !everything.contains("hello"));
}

#[tokio::test]
async fn each_of_several_answers_tells_why_it_ended() {
    let server = TestServer::new(answering("hello"));
    let body = json!({"model": MODEL, "prompt": "a", "n": 3, "max_tokens": 2});
    server.post("/v1/completions", &body).await;
    let spans = server.finished_spans();
    let root = by_name(&spans)["POST /v1/completions"];
    assert_eq!(
        attribute(root, "gen_ai.response.finish_reasons"),
        Some(reasons(&["length"; 3]))
    );
    let counted = "llm_request_success_total{finished_reason=\"length\"}";
    assert_eq!(server.metric(counted).await, 3.0);
}

#[tokio::test]
async fn prompts_and_answers_are_captured_where_that_is_switched_on() {
    let mut server = TestServer::new(answering("hello"));
    server.state.options.capture_prompts = true;
    server.send(chat()).await;
    let spans = server.finished_spans();
    let root = by_name(&spans)["POST /v1/chat/completions"];
    let text = |name| attribute(root, name).unwrap().to_string();
    assert!(text("gen_ai.input.messages").contains("secret"));
    assert!(text("gen_ai.output.messages").contains("hello"));
}

#[tokio::test]
async fn an_engine_failure_is_an_error_of_the_span_and_a_refusal_is_not() {
    let server = TestServer::new(MockEngine::new().failing_at(0));
    server.send(chat()).await;
    server.send(post("/generate", "{}")).await;
    let spans = server.finished_spans();
    let spans = by_name(&spans);
    let failed = spans["POST /v1/chat/completions"];
    assert!(matches!(failed.status, Status::Error { .. }));
    assert_eq!(attribute(failed, "error.type"), Some(Value::from("engine")));
    let refused = spans["POST /generate"];
    assert_eq!(refused.status, Status::Unset);
    assert_eq!(
        attribute(refused, "error.type"),
        Some(Value::from("invalid_request"))
    );
    assert_eq!(
        attribute(refused, "http.response.status_code"),
        Some(Value::I64(400))
    );
}

#[tokio::test]
async fn a_stop_string_leaves_out_phases_that_were_not_measured() {
    let server = TestServer::new(answering("hello"));
    server
        .post("/generate", &json!({"prompt": "a", "stop": "lo"}))
        .await;
    let spans = server.finished_spans();
    let spans = by_name(&spans);
    let root = spans["POST /generate"];
    assert_eq!(
        spans["model_generate"].parent_span_id,
        root.span_context.span_id()
    );
    assert!(spans.contains_key("decode"));
    assert_eq!(
        attribute(root, "gen_ai.usage.output_tokens"),
        Some(Value::I64(5))
    );
}

#[tokio::test]
async fn a_request_that_is_not_chosen_is_not_exported() {
    let server = TestServer::new(answering("hello")).sampling(0.0, LONG, LONG);
    let answer = server.send(chat()).await;
    let refused = server.send(post("/generate", "{}")).await;
    assert_eq!(server.finished_spans().len(), 0);
    for answer in [answer, refused] {
        assert!(!answer.headers.contains_key("x-trace-id"));
        // Its caller learns of the trace nevertheless, and that it is not sampled.
        let response = answer.headers["traceresponse"].to_str().unwrap();
        let parts: Vec<_> = response.split('-').collect();
        let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [2, 32, 16, 2], "{response}");
        assert_eq!((parts[0], parts[3]), ("00", "00"), "{response}");
    }
}

#[tokio::test]
async fn without_tracing_there_is_no_span_to_tell_of() {
    let mut server = TestServer::new(answering("hello"));
    server.state.spans = Spans::disabled();
    let mut request = chat();
    request
        .headers_mut()
        .insert("traceparent", CALLER.parse().unwrap());
    let answer = server.send(request).await;
    assert!(!answer.headers.contains_key("traceresponse"));
    assert!(!answer.headers.contains_key("x-trace-id"));
}

#[tokio::test]
async fn a_slow_request_is_exported_whole_although_it_was_not_chosen() {
    let engine = answering("hello").with_step_time(Duration::from_millis(5));
    let server = TestServer::new(engine).sampling(0.0, Duration::from_millis(1), LONG);
    let mut request = chat();
    let unsampled = CALLER.replace("-01", "-00");
    request
        .headers_mut()
        .insert("traceparent", unsampled.parse().unwrap());
    server.send(request).await;
    let spans = server.finished_spans();
    let spans = by_name(&spans);
    let root = spans["POST /v1/chat/completions"];
    assert_eq!(root.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(
        attribute(root, "candlepower.sampled_because"),
        Some(Value::from("slow"))
    );
    assert_eq!(
        spans["model_generate"].parent_span_id,
        root.span_context.span_id()
    );
    assert_eq!(
        spans["prefill"].parent_span_id,
        spans["model_generate"].span_context.span_id()
    );
    for span in spans.values() {
        assert_eq!(
            span.span_context.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert!(span.span_context.is_sampled(), "{}", span.name);
    }
}

#[tokio::test]
async fn a_request_whose_tokens_come_far_apart_is_exported_although_it_was_not_chosen() {
    let answers = |step| answering("hello").with_step_time(Duration::from_millis(step));
    let limit = Duration::from_millis(20);
    let server = TestServer::new(answers(30)).sampling(0.0, LONG, limit);
    let answer = server.send(chat()).await;
    let spans = server.finished_spans();
    let spans = by_name(&spans);
    let root = spans["POST /v1/chat/completions"];
    assert_eq!(
        attribute(root, "candlepower.sampled_because"),
        Some(Value::from("slow"))
    );
    assert!(length(spans["decode"]) >= 5 * limit);
    assert_eq!(
        answer.headers["x-trace-id"],
        root.span_context.trace_id().to_string()
    );
    // It is the pace that counts: one token has none, however long it took.
    let server = TestServer::new(answers(30)).sampling(0.0, LONG, limit);
    let body = json!({"prompt": "a", "max_tokens": 1});
    server.post("/generate", &body).await;
    assert_eq!(server.finished_spans().len(), 0);
}

#[tokio::test]
async fn a_failure_of_the_server_is_exported_although_it_was_not_chosen() {
    let server = TestServer::new(MockEngine::new().failing_at(0)).sampling(0.0, LONG, LONG);
    let answer = server.send(chat()).await;
    let spans = server.finished_spans();
    let root = by_name(&spans)["POST /v1/chat/completions"];
    assert_eq!(
        attribute(root, "candlepower.sampled_because"),
        Some(Value::from("error"))
    );
    assert_eq!(
        answer.headers["x-trace-id"],
        root.span_context.trace_id().to_string()
    );
}
