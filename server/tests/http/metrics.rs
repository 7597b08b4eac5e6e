//! The series as `/metrics` shows them: what requests move, what they never add to, and exemplars.
use crate::setup::{MODEL, TestServer, answering, post};
use axum::body::Body;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Requests of a client that makes names up.
const MADE_UP: usize = 3_000;

fn chat() -> axum::http::Request<Body> {
    post("/v1/chat/completions", conversation(MODEL).to_string())
}

fn conversation(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "secret"}]})
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
async fn a_request_that_comes_in_the_middle_of_a_step_is_seen_waiting_at_once() {
    let step = Duration::from_millis(600);
    let server = TestServer::with_queue(answering("hello").with_step_time(step), 1, 8);
    let body = json!({"prompt": "ab", "max_tokens": 1});
    let second = async {
        server.busy().await;
        let began = Instant::now();
        let (_, waiting) = tokio::join!(server.post("/generate", &body), async {
            let seen = server.wait_for_metric("llm_num_requests_waiting", |waiting| waiting == 1.0);
            seen.await;
            began.elapsed()
        });
        waiting
    };
    let (_, waited) = tokio::join!(server.post("/generate", &body), second);
    assert!(waited < step / 2, "not before {waited:?}");
    for state in ["running", "waiting"] {
        let series = format!("llm_num_requests_{state}");
        assert_eq!(server.metric(&series).await, 0.0, "{series}");
    }
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
    let with_exemplar = |name: &str| {
        let bucket = format!("{name}_bucket");
        let lines = answer.text.lines();
        lines
            .filter(|line| line.starts_with(&bucket) && line.contains(&exemplar))
            .count()
    };
    for name in [
        "llm_time_to_first_token_seconds",
        "llm_request_time_per_output_token_seconds",
        "llm_e2e_request_latency_seconds",
        "llm_request_queue_time_seconds",
        "llm_request_prefill_time_seconds",
        "llm_request_decode_time_seconds",
        "llm_request_inference_time_seconds",
    ] {
        assert_eq!(with_exemplar(name), 1, "{name}");
    }
    // One in each bucket that a gap fell into.
    assert!(with_exemplar("llm_inter_token_latency_seconds") >= 1);
    assert!(!server.get("/metrics").await.text.contains("trace_id"));
}

#[tokio::test]
async fn a_client_that_makes_names_up_adds_no_series() {
    let server = TestServer::new(answering("hello"));
    server.send(chat()).await;
    let series = |text: &str| -> BTreeSet<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .collect()
    };
    let before = server.get("/metrics").await.text;
    for index in 0..MADE_UP {
        let path = ["/v1/chat/completions", "/v1/completions"][index % 2];
        let mut body = conversation(&format!("model-{index}"));
        if path == "/v1/completions" {
            body = json!({"model": body["model"], "prompt": "a"});
        }
        let answer = server.post(path, &body).await;
        assert_eq!(answer.error().3.as_deref(), Some("model_not_found"));
    }
    let after = server.get("/metrics").await.text;
    assert_eq!(series(&after), series(&before));
    // Values get longer, names do not.
    let grown = after.len().abs_diff(before.len());
    assert!(grown < 256, "{} to {} bytes", before.len(), after.len());
    assert!(!after.contains("model-"));
    let counted = "llm_request_errors_total{error_type=\"model_not_found\",fault=\"client\"}";
    assert_eq!(server.metric(counted).await, MADE_UP as f64);
}
