use crate::setup::{TestServer, answering};
use serde_json::json;
use std::time::Duration;

const ENGINE_ERRORS: &str = "llm_request_errors_total{error_type=\"engine\",fault=\"server\"}";
const STEP: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_panic_of_the_engine_fails_its_requests_and_turns_liveness_off() {
    let server = TestServer::new(answering("hello").with_step_time(STEP).panicking_at(2));
    let engine = server.state.host.served().unwrap().engine.clone();
    let (stream, whole) = (
        json!({"prompt": "a", "stream": true}),
        json!({"prompt": "a"}),
    );
    let (stream, whole, panic) = tokio::join!(
        server.post("/generate", &stream),
        server.post("/generate", &whole),
        engine.panicked()
    );
    assert_eq!(panic, "planted panic");
    let expected = || (500, "server_error".into(), None, Some("engine".into()));
    assert_eq!(whole.error(), expected());
    assert_eq!(stream.status, 200, "it had begun");
    let chunks = stream.chunks();
    let last = &chunks.last().unwrap()["error"];
    assert_eq!(
        (&last["type"], &last["code"]),
        (&json!("server_error"), &json!("engine"))
    );
    assert!(
        last["message"].as_str().unwrap().contains("try again"),
        "{last}"
    );

    assert_eq!(server.get("/health/live").await.status, 503);
    assert_eq!(server.metric(ENGINE_ERRORS).await, 2.0);
    server.idle().await;
    assert_eq!(server.metric("llm_kv_cache_usage_perc").await, 0.0);
    let late = server.post("/generate", &json!({"prompt": "a"})).await;
    assert_eq!(late.error(), expected());
}

#[tokio::test]
async fn logits_that_are_no_numbers_end_their_request_and_no_other() {
    let server = TestServer::new(answering("hello").with_step_time(STEP).damaging(1));
    let request = json!({"prompt": "a"});
    let (one, other) = tokio::join!(
        server.post("/generate", &request),
        server.post("/generate", &request)
    );
    let (good, bad) = if one.status == 200 {
        (one, other)
    } else {
        (other, one)
    };
    assert_eq!(good.json()["text"], "hello");
    assert_eq!(bad.error().0, 500);
    assert!(bad.message().contains("not numbers"), "{}", bad.message());
    assert_eq!(server.metric(ENGINE_ERRORS).await, 1.0);
    assert_eq!(server.get("/health/live").await.status, 200);
    assert_eq!(
        server.post("/generate", &request).await.json()["text"],
        "hello"
    );
}
