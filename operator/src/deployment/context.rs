//! What every reconcile of one controller shares.
use super::{caches::Caches, figures::Figures, monitoring::Monitoring, probe};
use crate::{config::PullPolicy, metrics::ControllerMetrics, written::WrittenStatuses};
use candlepower_api::deployment::LLMDeploymentStatus;
use kube::{Client, runtime::events::Recorder};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What every reconcile of one controller shares.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) caches: Caches,
    pub(super) recorder: Recorder,
    pub(super) metrics: ControllerMetrics,
    pub(super) probe: probe::Client,
    pub(super) server: ServerDefaults,
    pub(super) written: WrittenStatuses<LLMDeploymentStatus>,
    pub(super) monitoring: Arc<Monitoring>,
    pub(super) figures: Arc<Figures>,
    pub(super) ready_times: Arc<ReadyTimes>,
}

/// The server that new resources get.
#[derive(Clone, Debug)]
pub(super) struct ServerDefaults {
    pub(super) image: String,
    pub(super) pull_policy: PullPolicy,
}

/// How long each resource took to become Ready the last time that this process saw it, in seconds.
#[derive(Debug, Default)]
pub(super) struct ReadyTimes(Mutex<HashMap<String, f64>>);

impl ReadyTimes {
    /// The object with this uid has become Ready.
    pub(super) fn note(&self, uid: &str, seconds: f64) {
        self.lock().insert(uid.to_owned(), seconds);
    }

    /// How long the object with this uid took.
    pub(super) fn of(&self, uid: &str) -> Option<f64> {
        self.lock().get(uid).copied()
    }

    /// Forgets an object that is being deleted.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
