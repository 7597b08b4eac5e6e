use crate::setup::{TestServer, answering, post};
use candlepower_server::http::listen;
use http_body_util::BodyExt;
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::ServiceExt;

const ABORTED: &str = "llm_request_success_total{finished_reason=\"abort\"}";

/// Without cancelling, an answer takes a minute.
fn endless() -> TestServer {
    TestServer::new(answering(&"a".repeat(2000)).with_step_time(Duration::from_millis(30)))
}

fn body(stream: bool) -> String {
    json!({"prompt": "a", "max_tokens": 2000, "stream": stream}).to_string()
}

#[tokio::test]
async fn a_stream_that_nobody_reads_any_more_frees_its_place() {
    let server = endless();
    let response = server
        .router()
        .oneshot(post("/generate", body(true)))
        .await
        .unwrap();
    let mut stream = response.into_body();
    stream.frame().await.unwrap().unwrap();
    server.busy().await;
    drop(stream);
    server.idle().await;
    assert_eq!(server.metric(ABORTED).await, 1.0);
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_frees_its_place() {
    let server = endless();
    let request = server.router().oneshot(post("/generate", body(false)));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), request)
            .await
            .is_err()
    );
    server.idle().await;
    assert_eq!(server.metric(ABORTED).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connection_frees_its_place() {
    let server = endless();
    let listener = listen::listen("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving =
        tokio::spawn(axum::serve(listen::prompt(listener), server.router()).into_future());
    for stream in [true, false] {
        let body = body(stream);
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /generate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(body.as_bytes()).await.unwrap();
        if stream {
            assert!(connection.read(&mut [0; 256]).await.unwrap() > 0);
        } else {
            server.busy().await;
        }
        drop(connection);
        server.idle().await;
    }
    serving.abort();
    assert_eq!(server.metric(ABORTED).await, 2.0);
}
