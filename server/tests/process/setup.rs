//! Starts the server as a process, speaks to it and ends it.
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

pub(crate) fn server(folder: &Path, config: &str) -> Command {
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
pub(crate) fn end(child: &mut Child, patience: Duration) -> ExitStatus {
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

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

pub(crate) fn get(port: u16, path: &str) -> Option<String> {
    send(port, "GET", path, "")
}

pub(crate) fn send(port: u16, method: &str, path: &str, body: &str) -> Option<String> {
    send_with(port, method, path, "", body)
}

/// With header lines, each with its end.
pub(crate) fn send_with(
    port: u16,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Option<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A tiny model with random weights and a tokenizer.
pub(crate) fn model(folder: &Path) -> PathBuf {
    let fixture = Path::new("tests/models/qwen3");
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
pub(crate) fn ready(child: &mut Child, port: u16) {
    let begin = Instant::now();
    while !get(port, "/health/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        if begin.elapsed() > Duration::from_secs(60) || child.try_wait().unwrap().is_some() {
            child.kill().unwrap();
            panic!("the server is not ready after {:?}", begin.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks the process to end, and waits until it has.
pub(crate) fn terminate(child: &mut Child) -> ExitStatus {
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    end(child, Duration::from_secs(10))
}
