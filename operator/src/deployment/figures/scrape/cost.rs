//! What asking a thousand pods costs the operator: a measurement, run by `make cost`.
use super::*;
use crate::{deployment::testing::resource, watches::holding};
use futures::channel::mpsc::unbounded;
use kube::runtime::{reflector, watcher::Event};
use serde_json::json;
use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread,
};

const PODS: usize = 1000;
const EVERY: Duration = Duration::from_secs(30);
/// Fills a window of five minutes.
const ROUNDS: u32 = 12;
const ANSWER: &str = include_str!("../../../../tests/data/metrics.txt");
/// All pods have this address; each is asked by itself nevertheless.
const ADDRESS: &str = "127.77.0.1";

/// Answers every request with a server's metrics, on threads that are not counted.
fn serve() {
    let listener =
        TcpListener::bind((ADDRESS, candlepower_api::names::ports::SERVER_HTTP)).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).unwrap();
        let length = ANSWER.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        stream.write_all((head + ANSWER).as_bytes()).unwrap();
    }
}

/// CPU seconds of this thread.
fn cpu() -> f64 {
    let counted = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    counted.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Resident memory of this process in MiB.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kibibytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes / 1024.0
}

fn pod(index: usize) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("model-{index}-0"), "namespace": "team", "uid": format!("pod-{index}"),
            "labels": {
                candlepower_api::names::labels::LLM_DEPLOYMENT: format!("model-{index}"),
            },
        },
        "status": {"podIP": ADDRESS, "conditions": [{"type": "Ready", "status": "True"}]},
    }))
    .unwrap()
}

fn scraper() -> Scraper {
    let (resources, mut resource_writer) = reflector::store();
    for index in 0..PODS {
        let mut one = resource(json!({}));
        one.metadata.name = Some(format!("model-{index}"));
        resource_writer.apply_watcher_event(&Event::Apply(guarded(&one)));
    }
    Scraper {
        resources,
        pods: holding((0..PODS).map(pod)),
        deployments: Cache::default(),
        client: probe::Client::new(),
        metrics: Arc::new(Metrics::new().unwrap()),
        figures: Arc::default(),
        runbooks_url: String::new(),
        tell: unbounded().0,
    }
}

fn guarded(resource: &LLMDeployment) -> Guarded {
    serde_json::from_value(serde_json::to_value(resource).unwrap()).unwrap()
}

#[tokio::test]
#[ignore = "a measurement, not a test: make cost"]
async fn a_thousand_pods() {
    thread::spawn(serve);
    let scraper = scraper();
    let mut memory = Memory::default();
    let (before, resident_before) = (cpu(), resident());
    for _ in 0..ROUNDS {
        scraper.round(&mut memory).await;
    }
    assert_eq!(memory.pods.len(), PODS, "every pod answered");
    let a_round = (cpu() - before) / f64::from(ROUNDS);
    println!(
        "{PODS} pods of {:.1} KiB every {} s: {:.2} % of a core (limit 5), {:.1} MiB more resident memory (limit 16)",
        ANSWER.len() as f64 / 1024.0,
        EVERY.as_secs(),
        a_round / EVERY.as_secs_f64() * 100.0,
        resident() - resident_before
    );
}
