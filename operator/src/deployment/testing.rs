//! Resources, pods and times for tests.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a literal of json! reads better without a reference"
)]
use super::{
    context::ServerDefaults,
    dereference::Observed,
    dereference::ObservedPod,
    monitoring::{Choice, choice, served::Served},
    validate::{Valid, validate},
};
use crate::config::{Config, PullPolicy, monitoring::MonitoringConfig};
use axum::http::{Request, Response, StatusCode};
use candlepower_api::deployment::{LLMDeployment, LLMDeploymentStatus};
use clap::Parser;
use futures::future;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tower::BoxError;

pub(super) const NOW: &str = "2026-01-01T12:00:00Z";

pub(super) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(super) fn server() -> ServerDefaults {
    ServerDefaults {
        image: "candlepower/server:test".to_owned(),
        cuda_image: Some("candlepower/server-cuda:test".to_owned()),
        pull_policy: PullPolicy::IfNotPresent,
    }
}

/// The operator's flags for monitoring.
pub(super) fn settings(arguments: &[&str]) -> MonitoringConfig {
    Config::try_parse_from([&["candlepower-operator"], arguments].concat())
        .unwrap()
        .monitoring
}

/// What is chosen for `resource` on a cluster that serves this.
pub(super) fn choice(resource: &LLMDeployment, served: Served, arguments: &[&str]) -> Choice {
    choice::choose(&resource.spec.observability, served, &settings(arguments))
}

/// Nothing exists yet.
pub(super) fn observed() -> Observed {
    Observed::default()
}

/// A resource with this `spec`, and a source where it has none.
pub(super) fn resource(mut spec: Value) -> LLMDeployment {
    if spec["model"].is_null() {
        spec["model"] = json!({"source": "pvc://models/a.gguf"});
    }
    serde_json::from_value(json!({
        "apiVersion": "candlepower.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": "tiny", "namespace": "team", "uid": "uid-1", "generation": 3},
        "spec": spec,
    }))
    .unwrap()
}

pub(super) fn valid(resource: &LLMDeployment) -> Valid<'_> {
    validate(resource, &LLMDeploymentStatus::default(), &server()).unwrap()
}

/// A pod with this `status`, without a report.
pub(super) fn pod(status: Value) -> ObservedPod {
    let pod = json!({
        "metadata": {"name": "tiny-1", "namespace": "team"},
        "status": status,
    });
    ObservedPod {
        pod: Arc::new(serde_json::from_value(pod).unwrap()),
        ..ObservedPod::default()
    }
}

/// A scheduled pod whose container has this `state`.
pub(super) fn pod_in(state: Value, last_state: Value, restarts: i32) -> ObservedPod {
    pod(json!({
        "phase": "Running",
        "podIP": "10.0.0.7",
        "startTime": "2026-01-01T11:59:55Z",
        "conditions": [{"type": "PodScheduled", "status": "True"}],
        "containerStatuses": [{
            "name": "server", "image": "i", "imageID": "", "ready": false,
            "restartCount": restarts, "state": state, "lastState": last_state,
        }],
    }))
}

/// A pod that serves.
pub(super) fn ready_pod() -> ObservedPod {
    pod(json!({
        "phase": "Running",
        "podIP": "10.0.0.7",
        "conditions": [
            {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}
        ],
        "containerStatuses": [{
            "name": "server", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T11:59:00Z"}},
        }],
    }))
}

/// A client whose API server gives these answers to paths with their queries, and all that it was asked for.
pub(crate) fn api_server(
    answer: impl Fn(&str) -> (StatusCode, String) + Send + 'static,
) -> (Client, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noting = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let uri = request.uri().to_string();
        let (status, body) = answer(&uri);
        noting.lock().unwrap().push(uri);
        let answer = Response::builder().status(status);
        let answer = answer.body(Body::from(body.into_bytes())).unwrap();
        future::ok::<_, BoxError>(answer)
    });
    (Client::new(service, "team"), asked)
}

/// A cluster without a monitoring stack.
pub(super) const BARE: Served = Served {
    pod_monitor: false,
    prometheus_rule: false,
};

/// A cluster with prometheus-operator.
pub(super) const STACK: Served = Served {
    pod_monitor: true,
    prometheus_rule: true,
};
