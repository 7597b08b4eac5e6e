//! What every reconcile of one controller shares.
use super::{Guarded, caches::Caches, figures::Figures, monitoring::Monitoring, probe};
use crate::{backoff::Backoff, config::PullPolicy, metrics::Metrics};
use candlepower_api::deployment::LLMDeploymentStatus;
use kube::{
    Client,
    runtime::{events::Recorder, reflector::ObjectRef},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What every reconcile of one controller shares.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) caches: Caches,
    pub(super) recorder: Recorder,
    pub(super) metrics: Arc<Metrics>,
    pub(super) backoff: Backoff<ObjectRef<Guarded>>,
    pub(super) probe: probe::Client,
    pub(super) server: ServerDefaults,
    pub(super) written: WrittenStatuses,
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

/// Statuses that were written but may not have come back through the watch yet. Without them, a
/// reconcile that starts too early would see its own transition a second time: another event,
/// another transition time.
#[derive(Debug, Default)]
pub(super) struct WrittenStatuses(Mutex<HashMap<String, (Instant, LLMDeploymentStatus)>>);

/// No watch is this late without a fresh list.
const LATEST: Duration = Duration::from_secs(60);

impl WrittenStatuses {
    /// Notes what was written for the object with this uid.
    pub(super) fn note(&self, uid: &str, status: LLMDeploymentStatus) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.retain(|_, (at, _)| at.elapsed() < LATEST);
        written.insert(uid.to_owned(), (Instant::now(), status));
    }

    /// The newest status of the object, given the one that the watch shows.
    pub(super) fn newest(&self, uid: &str, watched: LLMDeploymentStatus) -> LLMDeploymentStatus {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(uid) {
            Some((at, status)) if *status != watched && at.elapsed() < LATEST => status.clone(),
            _ => {
                written.remove(uid);
                watched
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn status(replicas: i32) -> LLMDeploymentStatus {
        LLMDeploymentStatus {
            replicas,
            ..LLMDeploymentStatus::default()
        }
    }

    #[test]
    fn what_was_written_counts_until_the_watch_shows_it() {
        let written = WrittenStatuses::default();
        written.note("a", status(2));
        assert_eq!(written.newest("a", status(1)).replicas, 2);
        assert_eq!(written.newest("a", status(2)).replicas, 2);
        // Someone else changed it later: from now on the watch is right.
        assert_eq!(written.newest("a", status(3)).replicas, 3);
        assert_eq!(written.newest("b", status(4)).replicas, 4);
    }
}
