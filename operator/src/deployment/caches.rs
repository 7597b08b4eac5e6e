//! What the watches keep in memory: the children and pods of all resources, without the parts
//! that nothing here reads.
use super::{
    error::Error,
    monitoring::{
        kinds::{PodMonitor, PrometheusRule},
        served::{Served, while_served},
    },
};
use crate::{
    metrics::ControllerMetrics,
    observability::rules::RuleGroup,
    watches::{api, cached, digest, of_operator, reflected, slim},
};
use candlepower_api::names::labels;
use futures::{Stream, StreamExt};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Client, Resource, ResourceExt,
    runtime::{
        reflector::{Lookup, ObjectRef, Store, store::WriterDropped},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Read-only views of the watches' caches.
pub(super) struct Caches {
    pub(super) config_maps: Indexed<ConfigMap>,
    pub(super) services: Indexed<Service>,
    pub(super) claims: Indexed<PersistentVolumeClaim>,
    pub(super) deployments: Indexed<Deployment>,
    pub(super) network_policies: Indexed<NetworkPolicy>,
    pub(super) disruption_budgets: Indexed<PodDisruptionBudget>,
    pub(super) pods: Indexed<Pod>,
    /// Empty while the cluster does not serve the kind. Nobody waits for these two: a missing right
    /// to watch them must not stop everything else.
    pub(super) pod_monitors: Indexed<PodMonitor>,
    pub(super) prometheus_rules: Indexed<PrometheusRule>,
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
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store: Store<K>,
    /// Names of objects by namespace and name of their resource.
    names: Arc<Mutex<Names>>,
}

/// A watch of what this operator wrote that fills an indexed cache before it reports a change.
pub(super) fn indexed<K>(
    client: &Client,
    namespace: Option<&str>,
    slim: fn(&mut K),
    metrics: &ControllerMetrics,
) -> (
    Indexed<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>,
)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Lookup<DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, changes) = cached(api(client, namespace), of_operator(), slim, metrics);
    Indexed::new(store, changes)
}

/// What the cluster serves, and which part of that is meant.
pub(super) type Availability<'a> = (&'a watch::Receiver<Option<Served>>, fn(Served) -> bool);

/// The same of a kind that the cluster serves at times only, as `is_served` says.
pub(super) fn indexed_while_served<K>(
    client: &Client,
    namespace: Option<&str>,
    (known, is_served): Availability<'_>,
    slim: fn(&mut K),
    metrics: &ControllerMetrics,
) -> (
    Indexed<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>,
)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Lookup<DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events = while_served(
        known.clone(),
        is_served,
        api(client, namespace),
        of_operator(),
    );
    let (store, changes) = reflected(events, slim, metrics);
    Indexed::new(store, changes)
}

type Names = HashMap<(String, String), BTreeSet<String>>;

impl<K> Indexed<K>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    /// An index of `store`, and the changes that fill it as they pass.
    pub(super) fn new<E, S>(
        store: Store<K>,
        changes: S,
    ) -> (Self, impl Stream<Item = Result<K, E>> + Send + use<K, E, S>)
    where
        S: Stream<Item = Result<K, E>> + Send,
    {
        let indexed = Self {
            store,
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
            (ResourceExt::namespace(object), resource_name(object))
        {
            let of_resource = (namespace, resource.to_owned());
            let mut names = self.lock();
            names
                .entry(of_resource)
                .or_default()
                .insert(object.name_any());
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
            let reference = ObjectRef::new(object).within(namespace);
            let live = self
                .store
                .get(&reference)
                .filter(|live| resource_name(&**live) == Some(name));
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
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    fn service(name: &str, resource: &str) -> Service {
        serde_json::from_value(json!({"metadata": {
            "name": name, "namespace": "team", "labels": {labels::LLM_DEPLOYMENT: resource},
        }}))
        .unwrap()
    }

    #[test]
    fn the_objects_of_a_resource_are_found_until_they_go_or_change_hands() {
        let (store, mut writer) = reflector::store();
        let (indexed, _changes) = Indexed::new(store, futures::stream::empty::<Result<_, ()>>());
        let mut happens = |event: Event<Service>| {
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
