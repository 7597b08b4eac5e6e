//! What the watches keep in memory: the children and pods of all resources, without the parts
//! that nothing here reads.
use super::error::Error;
use candlepower_api::names::labels;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, PodSpec, Service},
};
use kube::{
    Resource, ResourceExt,
    runtime::{reflector::Store, watcher},
};
use std::sync::Arc;
use tokio::sync::watch;

/// Read-only views of the watches' caches.
pub(super) struct Caches {
    pub(super) config_maps: Store<ConfigMap>,
    pub(super) services: Store<Service>,
    pub(super) deployments: Store<Deployment>,
    pub(super) pods: Store<Pod>,
    filled: watch::Sender<bool>,
}

impl Caches {
    pub(super) fn new(
        config_maps: Store<ConfigMap>,
        services: Store<Service>,
        deployments: Store<Deployment>,
        pods: Store<Pod>,
    ) -> Self {
        Self {
            config_maps,
            services,
            deployments,
            pods,
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
