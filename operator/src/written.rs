//! Statuses that the operator wrote itself, until the watch shows them.
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Statuses that were written but may not have come back through the watch yet. Without them, a
/// reconcile that starts too early would see its own transition a second time: another event,
/// another transition time.
#[derive(Debug)]
pub(crate) struct WrittenStatuses<S>(Mutex<HashMap<String, (Instant, S)>>);

impl<S> Default for WrittenStatuses<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// No watch is this late without a fresh list.
const LATEST: Duration = Duration::from_secs(60);

impl<S: Clone + PartialEq> WrittenStatuses<S> {
    /// Notes what was written for the object with this uid.
    pub(crate) fn note(&self, uid: &str, status: S) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.retain(|_, (at, _)| at.elapsed() < LATEST);
        written.insert(uid.to_owned(), (Instant::now(), status));
    }

    /// The watch shows `status` of the object with this uid: what says the same need not be remembered, which may be long
    /// until the next reconcile.
    pub(crate) fn shown(&self, uid: &str, status: &S) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written.get(uid).is_some_and(|(_, noted)| noted == status) {
            written.remove(uid);
        }
    }

    /// The newest status of the object, given the one that the watch shows.
    pub(crate) fn newest(&self, uid: &str, watched: S) -> S {
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

#[cfg(test)]
mod tests {
    use super::*;
    use candlepower_api::deployment::LLMDeploymentStatus;

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

    #[test]
    fn what_the_watch_has_shown_is_forgotten_and_nothing_before() {
        let written = WrittenStatuses::default();
        written.note("a", status(1));
        written.note("a", status(2));
        written.shown("a", &status(1));
        assert_eq!(written.newest("a", status(1)).replicas, 2);
        written.shown("a", &status(2));
        assert_eq!(written.newest("a", status(1)).replicas, 1);
    }
}
