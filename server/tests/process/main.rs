//! The server as a process: what it leaves behind when it fails, how it ends, and what it logs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]
mod collector_tls;
mod setup;
mod shutdown;
mod telemetry;
mod tls;

use setup::{end, free_port, get, model, ready, send, server, terminate};
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    time::Duration,
};

#[test]
fn a_panic_of_the_engine_fails_its_request_and_ends_the_process_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let model = model(folder.path());
    let config = format!(
        "model: {{path: {}}}\nhttp: {{host: 127.0.0.1, port: {port}}}\ndebug: {{allowFaultInjection: true}}",
        model.display()
    );
    let mut command = server(folder.path(), &config);
    // Nobody reads what it says; a full pipe would stop it.
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    ready(&mut child, port);
    let body = r#"{"prompt": "ab", "max_tokens": 4, "stream": true}"#;
    let good = send(port, "POST", "/generate", body).unwrap();
    assert!(good.contains("finish_reason"), "{good}");

    send(port, "PUT", "/debug/faults", r#"{"enginePanic": true}"#).unwrap();
    let failed = send(port, "POST", "/generate", body).unwrap();
    assert!(failed.starts_with("HTTP/1.1 200"), "{failed}");
    assert!(failed.contains("\"code\":\"engine\""), "{failed}");
    assert!(failed.contains("data: [DONE]"), "{failed}");
    let status = end(&mut child, Duration::from_secs(20));
    assert_eq!(status.code(), Some(1));
    let words = std::fs::read_to_string(folder.path().join("termination-log")).unwrap();
    let words: serde_json::Value = serde_json::from_str(&words).unwrap();
    assert_eq!(words["reason"], "EngineFailure");
    let message = words["message"].as_str().unwrap();
    assert!(message.contains("an injected fault"), "{message}");
}

#[test]
fn a_model_that_does_not_load_ends_the_process_with_a_reason_and_a_cure() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let config =
        format!("model: {{path: /no/such/model.gguf}}\nhttp: {{host: 127.0.0.1, port: {port}}}");
    let mut child = server(folder.path(), &config).spawn().unwrap();
    let status = end(&mut child, Duration::from_secs(20));
    assert_eq!(status.code(), Some(1));
    let words = std::fs::read_to_string(folder.path().join("termination-log")).unwrap();
    let words: serde_json::Value = serde_json::from_str(&words).unwrap();
    assert_eq!(words["reason"], "ModelNotFound");
    assert!(
        words["message"]
            .as_str()
            .unwrap()
            .contains("/no/such/model.gguf")
    );
}

#[test]
fn a_configuration_that_makes_no_sense_ends_the_process_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = server(
        folder.path(),
        "model: {path: a.gguf}\nengine: {maxBatchSize: 0}",
    )
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("engine.maxBatchSize is 0: write 1 or more"),
        "{message}"
    );
}

#[test]
fn sigterm_ends_a_serving_process_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = format!(
        "model: {{path: /no/such/model.gguf, preload: false}}\nhttp: {{host: 127.0.0.1, port: {port}}}"
    );
    let mut child = server(folder.path(), &config).spawn().unwrap();
    // What is said before that, such as that there is no GPU, depends on the machine.
    let listens = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .any(|line| {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            line["message"] == "listening"
        });
    assert!(listens);
    let answer = get(port, "/health/ready").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    assert_eq!(terminate(&mut child).code(), Some(0));
    assert_eq!(get(port, "/health/ready"), None);
}
