//! What every reconcile of one controller shares.
use super::Guarded;
use crate::{
    backoff::Backoff, config::benchmark::BenchmarkConfig, deployment, error::Error,
    metrics::ControllerMetrics, written::WrittenStatuses,
};
use candlepower_api::benchmark::LLMBenchmarkStatus;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Client,
    runtime::{
        events::Recorder,
        reflector::{ObjectRef, Store},
    },
};
use tokio::sync::watch;

/// What every reconcile of one controller shares.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) caches: Caches,
    pub(super) recorder: Recorder,
    pub(super) metrics: ControllerMetrics,
    pub(super) backoff: Backoff<ObjectRef<Guarded>>,
    pub(super) settings: BenchmarkConfig,
    pub(super) written: WrittenStatuses<LLMBenchmarkStatus>,
}

/// Read-only views of the watches' caches; the last three are the other controller's.
pub(super) struct Caches {
    pub(super) benchmarks: Store<Guarded>,
    pub(super) jobs: Store<Job>,
    pub(super) deployments: Store<deployment::Guarded>,
    pub(super) config_maps: Store<ConfigMap>,
    pub(super) pods: Store<Pod>,
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

    /// Lets those that wait in [`Self::filled`] go on in time. To be run once: a store wakes only
    /// the last of several tasks that wait for it.
    pub(super) async fn watch_filling(&self, mut others: watch::Receiver<bool>) {
        let own = tokio::try_join!(
            self.benchmarks.wait_until_ready(),
            self.jobs.wait_until_ready(),
        );
        // An error means that the watches are gone, and with them every reconcile.
        if own.is_ok() && others.wait_for(|filled| *filled).await.is_ok() {
            self.filled.send_replace(true);
        }
    }
}
