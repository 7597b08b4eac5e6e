use crate::setup::{Answer, TestServer, answering};
use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/debug/faults";

async fn put(server: &TestServer, faults: &Value) -> Answer {
    let request = Request::put(PATH).body(Body::from(faults.to_string()));
    server.send(request.unwrap()).await
}

async fn generate(server: &TestServer) -> Answer {
    server.post("/generate", &json!({"prompt": "a"})).await
}

#[tokio::test]
async fn where_faults_are_not_allowed_there_is_no_such_route() {
    let server = TestServer::new(answering("hello"));
    assert_eq!(put(&server, &json!({})).await.status, 404);
    assert_eq!(server.get(PATH).await.status, 404);
}

#[tokio::test]
async fn faults_are_set_read_and_ended() {
    let server = TestServer::new(answering("hello")).allowing_faults();
    let answer = put(&server, &json!({"stepDelay": "20ms", "memory": "1Mi"})).await;
    assert_eq!(answer.json()["stepDelay"], "20ms");
    assert_eq!(server.get(PATH).await.json(), answer.json());
    let end = Request::delete(PATH).body(Body::empty()).unwrap();
    assert_eq!(server.send(end).await.json()["stepDelay"], "0s");
    assert_eq!(put(&server, &json!({"oops": 1})).await.status, 400);
}

#[tokio::test]
async fn delays_are_really_waited_for_and_counted_as_work() {
    let server = TestServer::new(answering("hello")).allowing_faults();
    let faults = json!({"firstTokenDelay": "30ms", "stepDelay": "10ms"});
    put(&server, &faults).await;
    assert_eq!(generate(&server).await.status, 200);
    let waited = server.metric("llm_time_to_first_token_seconds_sum").await;
    assert!(waited >= 0.040, "{waited}");
    // Six tokens, the end token included: five gaps of a step each, six steps of work.
    let gaps = server.metric("llm_inter_token_latency_seconds_sum").await;
    assert!(gaps >= 0.050, "{gaps}");
    let busy = server.metric("llm_engine_busy_seconds_total").await;
    assert!(busy >= 0.060, "{busy}");
    server.idle().await;
    let rest = server.metric("llm_engine_busy_seconds_total").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(server.metric("llm_engine_busy_seconds_total").await, rest);
}

#[tokio::test]
async fn the_wanted_share_of_the_generation_requests_fails() {
    let server = TestServer::new(answering("hello")).allowing_faults();
    put(&server, &json!({"errorRate": "50%"})).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(generate(&server).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 500, 200, 500]);
    let series = "llm_request_errors_total{error_type=\"internal\",fault=\"server\"}";
    assert_eq!(server.metric(series).await, 2.0);
    assert_eq!(server.get("/v1/models").await.status, 200);
}
