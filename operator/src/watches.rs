//! Watches that fill caches.
use crate::{backoff::WatchBackoff, metrics::ControllerMetrics};
use candlepower_api::names::labels;
use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        reflector::{self, Lookup, ObjectRef, Store},
        watcher,
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
}
