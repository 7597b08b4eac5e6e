//! What the watches keep in memory: the children and pods of all resources, without the parts
//! that nothing here reads.
use super::{
    error::Error,
    monitoring::served::{Served, while_served},
};
use crate::{
    children::{Cached, Kind},
    metrics::ControllerMetrics,
    watches::{
        api, api_of_children, api_of_metadata, cached, immutable_of_operator, of_operator,
        reflected, slim_pod,
    },
};
use candlepower_api::names::labels;
use futures::{Stream, StreamExt, future};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        reflector::{ObjectRef, Store, store::WriterDropped},
        watcher,
    },
};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Read-only views of the watches' caches.
pub(super) struct Caches {
    pub(super) config_maps: Indexed<Cached>,
    /// ConfigMaps, too, of which only the metadata is watched.
    pub(super) dashboards: Indexed<Cached>,
    pub(super) services: Indexed<Cached>,
    pub(super) claims: Indexed<Cached>,
    pub(super) deployments: Indexed<Cached>,
    pub(super) network_policies: Indexed<Cached>,
    pub(super) disruption_budgets: Indexed<Cached>,
    pub(super) pods: Indexed<Pod>,
    /// Empty while the cluster does not serve the kind. Nobody waits for these two: a missing right
    /// to watch them must not stop everything else.
    pub(super) pod_monitors: Indexed<Cached>,
    pub(super) prometheus_rules: Indexed<Cached>,
    /// Whether each holds the first complete list; false at first.
    pub(super) filled: watch::Sender<bool>,
}

impl Caches {
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
            self.dashboards.wait_until_ready(),
            self.services.wait_until_ready(),
            self.claims.wait_until_ready(),
            self.deployments.wait_until_ready(),
            self.network_policies.wait_until_ready(),
            self.disruption_budgets.wait_until_ready(),
            self.pods.wait_until_ready(),
        );
        // An error means that the watches are gone, and with them every reconcile.
        if ready.is_ok() {
            self.filled.send_replace(true);
        }
    }
}

/// A cache that knows the objects of each resource without looking at all: with a thousand resources, that look would be
/// most of a reconcile.
#[derive(Clone)]
pub(super) struct Indexed<K>
where
    K: Resource<DynamicType: Clone + Eq + Hash> + Clone + 'static,
{
    store: Store<K>,
    kind: K::DynamicType,
    /// Names of objects by namespace and name of their resource.
    names: Arc<Mutex<Names>>,
}

/// A watch of the pods that this operator's children have.
pub(super) fn indexed_pods(
    client: &Client,
    namespace: Option<&str>,
    metrics: &ControllerMetrics,
) -> (
    Indexed<Pod>,
    impl Stream<Item = Result<Pod, watcher::Error>> + Send + use<>,
) {
    let pods = api(client, namespace);
    let (store, changes) = cached(pods, of_operator(), slim_pod, metrics);
    Indexed::new(store, (), changes)
}

/// A watch of the children of this kind that fills an indexed cache before it reports a change.
pub(super) fn indexed(
    client: &Client,
    namespace: Option<&str>,
    kind: Kind,
    metrics: &ControllerMetrics,
) -> (
    Indexed<Cached>,
    impl Stream<Item = Result<Cached, watcher::Error>> + Send + use<>,
) {
    let children = api_of_children(client, kind, namespace);
    of_children(watcher(children, of_operator()), kind, metrics)
}

/// The same of those that nobody can change.
pub(super) fn indexed_immutable(
    client: &Client,
    namespace: Option<&str>,
    kind: Kind,
    metrics: &ControllerMetrics,
) -> (
    Indexed<Cached>,
    impl Stream<Item = Result<Cached, watcher::Error>> + Send + use<>,
) {
    let children = api_of_metadata(client, kind, namespace);
    let events = watcher(children, immutable_of_operator())
        .filter_map(|event| future::ready(event.map(known_by_metadata).transpose()));
    of_children(events, kind, metrics)
}

/// The same event of what caches keep.
fn known_by_metadata(
    event: watcher::Event<PartialObjectMeta<Cached>>,
) -> Option<watcher::Event<Cached>> {
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
    let known = |object: PartialObjectMeta<Cached>| {
        Cached::of_metadata(&object.metadata)
            .inspect_err(|error| tracing::warn!(error, "metadata of a child cannot be read"))
            .ok()
    };
    Some(match event {
        Apply(object) => Apply(known(object)?),
        Delete(object) => Delete(known(object)?),
        InitApply(object) => InitApply(known(object)?),
        Init => Init,
        InitDone => InitDone,
    })
}

/// What the cluster serves, and which part of that is meant.
pub(super) type Availability<'a> = (&'a watch::Receiver<Option<Served>>, fn(Served) -> bool);

/// The same of a kind that the cluster serves at times only, as `is_served` says.
pub(super) fn indexed_while_served(
    client: &Client,
    namespace: Option<&str>,
    kind: Kind,
    (known, is_served): Availability<'_>,
    metrics: &ControllerMetrics,
) -> (
    Indexed<Cached>,
    impl Stream<Item = Result<Cached, watcher::Error>> + Send + use<>,
) {
    let children = api_of_children(client, kind, namespace);
    let events = while_served(known.clone(), is_served, children, of_operator());
    of_children(events, kind, metrics)
}

fn of_children<S>(
    events: S,
    kind: Kind,
    metrics: &ControllerMetrics,
) -> (
    Indexed<Cached>,
    impl Stream<Item = Result<Cached, watcher::Error>> + Send + use<S>,
)
where
    S: Stream<Item = watcher::Result<watcher::Event<Cached>>> + Send,
{
    let inherit = move |object: &mut Cached, before: &Store<Cached>| {
        if let Some(before) = before.get(&ObjectRef::from_obj_with(object, kind)) {
            object.inherit(&before);
        }
    };
    let (store, changes) = reflected(events, kind, inherit, metrics);
    Indexed::new(store, kind, changes)
}

/// What belongs to a resource.
pub(super) trait OfResource {
    /// The name of the resource that it belongs to.
    fn resource(&self) -> Option<&str>;
}

impl OfResource for Pod {
    fn resource(&self) -> Option<&str> {
        resource_name(self)
    }
}

impl OfResource for Cached {
    fn resource(&self) -> Option<&str> {
        self.deployment.as_deref()
    }
}

/// In the order of their names. Most resources have one or two objects of a kind, for which a tree would be the larger part.
type Names = HashMap<(String, String), Vec<Box<str>>>;

impl<K> Indexed<K>
where
    K: Resource<DynamicType: Clone + Eq + Hash + Send> + OfResource,
    K: Clone + Send + Sync + 'static,
{
    /// An index of `store`, and the changes that fill it as they pass.
    pub(super) fn new<E, S>(
        store: Store<K>,
        kind: K::DynamicType,
        changes: S,
    ) -> (Self, impl Stream<Item = Result<K, E>> + Send + use<K, E, S>)
    where
        S: Stream<Item = Result<K, E>> + Send,
    {
        let indexed = Self {
            store,
            kind,
            names: Arc::default(),
        };
        let filled = indexed.clone();
        let changes = changes.inspect(move |change| {
            if let Ok(object) = change {
                filled.note(object);
            }
        });
        (indexed, changes)
    }

    /// The cache itself.
    pub(super) fn store(&self) -> Store<K> {
        self.store.clone()
    }

    fn note(&self, object: &K) {
        if let (Some(namespace), Some(resource)) =
            (ResourceExt::namespace(object), object.resource())
        {
            let of_resource = (namespace, resource.to_owned());
            let name = object.name_any().into_boxed_str();
            let mut names = self.lock();
            let known = names.entry(of_resource).or_default();
            if let Err(place) = known.binary_search(&name) {
                known.reserve_exact(1);
                known.insert(place, name);
            }
        }
    }

    /// The objects that carry the label of the resource `name`, in the order of their names.
    pub(super) fn of_resource(&self, namespace: &str, name: &str) -> Vec<Arc<K>> {
        let key = (namespace.to_owned(), name.to_owned());
        let mut found = Vec::new();
        let mut names = self.lock();
        let Some(known) = names.get_mut(&key) else {
            return found;
        };
        // Those that have gone, or belong to another resource now, leave the index here.
        known.retain(|object| {
            let reference = ObjectRef::new_with(object, self.kind.clone()).within(namespace);
            let live = self
                .store
                .get(&reference)
                .filter(|live| live.resource() == Some(name));
            found.extend(live.clone());
            live.is_some()
        });
        if known.is_empty() {
            names.remove(&key);
        }
        found
    }

    async fn wait_until_ready(&self) -> Result<(), WriterDropped> {
        self.store.wait_until_ready().await
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::{reflector::store::Writer, watcher::Event};
    use serde_json::json;

    fn service(name: &str, resource: &str) -> Cached {
        serde_json::from_value(json!({"metadata": {
            "name": name, "namespace": "team", "labels": {labels::LLM_DEPLOYMENT: resource},
        }}))
        .unwrap()
    }

    #[test]
    fn the_objects_of_a_resource_are_found_until_they_go_or_change_hands() {
        let mut writer = Writer::new(Kind::Service);
        let changes = futures::stream::empty::<Result<_, ()>>();
        let (indexed, _changes) = Indexed::new(writer.as_reader(), Kind::Service, changes);
        let mut happens = |event: Event<Cached>| {
            writer.apply_watcher_event(&event);
            if let Event::Apply(object) | Event::Delete(object) = event {
                indexed.note(&object);
            }
        };
        let names = |resource: &str| {
            let found = indexed.of_resource("team", resource);
            found.iter().map(|it| it.name_any()).collect::<Vec<_>>()
        };
        for (name, resource) in [("b", "tiny"), ("a", "tiny"), ("c", "other")] {
            happens(Event::Apply(service(name, resource)));
        }
        assert_eq!(names("tiny"), ["a", "b"]);
        assert!(indexed.of_resource("elsewhere", "tiny").is_empty());
        happens(Event::Delete(service("a", "tiny")));
        happens(Event::Apply(service("b", "other")));
        assert_eq!(names("tiny"), [""; 0]);
        assert_eq!(names("other"), ["b", "c"]);
    }
}
