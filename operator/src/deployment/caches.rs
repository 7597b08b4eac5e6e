//! What the watches keep in memory: the children and pods of all resources, without the parts
//! that nothing here reads.
use super::{
    error::Error,
    monitoring::kinds::{PodMonitor, PrometheusRule},
};
use crate::observability::rules::RuleGroup;
use candlepower_api::names::labels;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, PodSpec, Service},
};
use kube::{
    Resource, ResourceExt,
    runtime::{reflector::Store, watcher},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{fmt::Write, sync::Arc};
use tokio::sync::watch;

/// Read-only views of the watches' caches.
pub(super) struct Caches {
    pub(super) config_maps: Store<ConfigMap>,
    pub(super) services: Store<Service>,
    pub(super) deployments: Store<Deployment>,
    pub(super) pods: Store<Pod>,
    /// Empty while the cluster does not serve the kind. Nobody waits for these two: a missing right
    /// to watch them must not stop everything else.
    pub(super) pod_monitors: Store<PodMonitor>,
    pub(super) prometheus_rules: Store<PrometheusRule>,
    filled: watch::Sender<bool>,
}

impl Caches {
    pub(super) fn new(
        config_maps: Store<ConfigMap>,
        services: Store<Service>,
        deployments: Store<Deployment>,
        pods: Store<Pod>,
        pod_monitors: Store<PodMonitor>,
        prometheus_rules: Store<PrometheusRule>,
    ) -> Self {
        Self {
            config_maps,
            services,
            deployments,
            pods,
            pod_monitors,
            prometheus_rules,
            filled: watch::Sender::new(false),
        }
    }

    /// Waits until each cache holds the first complete list: what is missing before that may
    /// well exist.
    pub(super) async fn filled(&self) -> Result<(), Error> {
        let mut filled = self.filled.subscribe();
        let result = filled.wait_for(|filled| *filled).await;
        result.map(|_| ()).map_err(|_| Error::Stopping)
    }

    /// Lets those that wait in [`Self::filled`] go on in time. To be run once: a store wakes only
    /// the last of several tasks that wait for it.
    pub(super) async fn watch_filling(&self) {
        let ready = tokio::try_join!(
            self.config_maps.wait_until_ready(),
            self.services.wait_until_ready(),
            self.deployments.wait_until_ready(),
            self.pods.wait_until_ready(),
        );
        // An error means that the watches are gone, and with them every reconcile.
        if ready.is_ok() {
            self.filled.send_replace(true);
        }
    }
}

/// The objects in a cache that carry the label of the resource `name`.
pub(super) fn of_resource<K>(cache: &Store<K>, namespace: &str, name: &str) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    cache.state_filter(|object| {
        object.namespace().as_deref() == Some(namespace) && resource_name(object) == Some(name)
    })
}

/// The name of the resource that an object belongs to.
pub(super) fn resource_name<K: Resource>(object: &K) -> Option<&str> {
    object
        .meta()
        .labels
        .as_ref()?
        .get(labels::LLM_DEPLOYMENT)
        .map(String::as_str)
}

/// Watches only what this operator wrote.
pub(super) fn of_operator() -> watcher::Config {
    watcher::Config::default()
        .labels(&format!(
            "{}={}",
            labels::APP_MANAGED_BY,
            labels::OPERATOR_NAME
        ))
        .page_size(100)
}

/// Drops the account of who wrote which field, often half of an object.
pub(super) fn slim<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// Keeps of a pod what the status is derived from: identity and state.
pub(super) fn slim_pod(pod: &mut Pod) {
    slim(pod);
    pod.metadata.owner_references = None;
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        node_name: spec.node_name,
        ..PodSpec::default()
    });
}

/// Keeps of a ConfigMap's long values only what tells whether they changed.
pub(super) fn slim_config_map(config_map: &mut ConfigMap) {
    slim(config_map);
    for value in config_map
        .data
        .iter_mut()
        .flat_map(|data| data.values_mut())
    {
        if value.len() > LONGEST_VALUE {
            *value = digest(value);
        }
    }
}

/// Keeps of rules only what tells whether they changed.
pub(super) fn slim_rules(rule: &mut PrometheusRule) {
    slim(rule);
    let groups = serde_json::to_value(&rule.spec.groups).unwrap_or_default();
    rule.spec.groups = vec![RuleGroup {
        name: digest(&groups.to_string()),
        interval: None,
        rules: Vec::new(),
    }];
}

/// The same of an object that is to be written, so that it can be compared with a cached one.
pub(super) fn as_cached(wanted: &Value) -> Value {
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

/// Longer values are not kept in memory: dashboards of a thousand resources would fill it.
const LONGEST_VALUE: usize = 4096;

fn digest(text: &str) -> String {
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
    fn rules_are_kept_as_their_digest_and_still_compare() {
        let rules = |threshold: &str| {
            json!({
                "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {},
                "spec": {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": threshold}]}]},
            })
        };
        let mut cached: PrometheusRule = serde_json::from_value(rules("a > 1")).unwrap();
        slim_rules(&mut cached);
        let cached = serde_json::to_value(&cached).unwrap();
        let same = as_cached(&rules("a > 1"));
        assert_eq!(
            same["spec"]["groups"][0]["name"],
            cached["spec"]["groups"][0]["name"]
        );
        assert_ne!(as_cached(&rules("a > 2"))["spec"], same["spec"]);
    }
}
