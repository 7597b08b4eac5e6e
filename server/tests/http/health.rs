use crate::setup::{TestServer, answering};
use candlepower_server::http::drain::Phase;
use serde_json::json;
use std::time::Duration;

/// Of the three probes; the plain route says what readiness does.
async fn statuses(server: &TestServer) -> [u16; 3] {
    let mut statuses = [0; 3];
    for (status, probe) in statuses.iter_mut().zip(["startup", "live", "ready"]) {
        *status = server
            .get(&format!("/health/{probe}"))
            .await
            .status
            .as_u16();
    }
    let plain = server.get("/health").await;
    assert_eq!(plain.status.as_u16(), statuses[2]);
    assert!(plain.json()["status"].is_string());
    statuses
}

#[tokio::test]
async fn a_loaded_server_is_started_alive_and_ready() {
    let server = TestServer::new(answering("a"));
    assert_eq!(statuses(&server).await, [200, 200, 200]);
    let report = server.get("/health/startup").await.json();
    assert_eq!(report["stage"], "Loaded");
    assert_eq!(report["model"]["name"], "mock");
}

#[tokio::test]
async fn a_loading_server_is_alive_only() {
    let server = TestServer::without_model(true);
    assert_eq!(statuses(&server).await, [503, 200, 503]);
    assert_eq!(server.get("/health/startup").await.json()["percent"], 0);
}

#[tokio::test]
async fn without_preload_a_server_is_ready_before_it_has_a_model() {
    let server = TestServer::without_model(false);
    assert_eq!(statuses(&server).await, [200, 200, 200]);
    assert_eq!(
        server.get("/health/startup").await.json()["stage"],
        "Waiting"
    );
}

#[tokio::test]
async fn a_draining_server_is_alive_but_not_ready() {
    let server = TestServer::new(answering("a"));
    server.state.drain.enter(Phase::Withdrawing);
    assert_eq!(statuses(&server).await, [200, 200, 503]);
    // While endpoints are withdrawn, requests still come and are served.
    let answer = server.post("/generate", &json!({"prompt": "a"})).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_server_that_shuts_down_sends_its_clients_to_other_pods() {
    let server = TestServer::new(answering("a"));
    for stream in [false, true] {
        let body = json!({"prompt": "a", "stream": stream});
        let before = server.post("/generate", &body).await;
        assert!(!before.headers.contains_key("connection"));
    }
    server.state.drain.enter(Phase::Withdrawing);
    for stream in [false, true] {
        let body = json!({"prompt": "a", "stream": stream});
        let answer = server.post("/generate", &body).await;
        assert_eq!(answer.headers["connection"], "close", "{body}");
    }
}

#[tokio::test]
async fn a_stopped_engine_is_not_alive() {
    let server = TestServer::new(answering("a"));
    server.state.host.served().unwrap().engine.stop();
    for _ in 0..100 {
        if statuses(&server).await[1] == 503 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still alive");
}
