//! What is read of a Deployment, other than whether it is as wanted.
use candlepower_api::{names::labels, value::read_json};
use k8s_openapi::api::apps::v1::DeploymentStatus;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The condition of a Deployment whose pods are refused; no other is read.
pub(crate) const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What is read of a Deployment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workload {
    /// The number of pods that it asks for.
    pub(crate) replicas: Option<i32>,
    /// Which configuration its pods have.
    pub(crate) config_hash: Option<Box<str>>,
    /// The resources that its pods' first container has limits of.
    pub(crate) limited: Box<[String]>,
    /// The nodes that its pods may run on.
    pub(crate) node_selector: BTreeMap<String, String>,
    /// Names and images of its sidecars.
    pub(crate) sidecars: Box<[(Box<str>, Box<str>)]>,
    pub(crate) status: DeploymentStatus,
}

/// The part of a Deployment's `spec` that is read.
#[derive(Deserialize)]
struct Spec {
    replicas: Option<i32>,
    #[serde(default)]
    template: Template,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template {
    metadata: TemplateMetadata,
    spec: PodSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TemplateMetadata {
    annotations: BTreeMap<String, Box<str>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    node_selector: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    name: Box<str>,
    image: Box<str>,
    resources: Resources,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resources {
    limits: BTreeMap<String, Value>,
}

impl Workload {
    /// Of an object, where that is a Deployment, and its status.
    pub(super) fn of(object: &Value, status: Option<&Value>) -> Result<Option<Self>, String> {
        if object.pointer("/spec/template").is_none() {
            return Ok(None);
        }
        let Spec { replicas, template } = read_json(&object["spec"])?;
        let status = status.map(read_json::<DeploymentStatus>).transpose()?;
        let mut status = status.unwrap_or_default();
        let failures = status.conditions.take().into_iter().flatten();
        let failures = failures.filter(|condition| condition.type_ == REPLICA_FAILURE);
        status.conditions = Some(failures.collect());
        let mut annotations = template.metadata.annotations;
        let pod = template.spec;
        let server = pod.containers.into_iter().next().unwrap_or_default();
        Ok(Some(Self {
            replicas,
            config_hash: annotations.remove(labels::CONFIG_HASH),
            limited: server.resources.limits.into_keys().collect(),
            node_selector: pod.node_selector,
            sidecars: pod
                .init_containers
                .into_iter()
                .map(|container| (container.name, container.image))
                .collect(),
            status,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_a_deployment_is_read_what_others_decide_by() {
        let annotations = json!({labels::CONFIG_HASH: "abc", "other": "x"});
        let pod = json!({
            "nodeSelector": {"pool": "a"},
            "initContainers": [{"name": "jaeger", "image": "jaeger:2"}],
            "containers": [{"name": "server", "resources": {"limits": {"cpu": "1"}}}],
        });
        let object = json!({"spec": {
            "replicas": 3, "template": {"metadata": {"annotations": annotations}, "spec": pod},
        }});
        let status = json!({"readyReplicas": 2, "conditions": [
            {"type": "Available", "status": "True"}, {"type": "ReplicaFailure", "status": "True"},
        ]});
        let workload = Workload::of(&object, Some(&status)).unwrap().unwrap();
        assert_eq!(workload.replicas, Some(3));
        assert_eq!(workload.config_hash.as_deref(), Some("abc"));
        assert_eq!(*workload.limited, ["cpu"]);
        assert_eq!(workload.node_selector["pool"], "a");
        assert_eq!(*workload.sidecars, [("jaeger".into(), "jaeger:2".into())]);
        assert_eq!(workload.status.ready_replicas, Some(2));
        let conditions = workload.status.conditions.unwrap();
        let types: Vec<_> = conditions.iter().map(|it| it.type_.as_str()).collect();
        assert_eq!(types, [REPLICA_FAILURE]);
    }

    #[test]
    fn another_kind_has_no_workload() {
        let service = json!({"spec": {"ports": []}});
        assert!(Workload::of(&service, None).unwrap().is_none());
    }
}
