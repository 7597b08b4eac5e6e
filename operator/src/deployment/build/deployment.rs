//! The Deployment: how many pods, and in which order they are replaced.
use super::{labels, metadata, pod};
use crate::deployment::{monitoring::Plan, source::ModelSource, validate::Valid};
use candlepower_api::deployment::{Device, RolloutStrategy};
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

/// Kubernetes' way to write "no deadline": a large model may load for longer than any guess.
const NO_DEADLINE: i32 = i32::MAX;

pub(super) fn deployment(valid: &Valid<'_>, plan: &Plan<'_>, config_hash: &str) -> Deployment {
    Deployment {
        metadata: metadata(valid),
        spec: Some(DeploymentSpec {
            replicas: Some(valid.replicas),
            selector: LabelSelector {
                match_labels: Some(labels::selector(&valid.name)),
                ..LabelSelector::default()
            },
            strategy: Some(strategy(valid)),
            template: pod::template(valid, plan, config_hash),
            progress_deadline_seconds: Some(NO_DEADLINE),
            revision_history_limit: Some(3),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn strategy(valid: &Valid<'_>) -> DeploymentStrategy {
    let recreate = match valid.spec.rollout.strategy {
        // A second pod would wait for the GPU or the volume that the first one holds, and the first
        // one for the second to become ready.
        RolloutStrategy::Auto => {
            valid.spec.resources.device() == Device::Cuda || holds_a_volume(valid)
        }
        RolloutStrategy::Recreate => true,
        RolloutStrategy::Rolling => false,
    };
    if recreate {
        return DeploymentStrategy {
            type_: Some("Recreate".to_owned()),
            rolling_update: None,
        };
    }
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}

fn holds_a_volume(valid: &Valid<'_>) -> bool {
    match &valid.model {
        ModelSource::Fetched(model) => model.cache.is_for_one_node(),
        ModelSource::Mounted(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::{Value, json};

    fn strategy_of(spec: Value) -> String {
        let resource = testing::resource(spec);
        strategy(&testing::valid(&resource)).type_.unwrap()
    }

    #[test]
    fn a_pod_that_holds_a_gpu_goes_before_its_successor_comes() {
        assert_eq!(strategy_of(json!({})), "RollingUpdate");
        assert_eq!(strategy_of(json!({"resources": {"gpus": 1}})), "Recreate");
        let claims = json!([{"name": "gpu", "resourceClaimTemplateName": "a"}]);
        assert_eq!(
            strategy_of(json!({"resources": {"claims": claims}})),
            "Recreate"
        );
        assert_eq!(
            strategy_of(json!({"resources": {"gpus": 1}, "rollout": {"strategy": "Rolling"}})),
            "RollingUpdate"
        );
        assert_eq!(
            strategy_of(json!({"rollout": {"strategy": "Recreate"}})),
            "Recreate"
        );
    }

    #[test]
    fn a_pod_that_holds_a_volume_goes_before_its_successor_comes() {
        let fetched = |cache: Value| {
            let model = json!({"source": "hf://a/b"});
            strategy_of(json!({"model": model, "cache": cache}))
        };
        assert_eq!(fetched(json!({"size": "1Gi"})), "Recreate");
        assert_eq!(fetched(json!({"existingClaim": "a"})), "Recreate");
        let shared = json!({"existingClaim": "a", "accessMode": "ReadWriteMany"});
        assert_eq!(fetched(shared), "RollingUpdate");
        assert_eq!(fetched(Value::Null), "RollingUpdate");
    }
}
