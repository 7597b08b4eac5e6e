use crate::setup::{TestServer, answering};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn text_usage_and_timings_come_out() {
    let step = Duration::from_millis(5);
    let server = TestServer::new(answering("hello").with_step_time(step));
    let body = server
        .post("/generate", &json!({"prompt": "Hi"}))
        .await
        .json();
    assert_eq!(body["text"], "hello");
    assert_eq!(body["finish_reason"], "stop");
    assert_eq!(body["usage"]["prompt_tokens"], 2);
    let timing = |name: &str| body["timings"][name].as_f64().unwrap();
    assert!(timing("queue_ms") < timing("time_to_first_token_ms"));
    assert!(timing("time_to_first_token_ms") >= 5.0);
    assert!(timing("time_per_output_token_ms") >= 5.0);
    // One step for the prompt, which gives the first token, and one for each of five more.
    assert!(timing("total_ms") >= 30.0);
}

#[tokio::test]
async fn a_stream_is_pieces_then_the_response() {
    let server = TestServer::new(answering("hello"));
    let body = json!({"prompt": "Hi", "stream": true, "stop": "lo"});
    let chunks = server.post("/generate", &body).await.chunks();
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["text"].as_str())
        .collect();
    assert_eq!(text, "hel");
    let last = chunks.last().unwrap();
    assert_eq!(last["finish_reason"], "stop");
    assert_eq!(last["usage"]["completion_tokens"], 5);
    assert!(last["timings"]["total_ms"].is_number());
    // Known although the stop string ended the answer before the engine did.
    assert!(last["timings"]["queue_ms"].is_number());
}

#[tokio::test]
async fn the_default_length_is_128_tokens() {
    let server = TestServer::new(answering(&"a".repeat(500)));
    let body = server
        .post("/generate", &json!({"prompt": "Hi"}))
        .await
        .json();
    assert_eq!(body["usage"]["completion_tokens"], 128);
}
