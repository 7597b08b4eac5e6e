//! What the watches keep in memory: the children and pods of all resources, without the parts
//! that nothing here reads.
use super::{
    error::Error,
    monitoring::kinds::{PodMonitor, PrometheusRule},
};
use crate::{
    observability::rules::RuleGroup,
    watches::{digest, slim},
};
use candlepower_api::names::labels;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service},
};
use kube::{Resource, ResourceExt, runtime::reflector::Store};
use std::sync::Arc;
use tokio::sync::watch;

/// Read-only views of the watches' caches.
pub(super) struct Caches {
    pub(super) config_maps: Store<ConfigMap>,
    pub(super) services: Store<Service>,
    pub(super) claims: Store<PersistentVolumeClaim>,
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
        claims: Store<PersistentVolumeClaim>,
        deployments: Store<Deployment>,
        pods: Store<Pod>,
        pod_monitors: Store<PodMonitor>,
        prometheus_rules: Store<PrometheusRule>,
    ) -> Self {
        Self {
            config_maps,
            services,
            claims,
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

    /// Becomes true once each cache holds the first complete list.
    pub(super) fn filling(&self) -> watch::Receiver<bool> {
        self.filled.subscribe()
    }

    /// Lets those that wait in [`Self::filled`] go on in time. To be run once: a store wakes only
    /// the last of several tasks that wait for it.
    pub(super) async fn watch_filling(&self) {
        let ready = tokio::try_join!(
            self.config_maps.wait_until_ready(),
            self.services.wait_until_ready(),
            self.claims.wait_until_ready(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watches::as_cached;
    use serde_json::json;

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
