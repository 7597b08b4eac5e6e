//! Benchmarks, deployments and pods for tests.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a literal of json! reads better without a reference"
)]
use crate::{
    config::{Config, benchmark::BenchmarkConfig},
    watches::Pod,
};
use candlepower_api::{benchmark::LLMBenchmark, deployment::LLMDeployment};
use clap::Parser;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const NOW: &str = "2026-01-01T12:00:00Z";

pub(super) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// The operator's flags for benchmarks.
pub(super) fn settings() -> BenchmarkConfig {
    Config::try_parse_from([
        "candlepower-operator",
        "--bench-image=candlepower/bench:test",
    ])
    .unwrap()
    .benchmark
}

/// The benchmark `nightly` with this `spec`.
pub(super) fn benchmark(spec: Value) -> LLMBenchmark {
    named("nightly", NOW, spec)
}

pub(super) fn named(name: &str, created: &str, spec: Value) -> LLMBenchmark {
    serde_json::from_value(json!({
        "apiVersion": "candlepower.dev/v1alpha1",
        "kind": "LLMBenchmark",
        "metadata": {
            "name": name, "namespace": "team", "uid": format!("uid-{name}"), "generation": 1,
            "creationTimestamp": created,
        },
        "spec": spec,
    }))
    .unwrap()
}

/// A condition, as a status has it.
pub(super) fn condition(type_: &str, status: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": "ForATest", "message": "",
        "lastTransitionTime": NOW,
    })
}

/// A deployment that serves, with Prometheus and Jaeger beside it.
pub(super) fn served(name: &str) -> LLMDeployment {
    deployment(name, "True", "AllPodsReady", "1 pod serves")
}

/// A deployment that does not.
pub(super) fn unready(name: &str, reason: &str, message: &str) -> LLMDeployment {
    deployment(name, "False", reason, message)
}

fn deployment(name: &str, ready: &str, reason: &str, message: &str) -> LLMDeployment {
    serde_json::from_value(json!({
        "apiVersion": "candlepower.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": "team", "uid": "uid-target", "generation": 3},
        "spec": {
            "model": {"source": "pvc://models/a.gguf"},
            "resources": {"cpu": "1", "memory": "1Gi"},
            "engine": {"maxQueueDepth": 7},
            "objectives": {"availability": "99.9%"},
        },
        "status": {
            "url": format!("http://{name}.team.svc:8080"),
            "image": "candlepower/server:1",
            "observability": {"metrics": "Sidecar", "tracing": "Sidecar"},
            "conditions": [{
                "type": "Ready", "status": ready, "reason": reason, "message": message,
                "observedGeneration": 3, "lastTransitionTime": NOW,
            }],
        },
    }))
    .unwrap()
}

/// A pod that serves at an address.
pub(super) fn serving_pod(name: &str, ip: &str) -> Arc<Pod> {
    let pod = json!({
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"nodeName": "node-1", "containers": []},
        "status": {
            "podIP": ip, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        },
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}
