//! What every reconcile of one controller shares.
use super::{Guarded, nodes::NodeReader};
use crate::{
    children::Cached,
    config::benchmark::BenchmarkConfig,
    deployment,
    error::Error,
    events::Publisher,
    metrics::ControllerMetrics,
    watches::{Cache, Job, Pod},
    written::WrittenStatuses,
};
use candlepower_api::benchmark::LLMBenchmarkStatus;
use kube::{Client, runtime::reflector::Store};
use std::sync::Arc;
use tokio::sync::watch;

/// What every reconcile of one controller shares.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) caches: Caches,
    pub(super) publisher: Arc<Publisher>,
    pub(super) metrics: ControllerMetrics,
    pub(super) settings: BenchmarkConfig,
    pub(super) nodes: NodeReader,
    pub(super) written: WrittenStatuses<LLMBenchmarkStatus>,
}

/// Read-only views of the watches' caches; the last three are the other controller's.
pub(super) struct Caches {
    pub(super) benchmarks: Store<Guarded>,
    pub(super) jobs: Store<Job>,
    pub(super) deployments: Store<deployment::Guarded>,
    pub(super) config_maps: Cache<Cached>,
    pub(super) pods: Cache<Pod>,
    pub(super) filled: watch::Sender<bool>,
}

impl Caches {
    /// Waits until each cache holds the first complete list: what is missing before that may well
    /// exist.
    pub(super) async fn filled(&self) -> Result<(), Error> {
        let mut filled = self.filled.subscribe();
        let result = filled.wait_for(|filled| *filled).await;
        result.map(|_| ()).map_err(|_| Error::Stopping)
    }

    /// Lets those that wait in [`Self::filled`] go on in time. To be run once, and never to wait for
    /// `benchmarks`: a store wakes only the last of several tasks that wait for it, and the queue of
    /// the controller itself waits for that one before it reconciles anything.
    pub(super) async fn watch_filling(&self, mut others: watch::Receiver<bool>) {
        // An error means that the watches are gone, and with them every reconcile.
        if self.jobs.wait_until_ready().await.is_ok()
            && others.wait_for(|filled| *filled).await.is_ok()
        {
            self.filled.send_replace(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::{
        reflector::{self, store::Writer},
        watcher::Event,
    };
    use std::time::Duration;

    fn empty<K>() -> (Store<K>, Writer<K>)
    where
        K: reflector::Lookup<DynamicType = ()> + Clone + 'static,
    {
        reflector::store()
    }

    #[tokio::test]
    async fn the_store_that_the_controller_waits_for_is_not_waited_for_here() {
        let (benchmarks, _benchmarks) = empty();
        let (jobs, mut jobs_writer) = empty::<Job>();
        let (deployments, _deployments) = empty();
        let caches = Caches {
            benchmarks,
            jobs,
            deployments,
            config_maps: Cache::default(),
            pods: Cache::default(),
            filled: watch::Sender::new(false),
        };
        jobs_writer.apply_watcher_event(&Event::Init);
        jobs_writer.apply_watcher_event(&Event::InitDone);
        let (_others, filled) = watch::channel(true);
        let filling = caches.watch_filling(filled);
        tokio::time::timeout(Duration::from_secs(5), filling)
            .await
            .unwrap();
        assert!(*caches.filled.borrow());
    }
}
