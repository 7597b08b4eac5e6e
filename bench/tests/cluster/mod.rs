//! A stand-in for the API server and for Jaeger, and the command beside it.
#![allow(dead_code, reason = "each test program uses some of it")]

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

const TRACES: &str = include_str!("../data/jaeger-v3.json");

/// What it holds, and what it was asked for.
#[derive(Debug, Default)]
struct Held {
    deployments: Value,
    /// Other objects by their paths.
    objects: Vec<(String, Value)>,
    asked: Mutex<Vec<String>>,
}

/// Answers as an API server that holds these objects and nothing else, and as a Jaeger.
pub struct Cluster {
    pub url: String,
    folder: tempfile::TempDir,
    held: Arc<Held>,
}

impl Cluster {
    pub fn with(deployments: Value) -> Self {
        Self::start(Held {
            deployments,
            ..Held::default()
        })
    }

    /// Objects by their paths, such as `/api/v1/namespaces/demo/configmaps/one`.
    pub fn holding(objects: &[(&str, Value)]) -> Self {
        let own = |(path, object): &(&str, Value)| ((*path).to_owned(), object.clone());
        Self::start(Held {
            deployments: json!([]),
            objects: objects.iter().map(own).collect(),
            ..Held::default()
        })
    }

    fn start(held: Held) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let held = Arc::new(held);
        let known = held.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let known = known.clone();
                thread::spawn(move || answer(stream.unwrap(), &known));
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
        Self { url, folder, held }
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        candlepower(&self.folder.path().join("config"), arguments)
    }

    /// The paths that it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.held.asked.lock().unwrap().clone()
    }
}

pub fn candlepower(kubeconfig: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_candlepower"))
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .output()
        .unwrap()
}

/// Answers the requests of one connection.
fn answer(stream: TcpStream, held: &Held) {
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(line) = lines.next() {
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        // The rest of the head; none of these requests has a body.
        while lines.next().is_some_and(|line| !line.is_empty()) {}
        let (status, body) = held.body(&path);
        held.asked.lock().unwrap().push(path);
        let begin = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if writer.write_all((begin + &body).as_bytes()).is_err() {
            return;
        }
    }
}

impl Held {
    fn body(&self, path: &str) -> (&'static str, String) {
        if path.starts_with("/api/v3/traces") {
            return ("200 OK", TRACES.to_owned());
        }
        let plain = path.split('?').next().unwrap_or_default();
        if let Some((_, object)) = self.objects.iter().find(|(place, _)| place == plain) {
            return ("200 OK", object.to_string());
        }
        if plain.contains("/llmbenchmarks/") || plain.contains("/configmaps/") {
            let absent = json!({
                "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
                "message": "not found", "reason": "NotFound", "code": 404,
            });
            return ("404 Not Found", absent.to_string());
        }
        let wanted = path.contains("/llmdeployments");
        let items = if wanted {
            self.deployments.clone()
        } else {
            json!([])
        };
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
        ("200 OK", list.to_string())
    }
}

pub fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// What was printed, and what was said beside it.
pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
