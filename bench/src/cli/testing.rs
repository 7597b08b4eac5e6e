//! Resources for tests.
use candlepower_api::deployment::LLMDeployment;
use serde_json::{Value, json};

/// A deployment with a status.
pub(super) fn deployment(namespace: &str, name: &str, status: &Value) -> LLMDeployment {
    serde_json::from_value(json!({
        "apiVersion": "candlepower.dev/v1alpha1", "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": namespace,
            "creationTimestamp": "2026-11-24T10:00:00Z"},
        "spec": {"model": {"source": "pvc://models/tiny.gguf"}, "precision": "q4_1"},
        "status": status,
    }))
    .unwrap()
}

/// One that serves, with figures and an alert.
pub(super) fn serving() -> LLMDeployment {
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": "2026-11-24T10:00:00Z"})
    };
    let percentiles = |p50: &str, p95: &str, p99: &str| json!({"p50": p50, "p95": p95, "p99": p99});
    deployment(
        "team",
        "tiny",
        &json!({
            "replicas": 2, "readyReplicas": 1, "url": "http://tiny.team.svc:8080",
            "conditions": [
                condition("Ready", "AllPodsReady", "1 pod serves"),
                condition("ObservabilityReady", "Collecting", "the pods are scraped"),
            ],
            "load": {"stage": "Loaded", "percent": 100},
            "model": {"name": "tiny-1b", "architecture": "llama", "precision": "q4_1",
                "device": "cpu", "contextLength": 2048, "weightsBytes": 143_025_408_u64,
                "kvCacheBytes": 754_974_720_u64},
            "performance": {"ttft": percentiles("110ms", "450ms", "900ms"),
                "tpot": percentiles("15ms", "21ms", "30ms"), "tokensPerSecond": "64.2",
                "requestsPerSecond": "1.5", "errorRate": "0.5%", "window": "1m",
                "observedAt": "2026-11-24T10:09:30Z"},
            "alerts": {"firing": ["CandlepowerMemoryHigh"], "summary": "1",
                "runbooksUrl": "https://wiki.example/"},
            "observability": {"metrics": "PodMonitor", "tracing": "Sidecar",
                "prometheus": "http://prometheus.monitoring:9090",
                "traces": "http://127.0.0.1:4317"},
        }),
    )
}
