//! Watches, and what their caches keep in memory: objects without the parts that nothing here reads.
use crate::{backoff::WatchBackoff, metrics::ControllerMetrics};
use candlepower_api::{benchmark::job, names::labels};
use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Pod, PodSpec},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, Lookup, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    fmt::{Debug, Write},
    sync::Arc,
};

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
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    reflected(watcher(api, config), slim, metrics)
}

/// The same for a watch that exists already.
pub(crate) fn reflected<K, S>(
    events: S,
    slim: fn(&mut K),
    metrics: &ControllerMetrics,
) -> (
    Store<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send + use<K, S>,
)
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    S: Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
{
    let (reader, writer) = reflector::store();
    metrics.watches(&<K as Resource>::kind(&()));
    let metrics = metrics.clone();
    let reflected = events
        .backoff(WatchBackoff::default())
        .modify(slim)
        .reflect(writer);
    let changes = with_losses(reflected, reader.clone())
        .touched_objects()
        .filter_map(move |change| {
            // The watch has a back-off of its own. The controller's would slow down all other
            // watches, too.
            if let Err(error) = &change {
                let kind = <K as Resource>::kind(&());
                tracing::warn!(%kind, %error, "a watch broke off and starts again");
                metrics.watch_failed(&kind);
            }
            future::ready(change.ok().map(Ok))
        });
    (reader, changes)
}

/// Adds to `events`, which have filled `store` already, the deletion of each object that is missing in a fresh list: a
/// watch that begins anew does not tell what went meanwhile.
fn with_losses<K, S>(
    events: S,
    store: Store<K>,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
    K: Clone + Send + Sync + 'static,
    S: Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
{
    let mut before = Vec::new();
    events.flat_map(move |event| {
        let mut lost = Vec::new();
        match &event {
            Ok(watcher::Event::Init) => before = store.state(),
            Ok(watcher::Event::InitDone) => {
                let gone = |object: &Arc<K>| store.get(&ObjectRef::from_obj(&**object)).is_none();
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

/// Watches only what this operator wrote.
pub(crate) fn of_operator() -> watcher::Config {
    watcher::Config::default()
        .labels(&format!(
            "{}={}",
            labels::APP_MANAGED_BY,
            labels::OPERATOR_NAME
        ))
        .page_size(100)
}

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
        let told: Vec<_> = with_losses(reflected, reader)
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
