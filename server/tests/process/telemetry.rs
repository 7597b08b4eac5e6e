//! What a process logs, and what it does with a collector that cannot be used.
use crate::setup::{end, free_port, model, ready, send, send_with, server, terminate};
use serde_json::Value;
use std::{
    fs::File,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
const NO_NVML: (&str, &str) = ("NVML_LIBRARY", "/no/such/libnvidia-ml.so");
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that serves the tiny model and writes its log into `folder`.
pub(crate) fn serving(folder: &Path, config: &str, environment: &[(&str, &str)]) -> (Child, u16) {
    let port = free_port();
    let model = model(folder);
    let config = format!(
        "model: {{path: {}}}\nhttp: {{host: 127.0.0.1, port: {port}}}\n{config}",
        model.display()
    );
    let mut child = server(folder, &config)
        .envs(environment.iter().copied())
        .stdout(File::create(folder.join("log")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    ready(&mut child, port);
    (child, port)
}

/// What it wrote, once it has ended.
fn log(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("log")).unwrap();
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    text.lines().map(line).collect()
}

fn saying<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    let lines = lines.iter();
    lines.filter(|line| line["message"] == message).collect()
}

pub(crate) fn generate(port: u16, stream: bool) -> String {
    let body = format!(r#"{{"prompt": "ab", "max_tokens": 2, "stream": {stream}}}"#);
    send_with(port, "POST", "/generate", CALLER, &body).unwrap()
}

#[test]
fn a_requests_line_has_its_callers_trace_id_and_others_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, port) = serving(folder.path(), "", &[NO_NVML]);
    for stream in [false, true] {
        assert!(generate(port, stream).starts_with("HTTP/1.1 200"));
    }
    send(
        port,
        "POST",
        "/generate",
        r#"{"prompt": "ab", "max_tokens": 2}"#,
    )
    .unwrap();
    assert_eq!(terminate(&mut child).code(), Some(0));

    let lines = log(folder.path());
    let ids: Vec<_> = saying(&lines, "request")
        .iter()
        .map(|line| line["trace_id"].as_str())
        .collect();
    assert_eq!(ids, [Some(TRACE_ID), Some(TRACE_ID), None]);
    let loaded = saying(&lines, "model loaded");
    assert_eq!(loaded.len(), 1);
    assert!(loaded[0].get("trace_id").is_none());
    // That there are no GPU metrics is said once, and is no reason to worry.
    let of_gpus = |line: &&Value| line.to_string().contains("NVML");
    let gpus: Vec<_> = lines.iter().filter(of_gpus).collect();
    assert_eq!(gpus.len(), 1, "{gpus:?}");
    assert_eq!(gpus[0]["level"], "INFO");
    let message = gpus[0]["message"].as_str().unwrap();
    assert!(message.contains("no GPU metrics"), "{message}");
}

/// Lines of the handler, and of the body that is sent after the handler has returned.
#[test]
fn a_filter_that_hides_requests_leaves_the_trace_id_on_what_it_shows() {
    for stream in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let config = "log: {filter: warn}\ndebug: {allowFaultInjection: true}";
        let (mut child, port) = serving(folder.path(), config, &[]);
        generate(port, stream);
        send(port, "PUT", "/debug/faults", r#"{"enginePanic": true}"#).unwrap();
        assert!(generate(port, stream).contains("\"engine\""));
        assert_eq!(end(&mut child, PATIENCE).code(), Some(1));

        let lines = log(folder.path());
        assert!(saying(&lines, "request").is_empty());
        let failed = saying(&lines, "the engine failed a request")[0];
        assert_eq!(failed["level"], "WARN");
        let error = failed["error"].as_str().unwrap();
        assert!(error.contains("the engine has stopped"), "{error}");
        assert_eq!(failed["trace_id"], TRACE_ID, "stream: {stream}");
    }
}

#[test]
fn a_collector_that_cannot_be_used_is_one_warning_and_the_model_serves() {
    for (endpoint, cure) in [
        // No certificate to check it with.
        ("https://127.0.0.1:4317", "SSL_CERT_FILE"),
        ("collector:4317", "http://collector:4317"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let config = format!("tracing: {{endpoint: '{endpoint}', samplingRatio: 100%}}");
        let environment = [("SSL_CERT_FILE", "/no/such/certificates.pem")];
        let (mut child, port) = serving(folder.path(), &config, &environment);
        let answer = generate(port, false);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(!answer.contains("traceresponse"), "{answer}");
        assert_eq!(terminate(&mut child).code(), Some(0));

        let lines = log(folder.path());
        let warnings: Vec<_> = lines
            .iter()
            .filter(|line| line["level"] != "INFO")
            .collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let message = warnings[0]["message"].as_str().unwrap();
        assert!(message.contains("tracing.endpoint"), "{message}");
        assert!(message.contains(cure), "{message}");
        assert_eq!(warnings[0]["endpoint"], endpoint);
    }
}
