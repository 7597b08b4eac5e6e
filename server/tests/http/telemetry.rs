use crate::setup::{MODEL, TestServer, answering, post};
use axum::body::Body;
use candlepower_server::engine::mock::MockEngine;
use opentelemetry::{
    Value,
    trace::{SpanKind, Status},
};
use opentelemetry_sdk::trace::SpanData;
use serde_json::json;
use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

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
    let server = TestServer::new(answering("hello"));
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
        ("http.response.status_code", Value::I64(200)),
    ] {
        assert_eq!(attribute(root, name), Some(expected), "{name}");
    }
    for name in [
        "e2e",
        "time_to_first_token",
        "time_in_queue",
        "time_in_model_prefill",
    ] {
        let value = attribute(root, &format!("gen_ai.latency.{name}"));
        assert!(
            matches!(value, Some(Value::F64(seconds)) if seconds >= 0.0),
            "{name}"
        );
    }
    let everything = format!("{spans:?}");
    assert!(!everything.contains("secret") && !everything.contains("hello"));
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
async fn an_answer_moves_the_series_by_what_it_was() {
    let step = Duration::from_millis(5);
    let server = TestServer::new(answering("hello").with_step_time(step));
    server.send(chat()).await;
    server
        .post("/generate", &json!({"prompt": "ab", "max_tokens": 2}))
        .await;
    for (series, expected) in [
        ("llm_request_success_total{finished_reason=\"stop\"}", 1.0),
        ("llm_request_success_total{finished_reason=\"length\"}", 1.0),
        ("llm_request_success_total{finished_reason=\"abort\"}", 0.0),
        ("llm_prompt_tokens_total", 15.0),
        ("llm_generation_tokens_total", 8.0),
        ("llm_time_to_first_token_seconds_count", 2.0),
        // Five gaps between six tokens, the end token included, and one between two.
        ("llm_inter_token_latency_seconds_count", 6.0),
        ("llm_request_time_per_output_token_seconds_count", 2.0),
        ("llm_e2e_request_latency_seconds_count", 2.0),
        ("llm_request_queue_time_seconds_count", 2.0),
        ("llm_request_prefill_time_seconds_count", 2.0),
        ("llm_request_decode_time_seconds_count", 2.0),
        ("llm_request_inference_time_seconds_count", 2.0),
        ("llm_request_prompt_tokens_sum", 15.0),
        ("llm_request_generation_tokens_sum", 8.0),
        ("llm_num_requests_running", 0.0),
        ("llm_num_requests_waiting", 0.0),
    ] {
        assert_eq!(server.metric(series).await, expected, "{series}");
    }
    // Prefill is one step of each; decode five of the first and one of the second.
    assert!(server.metric("llm_request_prefill_time_seconds_sum").await >= 0.010);
    assert!(server.metric("llm_request_decode_time_seconds_sum").await >= 0.030);
    // Rows: 13 + 2 of the prompts, one for each of the six further tokens.
    assert_eq!(server.metric("llm_iteration_tokens_total_sum").await, 21.0);
    assert!(server.metric("process_resident_memory_bytes").await > 0.0);
}

#[tokio::test]
async fn refusals_are_counted_by_kind() {
    let server = TestServer::new(answering("hello"));
    server.post("/generate", &json!({})).await;
    server
        .post("/generate", &json!({"prompt": "a", "oops": 1}))
        .await;
    server.get("/nowhere").await;
    let errors = |kind, fault| {
        format!("llm_request_errors_total{{error_type=\"{kind}\",fault=\"{fault}\"}}")
    };
    for (series, expected) in [
        (errors("invalid_request", "client"), 2.0),
        (errors("not_found", "client"), 1.0),
        (errors("engine", "server"), 0.0),
        (errors("queue_full", "server"), 0.0),
    ] {
        assert_eq!(server.metric(&series).await, expected, "{series}");
    }
}

#[tokio::test]
async fn a_request_that_is_not_chosen_is_not_exported() {
    let server = TestServer::new(answering("hello")).sampling(0.0, Duration::from_secs(60));
    let answer = server.send(chat()).await;
    server.send(post("/generate", "{}")).await;
    assert_eq!(server.finished_spans().len(), 0);
    assert!(!answer.headers.contains_key("x-trace-id"));
}

#[tokio::test]
async fn a_slow_request_is_exported_whole_although_it_was_not_chosen() {
    let engine = answering("hello").with_step_time(Duration::from_millis(5));
    let server = TestServer::new(engine).sampling(0.0, Duration::from_millis(1));
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
async fn a_failure_of_the_server_is_exported_although_it_was_not_chosen() {
    let server =
        TestServer::new(MockEngine::new().failing_at(0)).sampling(0.0, Duration::from_secs(60));
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

#[tokio::test]
async fn openmetrics_carries_the_traces_of_exported_requests() {
    let server = TestServer::new(answering("hello"));
    let trace_id = server.send(chat()).await.headers["x-trace-id"].clone();
    let request = axum::http::Request::get("/metrics")
        .header(
            "accept",
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
        )
        .body(Body::empty())
        .unwrap();
    let answer = server.send(request).await;
    assert!(
        answer.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(answer.text.ends_with("# EOF\n"));
    assert!(answer.text.len() <= 64 * 1024, "{}", answer.text.len());
    let exemplar = format!("# {{trace_id=\"{}\"}}", trace_id.to_str().unwrap());
    for name in [
        "llm_time_to_first_token_seconds",
        "llm_request_time_per_output_token_seconds",
        "llm_e2e_request_latency_seconds",
    ] {
        let found = answer
            .text
            .lines()
            .filter(|line| line.starts_with(&format!("{name}_bucket")) && line.contains(&exemplar));
        assert_eq!(found.count(), 1, "{name}");
    }
    assert!(!server.get("/metrics").await.text.contains("trace_id"));
}
