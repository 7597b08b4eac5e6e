//! The children of a resource, as pure functions of it.
mod config_map;
mod deployment;
pub(super) mod labels;
mod pod;
mod service;

pub(super) use pod::CONTAINER;

use super::{error::Error, validate::Valid};
use candlepower_api::names::ports;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// Everything that a resource needs in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Children {
    pub(super) config_map: ConfigMap,
    pub(super) service: Service,
    pub(super) deployment: Deployment,
    /// Which configuration the pods are to run with.
    pub(super) config_hash: String,
}

/// Builds the children of `valid`.
pub(super) fn children(valid: &Valid<'_>) -> Result<Children, Error> {
    let config = config_map::to_yaml(&config_map::server_config(valid))?;
    let config_hash = config_map::hash(&config);
    Ok(Children {
        service: service::service(valid),
        deployment: deployment::deployment(valid, &config_hash),
        config_map: config_map::config_map(valid, config),
        config_hash,
    })
}

/// Where requests go inside the cluster.
pub(super) fn url(name: &str, namespace: &str) -> String {
    format!("http://{name}.{namespace}.svc:{}", ports::SERVER_HTTP)
}

/// Name, owner and labels, which all children have in common.
fn metadata(valid: &Valid<'_>) -> ObjectMeta {
    ObjectMeta {
        name: Some(valid.name.clone()),
        namespace: Some(valid.namespace.clone()),
        labels: Some(labels::all(&valid.name)),
        owner_references: Some(vec![valid.owner.clone()]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::json;

    #[test]
    fn the_children_of_a_resource_with_everything_left_to_its_default() {
        let resource = testing::resource(json!({}));
        let children = children(&testing::valid(&resource)).unwrap();
        insta::assert_yaml_snapshot!("default_config_map", children.config_map);
        insta::assert_yaml_snapshot!("default_service", children.service);
        insta::assert_yaml_snapshot!("default_deployment", children.deployment);
    }

    #[test]
    fn a_change_of_alerts_dashboards_or_access_does_not_touch_the_pods() {
        let before = testing::resource(json!({}));
        let after = testing::resource(json!({
            "alerts": {"errorRate": {"threshold": "1%"}},
            "observability": {"dashboards": {"enabled": false}},
            "access": {"networkPolicy": {"enabled": false}},
        }));
        assert_eq!(
            children(&testing::valid(&before)).unwrap(),
            children(&testing::valid(&after)).unwrap()
        );
    }

    #[test]
    fn a_change_of_engine_precision_or_model_rolls_the_pods() {
        let hash = |spec| {
            let resource = testing::resource(spec);
            children(&testing::valid(&resource)).unwrap().config_hash
        };
        let before = hash(json!({}));
        for spec in [
            json!({"engine": {"maxBatchSize": 4}}),
            json!({"precision": "q8_0"}),
            json!({"model": {"source": "pvc://models/b.gguf"}}),
        ] {
            assert_ne!(hash(spec.clone()), before, "{spec}");
        }
    }
}
