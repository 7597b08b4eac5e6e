//! Requests with an API key, and without one.
use crate::setup::{Answer, TestServer, answering};
use axum::{body::Body, http::Request};
use candlepower_api::server_config::AccessConfig;
use candlepower_server::http::access::Access;
use serde_json::json;
use std::{fs, num::NonZeroU32};
use tempfile::TempDir;

/// A server that wants a key out of `folder`.
fn locked(folder: &TempDir, requests_per_minute: Option<NonZeroU32>) -> TestServer {
    let mut server = TestServer::new(answering("a")).allowing_faults();
    server.state.access = Access::new(&AccessConfig {
        api_keys: Some(folder.path().to_owned()),
        requests_per_minute,
    });
    server
}

fn with_keys(keys: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for key in keys {
        fs::write(folder.path().join(key), key).unwrap();
    }
    folder
}

async fn generate(server: &TestServer, authorization: Option<&str>) -> Answer {
    let mut request = Request::post("/generate").header("content-type", "application/json");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let body = json!({"prompt": "a"}).to_string();
    server.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn a_key_opens_and_nothing_else_does() {
    let folder = with_keys(&["one", "two"]);
    let server = locked(&folder, None);
    for right in ["Bearer one", "Bearer two", "bearer one"] {
        let answer = generate(&server, Some(right)).await;
        assert_eq!(answer.status, 200, "{right}");
    }
    for wrong in [
        None,
        Some("Bearer three"),
        Some("Bearer"),
        Some("Bearer "),
        Some("one"),
        Some("Basic one"),
        Some("Bearer one two"),
    ] {
        let answer = generate(&server, wrong).await;
        assert_eq!(
            answer.error(),
            (
                401,
                "invalid_request_error".into(),
                None,
                Some("invalid_api_key".into())
            ),
            "{wrong:?}"
        );
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert!(answer.message().contains("Authorization: Bearer KEY"));
    }
    let refused = "llm_request_errors_total{error_type=\"invalid_api_key\",fault=\"client\"}";
    assert_eq!(server.metric(refused).await, 7.0);
}

#[tokio::test]
async fn probes_and_metrics_need_no_key_and_all_else_does() {
    let folder = with_keys(&["one"]);
    let server = locked(&folder, None);
    for open in [
        "/health",
        "/health/startup",
        "/health/live",
        "/health/ready",
        "/metrics",
    ] {
        assert_eq!(server.get(open).await.status, 200, "{open}");
    }
    for closed in [
        "/v1/models",
        "/v1/models/mock",
        "/docs",
        "/openapi.json",
        "/debug/faults",
        "/health/../v1/models",
        "/nowhere",
    ] {
        assert_eq!(server.get(closed).await.status, 401, "{closed}");
    }
    for closed in ["/v1/chat/completions", "/v1/completions", "/generate"] {
        assert_eq!(server.post(closed, &json!({})).await.status, 401);
        assert_eq!(server.get(closed).await.status, 401, "another method");
    }
}

#[tokio::test]
async fn a_server_without_any_key_serves_nobody_and_is_not_ready() {
    let folder = with_keys(&[]);
    let server = locked(&folder, None);
    let answer = generate(&server, Some("Bearer ")).await;
    assert_eq!(answer.status, 401);
    assert!(answer.message().contains("has no API key yet"));
    let ready = server.get("/health/ready").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["status"], "no_api_keys");
    assert_eq!(server.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn one_key_s_many_requests_are_not_another_s() {
    let folder = with_keys(&["one", "two"]);
    let server = locked(&folder, NonZeroU32::new(2));
    for _ in 0..2 {
        assert_eq!(generate(&server, Some("Bearer one")).await.status, 200);
    }
    let answer = generate(&server, Some("Bearer one")).await;
    assert_eq!(
        answer.error(),
        (
            429,
            "rate_limit_error".into(),
            None,
            Some("rate_limit_exceeded".into())
        )
    );
    let wait: u64 = answer.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(generate(&server, Some("Bearer two")).await.status, 200);
}
