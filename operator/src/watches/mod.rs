//! Watches, and what their caches keep in memory: objects without the parts that nothing here reads.
//!
//! [`kept`] fills a [`Cache`] with what is kept of each object; [`cached`] fills kube's own store with whole objects, where
//! there are few or a controller needs it.
mod cache;
mod job;
mod kind;
mod pod;
mod received;

#[cfg(test)]
pub(crate) use cache::holding;
pub(crate) use cache::{Cache, Entry};
pub(crate) use job::Job;
pub(crate) use kind::Kind;
pub(crate) use pod::{ContainerStatus, Pod};
pub(crate) use received::{Kept, Received, Shown};

use crate::{backoff::WatchBackoff, metrics::ControllerMetrics};
use candlepower_api::names::labels;
use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use std::{fmt::Debug, sync::Arc};

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

/// The same of objects of this kind.
pub(crate) fn api_of<T>(client: &Client, kind: Kind, namespace: Option<&str>) -> Api<Received<T>> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    }
}

/// The same of their metadata alone.
pub(crate) fn api_of_metadata<T>(
    client: &Client,
    kind: Kind,
    namespace: Option<&str>,
) -> Api<PartialObjectMeta<Received<T>>> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    }
}

/// A watch that fills kube's store before it reports a change, and that goes on for ever.
pub(crate) fn cached<K>(
    api: Api<K>,
    config: watcher::Config,
    metrics: &ControllerMetrics,
) -> (
    Store<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>,
)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (reader, writer) = reflector::store();
    let reflected = lasting(watcher(api, config), &K::kind(&()), metrics)
        .map(Ok)
        .modify(slim)
        .reflect(writer);
    (
        reader.clone(),
        with_losses(reflected, reader).touched_objects(),
    )
}

/// A watch, of objects of this kind, that goes on for ever and fills a cache with what is kept of them. It tells of each that
/// has changed or gone, after the cache shows it.
pub(crate) fn kept<T, R, S>(
    events: S,
    kind: Kind,
    metrics: &ControllerMetrics,
) -> (Cache<T>, impl Stream<Item = Arc<T>> + Send + use<T, R, S>)
where
    T: Entry + Send + Sync + 'static,
    R: Shown<T> + Send,
    S: Stream<Item = watcher::Result<Event<R>>> + Send,
{
    let events = lasting(events, &kind.name(), metrics).filter_map(move |event| {
        let event = received::event(event);
        let event = event.inspect_err(|error| {
            tracing::warn!(kind = %kind.name(), error, "an object cannot be read");
        });
        future::ready(event.ok())
    });
    cache::filled(events)
}

/// The same events, without end: after each failure the watch begins anew, at growing intervals of its own. The controller's
/// would slow down all other watches, too.
fn lasting<K, S>(
    events: S,
    name: &str,
    metrics: &ControllerMetrics,
) -> impl Stream<Item = Event<K>> + Send + use<K, S>
where
    K: Send,
    S: Stream<Item = watcher::Result<Event<K>>> + Send,
{
    metrics.watches(name);
    let (metrics, name) = (metrics.clone(), name.to_owned());
    events
        .backoff(WatchBackoff::default())
        .filter_map(move |event| {
            if let Err(error) = &event {
                tracing::warn!(kind = name, %error, "a watch broke off and starts again");
                metrics.watch_failed(&name);
            }
            future::ready(event.ok())
        })
}

/// Adds to `events`, which have filled `store` already, the deletion of each object that is missing in a fresh list: a
/// watch that begins anew does not tell what went meanwhile.
fn with_losses<K, S>(
    events: S,
    store: Store<K>,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K, S>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    S: Stream<Item = watcher::Result<Event<K>>> + Send,
{
    let mut before = Vec::new();
    events.flat_map(move |event| {
        let mut lost = Vec::new();
        match &event {
            Ok(Event::Init) => before = store.state(),
            Ok(Event::InitDone) => {
                let gone = |object: &Arc<K>| store.get(&ObjectRef::from_obj(&**object)).is_none();
                lost = std::mem::take(&mut before);
                lost.retain(gone);
            }
            _ => {}
        }
        let lost = lost
            .into_iter()
            .map(|object| Ok(Event::Delete(K::clone(&object))));
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
fn slim<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
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
        use Event::{Apply, Init, InitApply, InitDone};
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
                    Event::Delete(object) => Some(object.name_any()),
                    _ => None,
                };
                future::ready(deleted)
            })
            .collect()
            .await;
        assert_eq!(told, ["lost"]);
    }
}
