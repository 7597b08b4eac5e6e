//! The temporary copy of a deployment with one change, under which the same load is measured again.
use super::build::names;
use candlepower_api::{
    benchmark::{LLMBenchmark, job::Change},
    deployment::{LLMDeployment, LLMDeploymentSpec, Objectives},
    names::labels,
};
use kube::{Resource, ResourceExt, api::ObjectMeta};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a recommendation may change. It comes out of a pod, so that nothing that would give the copy
/// another file, image or right is taken from it.
const RECOMMENDABLE: [&str; 5] = ["engine", "precision", "preload", "replicas", "resources"];

/// The copy of `target` with `change`, or why there cannot be one.
pub(super) fn of(
    resource: &LLMBenchmark,
    target: &LLMDeployment,
    change: &Change,
) -> Result<LLMDeployment, String> {
    let patch = patch(resource, change)?;
    let spec = quiet(changed(&target.spec, patch)?);
    let image = target
        .status
        .as_ref()
        .and_then(|status| status.image.clone());
    let name = names::copy(&resource.name_any(), change.name());
    Ok(LLMDeployment {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: resource.namespace(),
            labels: Some(names::labels(&resource.name_any())),
            // The target's own image, which may be older than what new deployments get.
            annotations: image
                .map(|image| BTreeMap::from([(labels::SERVER_IMAGE.to_owned(), image)])),
            owner_references: Some(resource.controller_owner_ref(&()).into_iter().collect()),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    })
}

fn patch<'a>(
    resource: &'a LLMBenchmark,
    change: &'a Change,
) -> Result<&'a BTreeMap<String, Value>, String> {
    match change {
        Change::Variant { name } => {
            let found = resource
                .spec
                .variants
                .iter()
                .find(|variant| variant.name == *name);
            let found = found.ok_or_else(|| format!("spec.variants has none called {name}"))?;
            Ok(&found.patch)
        }
        Change::Recommendation { patch, .. } => {
            if resource.spec.try_recommendations < 1 {
                return Err("spec.tryRecommendations is 0".to_owned());
            }
            let other = patch
                .keys()
                .find(|key| !RECOMMENDABLE.contains(&key.as_str()));
            match other {
                Some(key) => Err(format!("a recommendation may not change spec.{key}")),
                None => Ok(patch),
            }
        }
    }
}

fn changed(
    spec: &LLMDeploymentSpec,
    patch: &BTreeMap<String, Value>,
) -> Result<LLMDeploymentSpec, String> {
    let mut whole = serde_json::to_value(spec).map_err(|error| error.to_string())?;
    let patch = serde_json::to_value(patch).map_err(|error| error.to_string())?;
    merge(&mut whole, &patch);
    let changed: LLMDeploymentSpec = serde_json::from_value(whole)
        .map_err(|error| format!("the patch makes no spec: {error}"))?;
    let written = serde_json::to_value(&changed).map_err(|error| error.to_string())?;
    match unknown(&written, &patch, "spec") {
        Some(field) => Err(format!(
            "there is no field {field}; see kubectl explain llm.spec --recursive"
        )),
        None => Ok(changed),
    }
}

/// JSON merge patch (RFC 7386).
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(into) = value {
        for (key, change) in fields {
            if change.is_null() {
                into.remove(key);
            } else {
                merge(into.entry(key).or_insert(Value::Null), change);
            }
        }
    }
}

/// A field of the patch that the resource does not have: what is not understood would otherwise be
/// measured as if it had been.
fn unknown(written: &Value, patch: &Value, field: &str) -> Option<String> {
    let fields = patch.as_object()?.iter();
    let says_something = |change: &Value| match change {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    let mut told = fields.filter(|(_, change)| says_something(change));
    told.find_map(|(key, change)| {
        let field = format!("{field}.{key}");
        match written.get(key) {
            // Maps of the user's own keys, quantities and lists have forms of their own.
            Some(inner @ Value::Object(_)) => unknown(inner, change, &field),
            Some(_) => None,
            None => Some(field),
        }
    })
}

/// Measured, but not watched: nobody is to be woken for it, and no dashboard to be made.
fn quiet(mut spec: LLMDeploymentSpec) -> LLMDeploymentSpec {
    spec.observability.dashboards.enabled = false;
    spec.alerts.time_to_first_token_p95.enabled = false;
    spec.alerts.memory_utilization.enabled = false;
    spec.alerts.error_rate.enabled = false;
    spec.alerts.throughput.enabled = false;
    spec.objectives = Objectives::default();
    spec
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::needless_pass_by_value,
        reason = "literals read better without a reference"
    )]
    use super::*;
    use crate::benchmark::testing;
    use candlepower_api::deployment::Resources;
    use serde_json::json;

    fn copied(patch: Value) -> Result<LLMDeployment, String> {
        let resource = testing::benchmark(json!({
            "target": {"deployment": "tiny"},
            "variants": [{"name": "changed", "patch": patch}],
        }));
        let change = Change::Variant {
            name: "changed".into(),
        };
        of(&resource, &testing::served("tiny"), &change)
    }

    #[test]
    fn a_copy_is_the_target_with_the_change_and_belongs_to_the_benchmark() {
        let copy = copied(json!({"precision": "q8_0", "engine": {"maxBatchSize": 1}})).unwrap();
        insta::assert_yaml_snapshot!(copy);
    }

    #[test]
    fn a_patch_changes_what_it_names_and_null_brings_the_default_back() {
        let target = testing::served("tiny").spec;
        let copy = copied(json!({"engine": {"maxBatchSize": 1}, "resources": null})).unwrap();
        assert_eq!(
            copy.spec.engine.max_queue_depth,
            target.engine.max_queue_depth
        );
        assert_eq!(copy.spec.engine.max_batch_size, 1);
        assert_eq!(copy.spec.resources, Resources::default());
        assert_ne!(target.resources, Resources::default());
    }

    #[test]
    fn what_the_resource_does_not_have_is_not_measured_as_if_it_had() {
        for (patch, path) in [
            (json!({"precison": "q8_0"}), "spec.precison"),
            (json!({"engine": {"batch": 1}}), "spec.engine.batch"),
        ] {
            assert!(copied(patch).unwrap_err().contains(path));
        }
        assert!(
            copied(json!({"precision": "q7"}))
                .unwrap_err()
                .contains("makes no spec")
        );
        assert!(copied(json!({"pod": {"nodeSelector": {"a": "b"}}})).is_ok());
    }

    #[test]
    fn a_recommendation_is_tried_only_where_asked_for_and_only_in_harmless_fields() {
        let recommended = |tries: i32, patch: Value| {
            let resource = testing::benchmark(json!({
                "target": {"deployment": "tiny"}, "tryRecommendations": tries,
            }));
            let change = Change::Recommendation {
                name: "quantise".into(),
                patch: serde_json::from_value(patch).unwrap(),
            };
            of(&resource, &testing::served("tiny"), &change)
        };
        assert!(recommended(1, json!({"precision": "q8_0"})).is_ok());
        assert!(recommended(0, json!({"precision": "q8_0"})).is_err());
        for patch in [
            json!({"pod": {"env": [{"name": "A", "value": "b"}]}}),
            json!({"model": {"source": "file:///etc/shadow"}}),
        ] {
            assert!(
                recommended(5, patch)
                    .unwrap_err()
                    .contains("may not change")
            );
        }
    }
}
