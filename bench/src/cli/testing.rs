//! Resources for tests.
use candlepower_api::deployment::LLMDeployment;
use serde_json::{Value, json};

/// A deployment with a status.
pub(super) fn deployment(namespace: &str, name: &str, status: &Value) -> LLMDeployment {
    serde_json::from_value(json!({
        "apiVersion": "candlepower.dev/v1alpha1", "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": namespace,
            "creationTimestamp": "2026-11-24T10:00:00Z"},
        "spec": {"model": {"source": "pvc://models/tiny.gguf"}, "precision": "int8"},
        "status": status,
    }))
    .unwrap()
}
