//! The server as a process: what it leaves behind when it fails, and how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

fn server(folder: &Path, config: &str) -> Command {
    let file = folder.join("server.yaml");
    let log = folder.join("termination-log");
    std::fs::write(&log, "").unwrap();
    std::fs::write(
        &file,
        format!("{config}\nterminationLog: {}\n", log.display()),
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_candlepower-server"));
    command
        .env_clear()
        .arg("--config")
        .arg(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits for the end, but not for ever.
fn end(child: &mut Child, patience: Duration) -> ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begin.elapsed() > patience {
            child.kill().unwrap();
            panic!("the server did not end in {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn get(port: u16, path: &str) -> Option<String> {
    send(port, "GET", path, "")
}

fn send(port: u16, method: &str, path: &str, body: &str) -> Option<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A tiny model with random weights and a tokenizer.
fn model(folder: &Path) -> PathBuf {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/qwen3");
    let model = folder.join("tiny");
    std::fs::create_dir(&model).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture.join(name), model.join(name)).unwrap();
    }
    let tokenizer = r#"{"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}"#;
    std::fs::write(model.join("tokenizer.json"), tokenizer).unwrap();
    model
}

/// Waits until requests are answered.
fn ready(child: &mut Child, port: u16) {
    let begin = Instant::now();
    while !get(port, "/health/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        if begin.elapsed() > Duration::from_secs(60) || child.try_wait().unwrap().is_some() {
            child.kill().unwrap();
            panic!("the server is not ready after {:?}", begin.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

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

    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let status = end(&mut child, Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
    assert_eq!(get(port, "/health/ready"), None);
}
