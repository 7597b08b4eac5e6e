//! The way to shutdown: not ready, then done when the last request has ended.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

/// How far the shutdown has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Phase {
    /// There is none: requests are accepted.
    Serving,
    /// Not ready any more, but requests that still come are served, since endpoints are withdrawn
    /// with a delay and clients keep their connections.
    Withdrawing,
    /// New requests are refused, because the engine is about to end.
    Draining,
}

/// The phase of the shutdown and the requests that it waits for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    phase: Arc<AtomicU8>,
    running: TaskTracker,
}

impl Drain {
    /// How far the shutdown has come.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Withdrawing,
            _ => Phase::Draining,
        }
    }

    /// Goes to a later phase; there is no way back.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// A token to hold while a request runs.
    pub fn running(&self) -> TaskTrackerToken {
        self.running.token()
    }

    /// Waits until no request runs, but not longer than `timeout`. Whether that worked.
    pub async fn wait(&self, timeout: Duration) -> bool {
        self.running.close();
        tokio::time::timeout(timeout, self.running.wait())
            .await
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_waits_for_running_requests_but_not_for_ever() {
        let drain = Drain::default();
        let request = drain.running();
        assert!(!drain.wait(Duration::from_millis(20)).await);
        drop(request);
        assert!(drain.wait(Duration::from_secs(5)).await);
    }

    #[test]
    fn phases_only_go_forward() {
        let drain = Drain::default();
        assert_eq!(drain.phase(), Phase::Serving);
        drain.enter(Phase::Draining);
        drain.enter(Phase::Withdrawing);
        assert_eq!(drain.phase(), Phase::Draining);
    }
}
