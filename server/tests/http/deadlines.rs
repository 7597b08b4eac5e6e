use crate::setup::{Answer, TestServer, answering, post};
use serde_json::json;
use std::time::Duration;

const EXCEEDED: &str =
    "llm_request_errors_total{error_type=\"deadline_exceeded\",fault=\"server\"}";
const TIMEOUT: &str = "x-request-timeout-seconds";

/// Without a deadline, an answer takes a minute.
fn endless(batch: usize) -> TestServer {
    let engine = answering(&"a".repeat(2000)).with_step_time(Duration::from_millis(30));
    TestServer::with_queue(engine, batch, 8)
}

async fn generate(server: &TestServer, stream: bool, timeout: Option<&str>) -> Answer {
    let body = json!({"prompt": "a", "max_tokens": 2000, "stream": stream});
    let mut request = post("/generate", body.to_string());
    if let Some(timeout) = timeout {
        let value = timeout.parse().unwrap();
        request.headers_mut().insert(TIMEOUT, value);
    }
    server.send(request).await
}

fn assert_exceeded(answer: &Answer) {
    let code = Some("deadline_exceeded".into());
    assert_eq!(answer.error(), (504, "server_error".into(), None, code));
}

async fn assert_nothing_is_left(server: &TestServer, exceeded: f64) {
    server.idle().await;
    assert_eq!(server.metric("llm_kv_cache_usage_perc").await, 0.0);
    assert_eq!(server.metric(EXCEEDED).await, exceeded);
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_its_request_allows_is_given_up() {
    let server = endless(8);
    assert_eq!(server.metric(EXCEEDED).await, 0.0, "it is there before");
    let answer = generate(&server, false, Some("0.2")).await;
    assert_exceeded(&answer);
    assert!(
        answer.message().contains("fewer tokens"),
        "{}",
        answer.message()
    );
    assert_nothing_is_left(&server, 1.0).await;
}

#[tokio::test]
async fn a_stream_that_takes_too_long_ends_with_an_error() {
    let server = endless(8);
    let answer = generate(&server, true, Some("0.2")).await;
    assert_eq!(answer.status, 200);
    let chunks = answer.chunks();
    let (last, before) = chunks.split_last().unwrap();
    assert_eq!(last["error"]["code"], "deadline_exceeded");
    assert!(before.iter().all(|chunk| chunk["text"] == "a"));
    assert_nothing_is_left(&server, 1.0).await;
}

#[tokio::test]
async fn a_request_that_waits_too_long_for_its_turn_is_given_up_and_the_one_before_goes_on() {
    let server = endless(1);
    let (first, second) = tokio::join!(generate(&server, false, Some("0.6")), async {
        server.busy().await;
        let waiting = generate(&server, false, Some("0.1")).await;
        let engine = server.state.host.served().unwrap().engine.clone();
        assert_eq!(engine.load().0, 1, "the first goes on");
        waiting
    });
    assert_exceeded(&first);
    assert_exceeded(&second);
    assert_nothing_is_left(&server, 2.0).await;
}

#[tokio::test]
async fn the_servers_limit_is_for_everybody() {
    let mut server = endless(8);
    server.state.options.request_timeout = Some(Duration::from_millis(200));
    assert_exceeded(&generate(&server, false, None).await);
    assert_exceeded(&generate(&server, false, Some("60")).await);
}

#[tokio::test]
async fn a_limit_that_is_no_number_is_refused_by_name() {
    let answer = generate(&endless(8), false, Some("soon")).await;
    assert_eq!(answer.error().0, 400);
    assert_eq!(answer.error().2.as_deref(), Some(TIMEOUT));
}
