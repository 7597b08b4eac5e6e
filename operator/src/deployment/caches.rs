//! What the watches keep in memory: the children and pods of all resources, without the parts
//! that nothing here reads.
use super::{
    error::Error,
    monitoring::served::{Served, while_served},
};
use crate::{
    children::Cached,
    metrics::ControllerMetrics,
    watches::{
        Cache, Entry, Kept, Kind, Pod, api_of, api_of_metadata, immutable_of_operator, kept,
        of_operator,
    },
};
use futures::Stream;
use kube::{Client, runtime::watcher};
use std::{fmt::Debug, sync::Arc};
use tokio::sync::watch;

/// Read-only views of the watches' caches.
pub(super) struct Caches {
    pub(super) config_maps: Cache<Cached>,
    /// ConfigMaps, too, of which only the metadata is watched.
    pub(super) dashboards: Cache<Cached>,
    pub(super) services: Cache<Cached>,
    pub(super) claims: Cache<Cached>,
    pub(super) deployments: Cache<Cached>,
    pub(super) network_policies: Cache<Cached>,
    pub(super) disruption_budgets: Cache<Cached>,
    pub(super) pods: Cache<Pod>,
    /// Empty while the cluster does not serve the kind. Nobody waits for these two: a missing right
    /// to watch them must not stop everything else.
    pub(super) pod_monitors: Cache<Cached>,
    pub(super) prometheus_rules: Cache<Cached>,
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

    /// Lets those that wait in [`Self::filled`] go on in time. To be run once.
    pub(super) async fn watch_filling(&self) {
        for children in [
            &self.config_maps,
            &self.dashboards,
            &self.services,
            &self.claims,
            &self.deployments,
            &self.network_policies,
            &self.disruption_budgets,
        ] {
            children.filled().await;
        }
        self.pods.filled().await;
        self.filled.send_replace(true);
    }
}

/// A watch of the objects of this kind that the operator wrote, or that follow from these, and what is kept of them.
pub(super) fn watched<T>(
    client: &Client,
    namespace: Option<&str>,
    kind: Kind,
    metrics: &ControllerMetrics,
) -> (Cache<T>, impl Stream<Item = Arc<T>> + Send + use<T>)
where
    T: Kept + Entry + Clone + Debug + Send + Sync + 'static,
{
    let objects = api_of(client, kind, namespace);
    let events = watcher(objects, of_operator());
    kept(events, kind, metrics)
}

/// The same of those that nobody can change.
pub(super) fn watched_immutable(
    client: &Client,
    namespace: Option<&str>,
    kind: Kind,
    metrics: &ControllerMetrics,
) -> (
    Cache<Cached>,
    impl Stream<Item = Arc<Cached>> + Send + use<>,
) {
    let objects = api_of_metadata(client, kind, namespace);
    let events = watcher(objects, immutable_of_operator());
    kept(events, kind, metrics)
}

/// What the cluster serves, and which part of that is meant.
pub(super) type Availability<'a> = (&'a watch::Receiver<Option<Served>>, fn(Served) -> bool);

/// The same of a kind that the cluster serves at times only, as `is_served` says.
pub(super) fn watched_while_served(
    client: &Client,
    namespace: Option<&str>,
    kind: Kind,
    (known, is_served): Availability<'_>,
    metrics: &ControllerMetrics,
) -> (
    Cache<Cached>,
    impl Stream<Item = Arc<Cached>> + Send + use<>,
) {
    let objects = api_of(client, kind, namespace);
    let events = while_served(known.clone(), is_served, objects, of_operator());
    kept(events, kind, metrics)
}
