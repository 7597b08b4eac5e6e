//! Clients that go away by the hundred, over real sockets.
use crate::setup::{TestServer, answering};
use candlepower_server::http::listen;
use futures::future::join_all;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const CLIENTS: usize = 1000;
/// The rest waits for a place.
const BATCH: usize = 600;
const BODY: &str = r#"{"prompt": "a", "max_tokens": 200, "stream": true}"#;

/// Sends a request and reads its answer up to the head, and a token where one comes.
async fn begin(address: SocketAddr) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /generate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        BODY.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(BODY.as_bytes()).await.unwrap();
    let mut answer = [0; 512];
    let length = connection.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    connection
}

/// As many as the process may have open at once, each with both its ends.
fn at_once() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
    files.map_or(CLIENTS, |files| {
        (files.saturating_sub(200) / 2).min(CLIENTS)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_vanish_in_mid_stream_leave_nothing_behind() {
    let engine = answering(&"a".repeat(2000))
        .with_step_time(Duration::from_millis(100))
        .with_capacity(2048, 8 * CLIENTS);
    let server = TestServer::with_queue(engine, BATCH, CLIENTS);
    let engine = server.state.host.served().unwrap().engine.clone();
    let listener = listen::listen("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving =
        tokio::spawn(axum::serve(listen::prompt(listener), server.router()).into_future());

    let mut left = CLIENTS;
    while left > 0 {
        let wave = at_once().min(left);
        left -= wave;
        let clients = join_all((0..wave).map(|_| begin(address))).await;
        let expected = (wave.min(BATCH), wave.saturating_sub(BATCH));
        server
            .wait_for_load("as loaded as it should be", |load| load == expected)
            .await;
        server
            .wait_for_metric("llm_kv_cache_usage_perc", |usage| usage > 0.0)
            .await;
        drop(clients);
        server.idle().await;
        assert_eq!(engine.load(), (0, 0));
        assert_eq!(server.metric("llm_kv_cache_usage_perc").await, 0.0);
    }
    let aborted = "llm_request_success_total{finished_reason=\"abort\"}";
    assert_eq!(server.metric(aborted).await, CLIENTS as f64);
    assert_eq!(server.metric("llm_num_requests_running").await, 0.0);
    assert_eq!(server.metric("llm_num_requests_waiting").await, 0.0);

    let mut connection = begin(address).await;
    let mut text = [0; 64];
    assert!(connection.read(&mut text).await.unwrap() > 0, "it answers");
    drop(connection);
    serving.abort();
    assert!(
        server.state.drain.wait(Duration::from_secs(5)).await,
        "a request still counts as running"
    );
}
