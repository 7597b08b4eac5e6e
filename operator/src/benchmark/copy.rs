//! The temporary copy of a deployment with one change, under which the same load is measured again.
use super::build::names;
use crate::children;
use candlepower_api::{
    benchmark::{LLMBenchmark, job::Change},
    deployment::{LLMDeployment, LLMDeploymentSpec, Objectives},
    names::labels,
};
use kube::{ResourceExt, api::ObjectMeta};
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
    let changed = target.spec.patched(patch);
    let spec = quiet(changed.map_err(|error| error.to_string())?);
    let same_device = spec.resources.device() == target.spec.resources.device();
    let image = target
        .status
        .as_ref()
        .and_then(|status| status.image.clone())
        .filter(|_| same_device);
    let name = names::copy(&resource.name_any(), change.name());
    Ok(LLMDeployment {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: resource.namespace(),
            labels: Some(names::labels(&resource.name_any())),
            // The target's own image, which may be older than what new deployments get; on another device it
            // cannot run.
            annotations: image
                .map(|image| BTreeMap::from([(labels::SERVER_IMAGE.to_owned(), image)])),
            owner_references: Some(children::owner_reference(resource).into_iter().collect()),
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
    fn a_copy_on_another_device_gets_the_image_for_that() {
        let image = |patch| copied(patch).unwrap().metadata.annotations;
        assert!(image(json!({"precision": "q8_0"})).is_some());
        assert_eq!(image(json!({"resources": {"gpus": 1}})), None);
    }

    #[test]
    fn a_patch_that_makes_no_deployment_says_why() {
        for (patch, why) in [
            (json!({"precison": "q8_0"}), "no field spec.precison"),
            (json!({"precision": "q7"}), "makes no spec"),
        ] {
            assert!(copied(patch).unwrap_err().contains(why));
        }
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
