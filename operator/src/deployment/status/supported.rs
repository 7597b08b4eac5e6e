//! `SpecSupported`: which fields are set that this version does not act on.
use super::{
    super::source::is_fetched,
    conditions::{Truth, Verdict},
};
use candlepower_api::{deployment::LLMDeploymentSpec, names::conditions};

pub(super) fn spec_supported(spec: &LLMDeploymentSpec) -> Verdict {
    let inert = inert_fields(spec);
    if inert.is_empty() {
        return Verdict::new(
            conditions::SPEC_SUPPORTED,
            Truth::True,
            conditions::ALL_FIELDS_SUPPORTED,
            "every field that is set has its effect",
        );
    }
    Verdict::new(
        conditions::SPEC_SUPPORTED,
        Truth::False,
        conditions::NOT_YET_IMPLEMENTED,
        format!(
            "these fields have no effect in this version: {}",
            inert.join(", ")
        ),
    )
}

/// Fields that the user has set; a default is nobody's wish.
fn inert_fields(spec: &LLMDeploymentSpec) -> Vec<&'static str> {
    let model = &spec.model;
    let is_mounted = !is_fetched(&model.source);
    let fields = [
        (
            "model.file (the source names a file already)",
            is_mounted && model.file.is_some(),
        ),
        (
            "model.credentials (nothing is fetched)",
            is_mounted && model.credentials.is_some(),
        ),
        (
            "cache (nothing is fetched)",
            is_mounted && spec.cache.is_some(),
        ),
    ];
    fields
        .into_iter()
        .filter_map(|(field, is_set)| is_set.then_some(field))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::json;

    #[test]
    fn defaults_and_served_fields_are_supported() {
        for spec in [
            json!({}),
            json!({"engine": {"prefixCaching": true}, "observability": {"metrics": {"mode": "None"}}}),
            json!({"observability": {"tracing": {"mode": "Endpoint", "endpoint": "http://a:4317"}}}),
            json!({"observability": {"metrics": {"mode": "PodMonitor"}, "tracing": {"mode": "Sidecar"}}}),
            json!({"access": {"apiKeys": {"secretRef": {"name": "a"}}, "tls": {"secretRef": {"name": "b"}}, "networkPolicy": {"from": [{"podSelector": {}}]}}}),
            json!({"resources": {"gpus": 1}}),
            json!({"model": {"source": "hf://a/b", "revision": "v1", "file": "*.gguf",
                "credentials": {"secretRef": {"name": "hub"}}}, "cache": {"size": "1Gi"}}),
            json!({"alerts": {"errorRate": {"threshold": "1%"}}}),
            json!({"autoscaling": {"minReplicas": 1, "maxReplicas": 2}}),
        ] {
            let verdict = spec_supported(&testing::resource(spec).spec);
            assert_eq!(verdict.status, Truth::True, "{}", verdict.message);
        }
    }

    #[test]
    fn each_field_without_effect_is_named() {
        let spec = testing::resource(json!({
            "model": {"source": "pvc://a/b", "file": "c"},
            "cache": {"size": "1Gi"},
        }));
        let verdict = spec_supported(&spec.spec);
        assert_eq!(verdict.status, Truth::False);
        assert_eq!(verdict.reason, "NotYetImplemented");
        assert!(
            verdict.message.ends_with(
                "model.file (the source names a file already), cache (nothing is fetched)"
            ),
            "{}",
            verdict.message
        );
    }
}
