//! Watches, and what their caches keep in memory: objects without the parts that nothing here reads.
use crate::{
    backoff::WatchBackoff,
    children::{Cached, Kind},
    metrics::ControllerMetrics,
};
use candlepower_api::names::labels;
use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Pod, PodSpec},
};
use kube::{
    Api, Client, Resource,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, fmt::Debug, hash::Hash, sync::Arc};

/// Of one namespace, or of all.
pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The same of children.
pub(crate) fn api_of_children(client: &Client, kind: Kind, namespace: Option<&str>) -> Api<Cached> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    }
}

/// The same of their metadata alone.
pub(crate) fn api_of_metadata(
    client: &Client,
    kind: Kind,
    namespace: Option<&str>,
) -> Api<PartialObjectMeta<Cached>> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    }
}

/// A watch that fills a cache before it reports a change, and that goes on for ever.
pub(crate) fn cached<K>(
    api: Api<K>,
    config: watcher::Config,
    slim: fn(&mut K),
    metrics: &ControllerMetrics,
) -> (
    Store<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>,
)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let slim = move |object: &mut K, _: &Store<K>| slim(object);
    reflected(watcher(api, config), (), slim, metrics)
}

/// The same for a watch that exists already, of objects of this `kind`. While one is made ready to be kept, the cache holds
/// it as it was before.
pub(crate) fn reflected<K, S, F>(
    events: S,
    kind: K::DynamicType,
    slim: F,
    metrics: &ControllerMetrics,
) -> (
    Store<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send + use<K, S, F>,
)
where
    F: Fn(&mut K, &Store<K>) + Send,
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Clone + Debug + Eq + Hash + Send + Sync + Unpin,
    S: Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
{
    let writer = reflector::store::Writer::new(kind.clone());
    let reader = writer.as_reader();
    let name = K::kind(&kind).into_owned();
    metrics.watches(&name);
    let metrics = metrics.clone();
    let before = reader.clone();
    let reflected = events
        .backoff(WatchBackoff::default())
        .modify(move |object| slim(object, &before))
        .reflect(writer);
    let changes = with_losses(reflected, kind, reader.clone())
        .touched_objects()
        .filter_map(move |change| {
            // The watch has a back-off of its own. The controller's would slow down all other
            // watches, too.
            if let Err(error) = &change {
                tracing::warn!(kind = name, %error, "a watch broke off and starts again");
                metrics.watch_failed(&name);
            }
            future::ready(change.ok().map(Ok))
        });
    (reader, changes)
}

/// Adds to `events`, which have filled `store` already, the deletion of each object that is missing in a fresh list: a
/// watch that begins anew does not tell what went meanwhile.
fn with_losses<K, S>(
    events: S,
    kind: K::DynamicType,
    store: Store<K>,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Resource + Clone + Send + Sync + 'static,
    K::DynamicType: Clone + Eq + Hash + Send + Sync,
    S: Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
{
    let mut before = Vec::new();
    events.flat_map(move |event| {
        let mut lost = Vec::new();
        match &event {
            Ok(watcher::Event::Init) => before = store.state(),
            Ok(watcher::Event::InitDone) => {
                let gone = |object: &Arc<K>| {
                    let reference = ObjectRef::from_obj_with(&**object, kind.clone());
                    store.get(&reference).is_none()
                };
                lost = std::mem::take(&mut before);
                lost.retain(gone);
            }
            _ => {}
        }
        let lost = lost
            .into_iter()
            .map(|object| Ok(watcher::Event::Delete(K::clone(&object))));
        stream::iter(lost.chain([event]).collect::<Vec<_>>())
    })
}

/// Watches only what this operator wrote, and what may change.
pub(crate) fn of_operator() -> watcher::Config {
    with_label(&format!("!{}", labels::IMMUTABLE))
}

/// Watches only what this operator wrote for good.
pub(crate) fn immutable_of_operator() -> watcher::Config {
    with_label(labels::IMMUTABLE)
}

fn with_label(requirement: &str) -> watcher::Config {
    let (key, own) = (labels::APP_MANAGED_BY, labels::OPERATOR_NAME);
    watcher::Config::default()
        .labels(&format!("{key}={own},{requirement}"))
        .page_size(100)
}

/// What `kubectl apply` keeps for itself: the whole object as text.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Drops the accounts of who wrote which field, often half of an object.
pub(crate) fn slim<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

/// Keeps of a pod what statuses are derived from: identity, state, and the devices that it claims.
pub(crate) fn slim_pod(pod: &mut Pod) {
    slim(pod);
    let metadata = &mut pod.metadata;
    metadata.owner_references = None;
    metadata.generate_name = None;
    keep(
        &mut metadata.labels,
        &[labels::LLM_DEPLOYMENT, labels::LLM_BENCHMARK],
    );
    keep(&mut metadata.annotations, &[labels::CONFIG_HASH]);
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        node_name: spec.node_name,
        resource_claims: spec.resource_claims,
        ..PodSpec::default()
    });
    let Some(status) = &mut pod.status else {
        return;
    };
    status.host_ip = None;
    status.host_ips = None;
    status.pod_ips = None;
    let init_containers = status.init_container_statuses.iter_mut();
    let containers = status.container_statuses.iter_mut().chain(init_containers);
    for container in containers.flatten() {
        container.image_id.clear();
        container.image_id.shrink_to_fit();
        container.container_id = None;
        container.resources = None;
        container.allocated_resources = None;
        container.volume_mounts = None;
    }
}

/// Leaves only these keys.
fn keep(map: &mut Option<BTreeMap<String, String>>, keys: &[&str]) {
    if let Some(map) = map {
        map.retain(|key, _| keys.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use serde_json::json;

    fn config_map(name: &str) -> ConfigMap {
        let metadata = json!({"name": name, "namespace": "team"});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[tokio::test]
    async fn what_went_while_a_watch_was_broken_is_told_as_a_deletion() {
        use watcher::Event::{Apply, Init, InitApply, InitDone};
        let (reader, writer) = reflector::store();
        let events = [
            Init,
            InitApply(config_map("kept")),
            InitApply(config_map("lost")),
            InitDone,
            Apply(config_map("lost")),
            Init,
            InitApply(config_map("kept")),
            InitDone,
        ];
        let reflected = stream::iter(events.map(Ok)).reflect(writer);
        let told: Vec<_> = with_losses(reflected, (), reader)
            .filter_map(|event| {
                let deleted = match event.unwrap() {
                    watcher::Event::Delete(object) => Some(object.name_any()),
                    _ => None,
                };
                future::ready(deleted)
            })
            .collect()
            .await;
        assert_eq!(told, ["lost"]);
    }

    #[test]
    fn of_a_pod_only_what_statuses_are_derived_from_is_kept() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "a", "labels": {labels::LLM_DEPLOYMENT: "tiny", "pod-template-hash": "x"},
                "annotations": {labels::CONFIG_HASH: "abc", LAST_APPLIED: "{}"},
            },
            "spec": {"nodeName": "n", "containers": [{"name": "server"}]},
            "status": {"podIP": "10.0.0.7", "hostIP": "10.0.0.1", "containerStatuses": [{
                "name": "server", "image": "i", "imageID": "sha256:1", "containerID": "c",
                "ready": true, "restartCount": 1,
            }]},
        }))
        .unwrap();
        slim_pod(&mut pod);
        let kept = serde_json::to_value(&pod).unwrap();
        assert_eq!(
            kept["metadata"]["labels"],
            json!({labels::LLM_DEPLOYMENT: "tiny"})
        );
        assert_eq!(
            kept["metadata"]["annotations"],
            json!({labels::CONFIG_HASH: "abc"})
        );
        assert_eq!(kept["spec"], json!({"containers": [], "nodeName": "n"}));
        assert_eq!(kept["status"]["podIP"], "10.0.0.7");
        let container = &kept["status"]["containerStatuses"][0];
        assert_eq!(
            (&container["restartCount"], &container["imageID"]),
            (&json!(1), &json!(""))
        );
    }
}
