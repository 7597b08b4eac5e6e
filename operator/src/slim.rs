//! What the caches keep of objects: they go without the parts that nothing here reads, and hold in a short form what is
//! only compared.
use candlepower_api::{benchmark::job, names::labels};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, PodSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Drops the account of who wrote which field, often half of an object.
pub(crate) fn slim<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// Keeps of a pod what the status is derived from: identity, state, and the devices that it claims.
pub(crate) fn slim_pod(pod: &mut Pod) {
    slim(pod);
    pod.metadata.owner_references = None;
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        node_name: spec.node_name,
        resource_claims: spec.resource_claims,
        ..PodSpec::default()
    });
    if let Some(status) = &mut pod.status {
        (status.host_ips, status.pod_ips) = (None, None);
        for containers in [
            &mut status.container_statuses,
            &mut status.init_container_statuses,
        ] {
            containers.iter_mut().for_each(Vec::shrink_to_fit);
        }
        status.conditions.iter_mut().for_each(Vec::shrink_to_fit);
    }
}

/// Annotation of a cached pod template: all of it, as JSON.
const TEMPLATE: &str = "cached-template";

/// Keeps the pod template of a Deployment as text, and beside it what is read of it: a volume alone has room for every kind
/// of volume that there is, some kilobytes.
pub(crate) fn slim_deployment(deployment: &mut Deployment) {
    slim(deployment);
    let Some(spec) = &mut deployment.spec else {
        return;
    };
    // By way of a value, because the way into a text would be another copy of all types' code.
    let Ok(whole) = serde_json::to_value(&spec.template) else {
        return;
    };
    let template = std::mem::take(&mut spec.template);
    let pod = template.spec.unwrap_or_default();
    let sidecars = pod.init_containers.into_iter().flatten();
    let images = sidecars.filter_map(|sidecar| Some((image_of(&sidecar.name), sidecar.image?)));
    let annotations = template.metadata.and_then(|it| it.annotations);
    let annotations = annotations
        .into_iter()
        .flatten()
        .chain(images)
        .chain([(TEMPLATE.to_owned(), whole.to_string())]);
    spec.template.metadata = Some(ObjectMeta {
        annotations: Some(annotations.collect()),
        ..ObjectMeta::default()
    });
}

/// The image of a sidecar of a cached Deployment.
pub(crate) fn sidecar_image(deployment: &Deployment, sidecar: &str) -> Option<String> {
    let template = &deployment.spec.as_ref()?.template;
    let annotations = template.metadata.as_ref()?.annotations.as_ref()?;
    annotations.get(&image_of(sidecar)).cloned()
}

fn image_of(sidecar: &str) -> String {
    format!("cached-image-{sidecar}")
}

/// A cached object with what it holds in a short form and can be told from it.
pub(crate) fn whole(mut cached: Value) -> Value {
    let text = cached.pointer("/spec/template/metadata/annotations/cached-template");
    let template: Option<Value> = text
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok());
    if let Some(template) = template {
        cached["spec"]["template"] = template;
    }
    cached
}

/// Keeps of a ConfigMap's long values only what tells whether they changed. A benchmark's summary is
/// kept whole, because statuses are made from it.
pub(crate) fn slim_config_map(config_map: &mut ConfigMap) {
    slim(config_map);
    let of_benchmark = config_map.labels().contains_key(labels::LLM_BENCHMARK);
    for (key, value) in config_map.data.iter_mut().flatten() {
        let kept = of_benchmark && job::READ_BY_OPERATOR.contains(&key.as_str());
        if value.len() > LONGEST_VALUE && !kept {
            *value = digest(value);
        }
    }
}

/// The same of an object that is to be written, so that it can be compared with a cached one.
pub(crate) fn as_cached(wanted: &Value) -> Value {
    let mut cached = wanted.clone();
    if let Some(data) = cached.pointer_mut("/data").and_then(Value::as_object_mut) {
        for value in data.values_mut() {
            if let Some(text) = value.as_str().filter(|text| text.len() > LONGEST_VALUE) {
                *value = digest(text).into();
            }
        }
    }
    if let Some(groups) = cached.pointer_mut("/spec/groups") {
        *groups = serde_json::json!([{"name": digest(&groups.to_string())}]);
    }
    cached
}

/// Longer values are not kept in memory: those of a thousand resources would fill it.
const LONGEST_VALUE: usize = 128;

pub(crate) fn digest(text: &str) -> String {
    let mut digest = "sha256:".to_owned();
    for byte in Sha256::digest(text) {
        // Writing to a string cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployments_template_is_kept_as_text_and_still_compares() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"replicas": 2, "selector": {}, "template": {
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "spec": {
                "containers": [{"name": "server", "image": "i"}],
                "initContainers": [{"name": "jaeger", "image": "j:1"}],
                "volumes": [{"name": "config", "configMap": {"name": "a"}}],
            },
        }}});
        let mut cached: Deployment = serde_json::from_value(object.clone()).unwrap();
        slim_deployment(&mut cached);
        assert_eq!(sidecar_image(&cached, "jaeger").as_deref(), Some("j:1"));
        assert_eq!(sidecar_image(&cached, "prometheus"), None);
        let template = &cached.spec.as_ref().unwrap().template;
        assert_eq!(template.spec, None);
        let annotations = template.metadata.as_ref().unwrap().annotations.as_ref();
        assert_eq!(annotations.unwrap()["c"], "d");
        let cached = whole(serde_json::to_value(&cached).unwrap());
        assert_eq!(cached["spec"], object["spec"]);
    }

    #[test]
    fn a_long_value_is_kept_as_its_digest_and_still_compares() {
        let long = |last: &str| json!({"data": {"short": "a", "long": "x".repeat(5000) + last}});
        let mut cached: ConfigMap = serde_json::from_value(long("1")).unwrap();
        slim_config_map(&mut cached);
        let cached = serde_json::to_value(&cached).unwrap();
        assert_eq!(cached["data"]["short"], "a");
        assert!(cached["data"]["long"].as_str().unwrap().len() < 80);
        assert_eq!(as_cached(&long("1"))["data"], cached["data"]);
        assert_ne!(as_cached(&long("2"))["data"], cached["data"]);
    }

    #[test]
    fn of_a_benchmarks_report_only_what_the_operator_reads_is_kept() {
        let long = "x".repeat(5000);
        let mut cached: ConfigMap = serde_json::from_value(json!({
            "metadata": {"labels": {"candlepower.dev/llmbenchmark": "a"}},
            "data": {"summary.json": long, "report.json": long},
        }))
        .unwrap();
        slim_config_map(&mut cached);
        let data = cached.data.unwrap();
        assert_eq!(data["summary.json"], long);
        assert!(data["report.json"].len() < 80);
    }
}
