use crate::setup::{Answer, BODY_LIMIT, MODEL, TestServer, answering, post};
use axum::{body::Body, http::Request};
use candlepower_server::{engine::mock::MockEngine, http::drain::Phase};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

const CHAT: &str = "/v1/chat/completions";

fn hi(fields: &Value) -> Value {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body
}

/// The error of a bad request, whose `param` is as expected.
#[track_caller]
fn assert_bad(answer: &Answer, param: Option<&str>) {
    let expected = (
        400,
        "invalid_request_error".to_owned(),
        param.map(str::to_owned),
        None,
    );
    assert_eq!(answer.error(), expected, "{}", answer.text);
}

#[tokio::test]
async fn malformed_json_is_a_bad_request() {
    let server = TestServer::new(MockEngine::new());
    for body in ["", "{", "[]", "nonsense", "{\"model\": \"mock\",}"] {
        assert_bad(&server.send(post(CHAT, body)).await, None);
    }
}

#[tokio::test]
async fn unknown_and_unsupported_fields_are_named() {
    let server = TestServer::new(MockEngine::new());
    for (name, value) in [("temprature", json!(1)), ("audio", json!({}))] {
        let answer = server.post(CHAT, &hi(&json!({name: value}))).await;
        assert_bad(&answer, Some(name));
        assert!(answer.message().contains("leave it out"), "{}", answer.text);
    }
}

#[tokio::test]
async fn bad_values_are_named() {
    let server = TestServer::new(MockEngine::new());
    for (fields, param) in [
        (json!({"temperature": 3}), "temperature"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"top_p": 0}), "top_p"),
        (json!({"top_k": 1.5}), "top_k"),
        (json!({"min_p": 2}), "min_p"),
        (json!({"n": 0}), "n"),
        (json!({"n": 100}), "n"),
        (json!({"presence_penalty": 3}), "presence_penalty"),
        (json!({"frequency_penalty": -3}), "frequency_penalty"),
        (json!({"repetition_penalty": 0}), "repetition_penalty"),
        (json!({"logit_bias": {"300": 1}}), "logit_bias"),
        (json!({"logit_bias": {"a": 1}}), "logit_bias"),
        (json!({"logit_bias": {"1": 101}}), "logit_bias"),
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (
            json!({"response_format": {"type": "xml"}}),
            "response_format.type",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "objekt"}}}}),
            "response_format",
        ),
        (
            json!({"logprobs": true, "top_logprobs": 21}),
            "top_logprobs",
        ),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_tokens": -1}), "max_tokens"),
        (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop"),
        (json!({"messages": []}), "messages"),
        (
            json!({"messages": [{"role": "robot", "content": "a"}]}),
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "user", "content": 5}]}),
            "messages[0].content",
        ),
        (
            json!({"messages": [{"role": "user", "content": "a", "name": "b"}]}),
            "messages[0].name",
        ),
        (
            json!({"stream_options": {"include_usage": true}}),
            "stream_options",
        ),
        (
            json!({"stream": true, "stream_options": {"continuous_usage": true}}),
            "stream_options.continuous_usage",
        ),
        (
            json!({"stream": true, "stream_options": {"continuous_usage_stats": 1}}),
            "stream_options.continuous_usage_stats",
        ),
    ] {
        assert_bad(&server.post(CHAT, &hi(&fields)).await, Some(param));
    }
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let server = TestServer::new(MockEngine::new());
    let answer = server.post("/generate", &json!({})).await;
    assert_eq!(answer.status, 400);
    assert!(answer.message().contains("`prompt`"), "{}", answer.text);
}

#[tokio::test]
async fn another_model_is_not_found() {
    let server = TestServer::new(MockEngine::new());
    let answer = server.post(CHAT, &hi(&json!({"model": "gpt-4o"}))).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.error().3.as_deref(), Some("model_not_found"));
    assert!(answer.message().contains("\"mock\""));
}

#[tokio::test]
async fn too_long_a_prompt_says_how_long() {
    let server = TestServer::new(MockEngine::new().with_capacity(32, 2));
    let code = Some("context_length_exceeded".to_owned());
    let content = json!({"messages": [{"role": "user", "content": "a".repeat(40)}]});
    // With and without a limit of its own.
    for max_tokens in [json!(1), Value::Null] {
        let mut body = hi(&content);
        body["max_tokens"] = max_tokens;
        let answer = server.post(CHAT, &body).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request_error".into(), None, code.clone())
        );
        assert!(answer.message().contains("47 tokens"), "{}", answer.text);
        assert!(answer.message().contains("32"), "{}", answer.text);
    }
    let answer = server
        .post("/generate", &json!({"prompt": "a", "max_tokens": 32}))
        .await;
    assert_eq!(answer.error().3, code);
}

#[tokio::test]
async fn an_empty_prompt_is_a_bad_request() {
    let server = TestServer::new(MockEngine::new());
    let answer = server.post("/generate", &json!({"prompt": ""})).await;
    assert_eq!(answer.status, 400);
    assert!(answer.message().contains("empty"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large() {
    let server = TestServer::new(MockEngine::new());
    let answer = server
        .post("/generate", &json!({"prompt": "a".repeat(BODY_LIMIT)}))
        .await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.error().3.as_deref(), Some("body_too_large"));
    assert!(answer.message().contains(&BODY_LIMIT.to_string()));
}

#[tokio::test]
async fn routes_methods_and_media_types_are_checked() {
    let server = TestServer::new(MockEngine::new());
    let answer = server.get("/v1/embeddings").await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().3.as_deref()),
        (404, Some("not_found"))
    );
    let answer = server.get(CHAT).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.headers["allow"], "POST");
    assert_eq!(answer.error().3.as_deref(), Some("method_not_allowed"));
    let request = Request::post(CHAT).body(Body::from("{}")).unwrap();
    let answer = server.send(request).await;
    assert_eq!(answer.status, 415);
    assert!(answer.message().contains("application/json"));
}

#[tokio::test]
async fn a_full_queue_is_429_with_a_time_to_come_back() {
    let slow = answering(&"a".repeat(1000)).with_step_time(Duration::from_millis(20));
    let server = TestServer::with_queue(slow, 1, 1);
    let body = json!({"prompt": "a", "max_tokens": 500, "stream": true});
    let mut streams = Vec::new();
    let refused = loop {
        assert!(streams.len() < 10, "the queue has no limit");
        let request = post("/generate", body.to_string());
        let response = server.router().oneshot(request).await.unwrap();
        if response.status() != 200 {
            break response;
        }
        streams.push(response);
    };
    assert!(!streams.is_empty());
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let bytes = refused.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(body["error"]["type"], "rate_limit_error");
    assert!(
        server
            .metric("llm_request_errors_total{error_type=\"queue_full\",fault=\"server\"}")
            .await
            >= 1.0
    );
}

#[tokio::test]
async fn a_loading_model_is_503_with_a_time_to_come_back() {
    let server = TestServer::without_model(true);
    let answer = server.post(CHAT, &hi(&json!({}))).await;
    let expected = (503, "server_error".into(), None, Some("loading".into()));
    assert_eq!(answer.error(), expected);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(server.get("/v1/models").await.status, 503);
}

#[tokio::test]
async fn without_preload_the_first_request_loads_and_tells_what_failed() {
    let server = TestServer::without_model(false);
    let answer = server.post("/generate", &json!({"prompt": "a"})).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.error().3.as_deref(), Some("load_failed"));
    assert!(answer.message().contains("/no/such/model.gguf"));
}

#[tokio::test]
async fn a_draining_server_refuses_new_requests_and_finishes_old_ones() {
    let slow = answering("hello").with_step_time(Duration::from_millis(20));
    let server = TestServer::new(slow);
    let request = post(
        "/generate",
        json!({"prompt": "a", "stream": true}).to_string(),
    );
    let running = server.router().oneshot(request).await.unwrap();
    server.state.drain.enter(Phase::Draining);

    let answer = server.post("/generate", &json!({"prompt": "a"})).await;
    assert_eq!(answer.error().3.as_deref(), Some("draining"));
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));

    assert!(!server.state.drain.wait(Duration::ZERO).await);
    let bytes = running.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("\"finish_reason\":\"stop\"") && text.ends_with("[DONE]\n\n"),
        "{text}"
    );
    assert!(server.state.drain.wait(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn an_engine_failure_is_a_500() {
    let server = TestServer::new(MockEngine::new().failing_at(0));
    let answer = server.post(CHAT, &hi(&json!({}))).await;
    assert_eq!(
        answer.error(),
        (500, "server_error".into(), None, Some("engine".into()))
    );
    assert!(answer.message().contains("planted failure"));
}

#[tokio::test]
async fn an_engine_failure_within_a_stream_is_an_event_before_the_end() {
    let server = TestServer::new(answering("hello").failing_at(3));
    let answer = server.post(CHAT, &hi(&json!({"stream": true}))).await;
    let chunks = answer.chunks();
    let (error, before) = chunks.split_last().unwrap();
    assert_eq!(error["error"]["type"], "server_error");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("planted failure")
    );
    let text: String = before
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "hel");
    assert_eq!(
        server
            .metric("llm_request_errors_total{error_type=\"engine\",fault=\"server\"}")
            .await,
        1.0
    );
    assert_eq!(
        server
            .metric("llm_request_success_total{finished_reason=\"stop\"}")
            .await,
        0.0
    );
}

#[tokio::test]
async fn requests_that_the_drain_timeout_cuts_off_are_told_so() {
    let slow = answering(&"a".repeat(1000)).with_step_time(Duration::from_millis(20));
    let server = TestServer::new(slow);
    let request = post(
        "/generate",
        json!({"prompt": "a", "stream": true}).to_string(),
    );
    let running = server.router().oneshot(request).await.unwrap();
    server.state.host.served().unwrap().engine.stop();
    let bytes = running.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("\"code\":\"draining\""), "{text}");
}
