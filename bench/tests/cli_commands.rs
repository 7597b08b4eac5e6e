//! `candlepower` as it is called, beside a stand-in for the API server and for Jaeger.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Output},
    thread,
};

const TRACES: &str = include_str!("data/jaeger-v3.json");

/// Answers as an API server that holds these deployments and nothing else, and as a Jaeger.
struct Cluster {
    url: String,
    folder: tempfile::TempDir,
}

impl Cluster {
    fn with(deployments: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let deployments = deployments.clone();
                thread::spawn(move || answer(stream.unwrap(), &deployments));
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": url}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "here",
                "context": {"cluster": "here", "user": "me", "namespace": "demo"}}],
        });
        std::fs::write(folder.path().join("config"), kubeconfig.to_string()).unwrap();
        Self { url, folder }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        candlepower(&self.folder.path().join("config"), arguments)
    }
}

fn candlepower(kubeconfig: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_candlepower"))
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .output()
        .unwrap()
}

/// Answers the requests of one connection.
fn answer(stream: TcpStream, deployments: &Value) {
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(line) = lines.next() {
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        // The rest of the head; none of these requests has a body.
        while lines.next().is_some_and(|line| !line.is_empty()) {}
        let body = if path.starts_with("/api/v3/traces") {
            TRACES.to_owned()
        } else {
            let wanted = path.contains("/llmdeployments");
            let items = if wanted {
                deployments.clone()
            } else {
                json!([])
            };
            json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}).to_string()
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if writer.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn deployment(name: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "candlepower.dev/v1alpha1", "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": "demo",
            "creationTimestamp": "2026-11-24T10:00:00Z"},
        "spec": {"model": {"source": "pvc://models/tiny.gguf"}},
        "status": {
            "replicas": 1, "readyReplicas": 1,
            "conditions": [{"type": "Ready", "status": ready, "reason": "R", "message": "m",
                "lastTransitionTime": "2026-11-24T10:00:00Z"}],
            "model": {"name": "smollm2", "architecture": "llama", "precision": "q4_1",
                "device": "cpu", "contextLength": 1, "weightsBytes": 1, "kvCacheBytes": 1},
        },
    })
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn top_prints_the_table_as_json() {
    let cluster = Cluster::with(json!([
        deployment("other", "False"),
        deployment("smollm2", "True")
    ]));
    let output = cluster.run(&["top", "-o", "json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let rows = json_of(&output);
    assert_eq!(rows[0]["name"], "other");
    assert_eq!(rows[0]["ready"], false);
    assert_eq!(rows[1]["model"], "smollm2");
}

#[test]
fn traces_prints_operations_and_slowest_traces_as_json() {
    let cluster = Cluster::with(json!([deployment("smollm2", "True")]));
    let output = cluster.run(&[
        "traces",
        "smollm2",
        "--jaeger-url",
        &cluster.url,
        "-o",
        "json",
    ]);
    assert_eq!(code(&output), 0, "{output:?}");
    let report = json_of(&output);
    assert_eq!(report["deployment"], "smollm2");
    assert_eq!(report["traces"], 1);
    assert_eq!(report["slowest"].as_array().unwrap().len(), 1);
    let operations = report["operations"].as_array().unwrap();
    assert!(
        operations.iter().any(|one| one["name"] == "decode"),
        "{report}"
    );
}

#[test]
fn status_ends_with_3_where_something_is_not_ready() {
    let well = Cluster::with(json!([deployment("smollm2", "True")]));
    assert_eq!(code(&well.run(&["status"])), 0);
    assert_eq!(code(&well.run(&["status", "smollm2"])), 0);
    let unwell = Cluster::with(json!([
        deployment("other", "False"),
        deployment("smollm2", "True")
    ]));
    assert_eq!(code(&unwell.run(&["status"])), 3);
    let output = unwell.run(&["status", "other", "-o", "json"]);
    assert_eq!(code(&output), 3);
    assert_eq!(json_of(&output)["ready"], false, "it is told all the same");
}

#[test]
fn a_failure_ends_with_1_and_a_wrong_command_line_with_2() {
    let cluster = Cluster::with(json!([deployment("smollm2", "True")]));
    let output = cluster.run(&["status", "absent"]);
    assert_eq!(code(&output), 1);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no LLMDeployment absent"), "{said}");
    assert!(said.contains("there: smollm2"), "{said}");
    let nowhere = Path::new("/nonexistent/kubeconfig");
    assert_eq!(code(&candlepower(nowhere, &["top"])), 1);
    for wrong in [&["statsu"][..], &["traces"], &["top", "--interval", "soon"]] {
        assert_eq!(code(&cluster.run(wrong)), 2, "{wrong:?}");
    }
}

#[test]
fn dashboards_says_why_nothing_opens_and_ends_with_1() {
    let cluster = Cluster::with(json!([deployment("smollm2", "True")]));
    let output = cluster.run(&["dashboards", "smollm2", "-o", "json"]);
    assert_eq!(code(&output), 1, "{output:?}");
    let tools = json_of(&output);
    let names: Vec<_> = tools
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["tool"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Prometheus", "Jaeger", "Grafana"]);
    for tool in tools.as_array().unwrap() {
        assert_eq!(tool["links"], json!([]));
        assert!(tool["absent"].is_string(), "{tool}");
    }
}
