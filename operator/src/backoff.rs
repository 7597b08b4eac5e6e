//! When to try again: longer after each failure of the same object, and never all at once.
use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(120);

/// Exponential back-off with jitter, one series for each object.
#[derive(Debug)]
pub struct Backoff<K> {
    failures: Mutex<HashMap<K, u32>>,
    // Seeded at random by the standard library, which spares a dependency.
    jitter: RandomState,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self {
            failures: Mutex::default(),
            jitter: RandomState::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Backoff<K> {
    /// Notes a failure and says how long to wait.
    pub fn failed(&self, object: &K) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.clone()).or_default();
        *count = count.saturating_add(1);
        let longest = FIRST.saturating_mul(1 << (*count - 1).min(16)).min(LONGEST);
        longest.mul_f64(0.5 + 0.5 * self.fraction(object, *count))
    }

    /// Forgets the failures of an object, and says whether there were any.
    pub fn succeeded(&self, object: &K) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(object).is_some()
    }

    /// Whether the object has failed and not succeeded since.
    pub fn has_failed(&self, object: &K) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.contains_key(object)
    }

    /// Between 0 and 1, different for each object and attempt.
    fn fraction(&self, object: &K, count: u32) -> f64 {
        let hash = self.jitter.hash_one((object, count));
        f64::from(u32::try_from(hash >> 32).unwrap_or_default()) / f64::from(u32::MAX)
    }
}

/// The pauses of a watch that breaks off: the end of an API server's restart is noticed soon, and
/// an absent one is not hammered.
#[derive(Debug, Default)]
pub struct WatchBackoff {
    pauses: Backoff<()>,
}

const LONGEST_WATCH_PAUSE: Duration = Duration::from_secs(8);

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pauses.failed(&()).min(LONGEST_WATCH_PAUSE))
    }
}

impl kube::runtime::utils::Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.pauses.succeeded(&());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_a_limit_and_starts_again_after_a_success() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.failed(&"a")).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits[8] > waits[0]);
        assert!(
            waits
                .iter()
                .all(|wait| *wait >= FIRST / 2 && *wait <= LONGEST)
        );
        assert!(waits[39] >= LONGEST / 2);
        backoff.succeeded(&"a");
        assert!(backoff.failed(&"a") <= FIRST);
    }

    #[test]
    fn a_watch_never_gives_up() {
        let pauses: Vec<_> = WatchBackoff::default().take(100).collect();
        assert_eq!(pauses.len(), 100);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_WATCH_PAUSE));
    }

    #[test]
    fn one_objects_failures_do_not_slow_another() {
        let backoff = Backoff::default();
        (0..10).for_each(|_| {
            backoff.failed(&"a");
        });
        assert!(backoff.failed(&"b") <= FIRST);
    }
}
