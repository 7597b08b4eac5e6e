//! What the API server accepts and refuses, checked with the CRD's own schema and CEL rules.
use super::*;
use crate::testing;
use kube::CustomResourceExt;
use serde_json::{Value, json};

/// Messages of the CEL rules that `spec` (with a source filled in) breaks.
fn violations(name: &str, spec: &Value) -> Vec<String> {
    let mut object = json!({
        "apiVersion": "candlepower.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name},
        "spec": spec,
    });
    if object["spec"]["model"].is_null() {
        object["spec"]["model"] = json!({"source": "pvc://models/a.gguf"});
    }
    testing::violations::<LLMDeployment>(&object)
}

#[test]
fn only_the_models_source_is_required_and_everything_else_has_a_default() {
    let spec: LLMDeploymentSpec =
        serde_json::from_value(json!({"model": {"source": "pvc://models/a.gguf"}})).unwrap();
    assert_eq!(spec.desired_replicas(), 1);
    assert_eq!(spec.precision, Precision::Auto);
    assert!(spec.preload);
    assert_eq!(
        spec.alerts.time_to_first_token_p95.threshold.to_string(),
        "2s"
    );
    assert_eq!(violations("a", &json!({})), Vec::<String>::new());
}

#[test]
fn times_of_nothing_are_refused_where_they_would_divide_by_it() {
    let zero =
        json!({"alerts": {"window": "0s"}, "observability": {"metrics": {"interval": "0m"}}});
    let violations = violations("a", &zero);
    assert_eq!(violations.len(), 2, "{violations:?}");
    assert!(violations.iter().all(|message| message.contains("above 0")));
}

#[test]
fn one_field_of_an_alert_can_be_set_and_the_others_keep_their_defaults() {
    let alerts: Alerts =
        serde_json::from_value(json!({"memoryUtilization": {"threshold": "80%"}})).unwrap();
    assert_eq!(alerts.memory_utilization.threshold.to_string(), "80%");
    assert_eq!(alerts.memory_utilization.severity, Severity::Critical);
    assert_eq!(alerts.memory_utilization.r#for.to_string(), "2m");
}

#[test]
fn a_certificate_is_named_by_its_secret_and_not_by_a_file() {
    let of = |name: &str| {
        violations(
            "a",
            &json!({"access": {"tls": {"secretRef": {"name": name}}}}),
        )
    };
    assert_eq!(of("tiny-tls"), Vec::<String>::new());
    assert_eq!(of("wildcard.team.svc"), Vec::<String>::new());
    for name in ["/certs/tls.crt", "Tiny", "tiny_tls", "tiny-"] {
        let violations = of(name);
        assert_eq!(violations.len(), 1, "{name}: {violations:?}");
        assert!(violations[0].contains("kubectl create secret tls"));
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_bad_value_is_refused_with_a_message_that_says_what_to_write() {
    let cases = [
        (
            json!({"model": {"source": "models/a.gguf"}}),
            "start with hf://",
        ),
        (
            json!({"model": {"source": "pvc://models"}}),
            "pvc://CLAIM/PATH",
        ),
        (
            json!({"model": {"source": "file://a.gguf"}}),
            "file:///PATH",
        ),
        (
            json!({"model": {"source": "pvc://models/../a.gguf"}}),
            "may not contain '..'",
        ),
        (
            json!({"model": {"source": "pvc://m/a.gguf", "sha256": "abc"}}),
            "sha256sum",
        ),
        (
            json!({"model": {"source": "pvc://m/a.gguf", "revision": "main"}}),
            "only hf:// sources",
        ),
        (
            json!({"replicas": 2, "autoscaling": {"minReplicas": 1, "maxReplicas": 3}}),
            "not both",
        ),
        (
            json!({"autoscaling": {"minReplicas": 3, "maxReplicas": 1}}),
            "not above maxReplicas",
        ),
        (
            json!({"resources": {"memory": "16GB"}}),
            "512Mi, 16Gi or 1G",
        ),
        (json!({"resources": {"memory": 16}}), "with its unit"),
        (
            json!({"autoscaling": {"minReplicas": 0, "maxReplicas": 2}}),
            "write a minReplicas of 1 or more",
        ),
        (json!({"resources": {"cpu": "four"}}), "number of cores"),
        (
            json!({"resources": {"cpu": 2, "requests": {"cpu": "2500m"}}}),
            "at most resources.cpu",
        ),
        (
            json!({"resources": {"memory": "1Gi", "requests": {"memory": "1.1Gi"}}}),
            "at most resources.memory",
        ),
        (
            json!({"resources": {"memory": "2Gi"}, "engine": {"kvCacheMemory": "2048Mi"}}),
            "less than resources.memory",
        ),
        (
            json!({"alerts": {"window": "30s"}}),
            "at least four times observability.metrics.interval",
        ),
        (
            json!({"objectives": {"timeToFirstToken": {"threshold": "1500ms", "target": "99%"}}}),
            "write an edge of the histogram",
        ),
        (
            json!({"model": {"source": "pvc://m/a.gguf", "tokenizer": "pvc://m"}}),
            "model.tokenizer: write pvc://CLAIM/PATH",
        ),
        (
            json!({"rollout": {"drainTimeout": "5"}}),
            "500ms, 2s or 1m30s",
        ),
        (
            json!({"alerts": {"errorRate": {"threshold": "101%"}}}),
            "between 0% and 100%",
        ),
        (json!({"cache": {}}), "either size"),
        (
            json!({"resources": {"gpus": 1, "claims": [{"name": "gpu", "resourceClaimTemplateName": "a"}]}}),
            "with claims, remove gpus",
        ),
        (
            json!({"resources": {"claims": [{"name": "gpu"}]}}),
            "either resourceClaimTemplateName",
        ),
        (
            json!({"resources": {"claims": [
                {"name": "gpu", "resourceClaimTemplateName": "a", "resourceClaimName": "b"}
            ]}}),
            "either resourceClaimTemplateName",
        ),
        (
            json!({"resources": {"claims": [{"name": "My_GPU", "resourceClaimName": "a"}]}}),
            "such as gpu",
        ),
        (
            json!({"observability": {"tracing": {"mode": "Endpoint"}}}),
            "needs an endpoint",
        ),
        (
            json!({"observability": {"tracing": {"mode": "Auto", "endpoint": "collector:4317"}}}),
            "http://",
        ),
    ];
    for (spec, cure) in cases {
        let messages = violations("a", &spec);
        assert!(
            messages.iter().any(|message| message.contains(cure)),
            "{spec}: {messages:?} lacks \"{cure}\""
        );
    }
}

#[test]
fn the_wanted_number_is_the_autoscalers_where_there_is_one() {
    let wanted = |spec: Value| {
        let mut spec = spec;
        spec["model"] = json!({"source": "pvc://models/a.gguf"});
        let mut resource = LLMDeployment::new("a", serde_json::from_value(spec).unwrap());
        let before = resource.wanted_replicas();
        resource.status = Some(LLMDeploymentStatus {
            autoscaling: Some(AutoscalingStatus {
                desired_replicas: 3,
                ..AutoscalingStatus::default()
            }),
            ..LLMDeploymentStatus::default()
        });
        (before, resource.wanted_replicas())
    };
    let limits = json!({"autoscaling": {"minReplicas": 2, "maxReplicas": 4}});
    assert_eq!(wanted(limits), (2, 3));
    assert_eq!(wanted(json!({"replicas": 0})), (0, 0), "a status of before");
}

#[test]
fn an_autoscaler_never_goes_to_zero() {
    let limits = |min_replicas, max_replicas| {
        let limits = json!({"minReplicas": min_replicas, "maxReplicas": max_replicas});
        serde_json::from_value::<Autoscaling>(limits).unwrap()
    };
    assert_eq!([0, 2, 9].map(|wish| limits(1, 4).clamp(wish)), [1, 2, 4]);
    assert_eq!(limits(0, 4).clamp(0), 1, "stored before that was refused");
}

#[test]
fn a_name_that_children_could_not_carry_is_refused() {
    assert!(violations(&"a".repeat(50), &json!({})).is_empty());
    assert!(violations(&"a".repeat(51), &json!({}))[0].contains("at most 50"));
    assert!(violations("a.b", &json!({}))[0].contains("lower-case letters"));
}

#[test]
fn good_values_pass() {
    for spec in [
        json!({"resources": {"cpu": 4, "memory": "16Gi", "gpus": 1}}),
        json!({"resources": {"cpu": "1500m", "memory": "1.5Gi"}}),
        json!({"resources": {"memory": 4_294_967_296_i64, "requests": {"cpu": 1, "memory": "0.5Gi"}}}),
        json!({"resources": {"claims": [{"name": "gpu", "resourceClaimTemplateName": "a"}]}}),
        json!({"resources": {"claims": [{"name": "gpu", "resourceClaimName": "a", "request": "b"}]}}),
        json!({"engine": {"kvCacheMemory": "512Mi"}}),
        json!({"alerts": {"window": "1m"}}),
        json!({"alerts": {"window": "20s"}, "observability": {"metrics": {"mode": "None"}}}),
        json!({"objectives": {"timeToFirstToken": {"threshold": "0.5s", "target": "99%"}}}),
        json!({"cache": {"size": "50Gi"}}),
        json!({"cache": {"existingClaim": "weights"}}),
        json!({"rollout": {"drainTimeout": "1m30s"}}),
        json!({"autoscaling": {"minReplicas": 1, "maxReplicas": 3}}),
    ] {
        assert_eq!(violations("a", &spec), Vec::<String>::new(), "{spec}");
        let mut whole = spec;
        whole["model"] = json!({"source": "hf://owner/name"});
        serde_json::from_value::<LLMDeploymentSpec>(whole).unwrap();
    }
}

#[test]
fn each_edge_of_the_histogram_may_be_an_objective() {
    for seconds in crate::names::buckets::TIME_TO_FIRST_TOKEN {
        let objective = json!({"threshold": format!("{seconds}s"), "target": "99%"});
        let spec = json!({"objectives": {"timeToFirstToken": objective}});
        assert_eq!(violations("a", &spec), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn every_field_is_explained() {
    fn undocumented(path: &str, schema: &Value, found: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property["description"].as_str().is_none_or(str::is_empty) {
                found.push(path.clone());
            }
            undocumented(&path, property, found);
        }
    }
    let crd = serde_json::to_value(LLMDeployment::crd()).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = Vec::new();
    undocumented("spec", spec, &mut found);
    assert_eq!(
        found,
        Vec::<String>::new(),
        "kubectl explain has nothing to say about these"
    );
}
