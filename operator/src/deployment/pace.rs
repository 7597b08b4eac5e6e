//! How often one resource is looked at: a pod that starts changes some ten times within a second, its Deployment too,
//! and each change would cost a status that nobody has time to read.
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// At least so much is between two looks, unless somebody has changed the resource itself.
const BETWEEN: Duration = Duration::from_secs(1);

/// When each resource was looked at last, by uid, and in which generation.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<String, (Instant, Option<i64>)>>);

impl Pace {
    /// How long to wait before the resource is looked at, also because it `can_wait` for more urgent ones; `None`: it is
    /// time, and the look is noted.
    pub(super) fn wait(
        &self,
        uid: &str,
        generation: Option<i64>,
        can_wait: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        let wait = self.wait_at(Instant::now(), uid, generation);
        wait.or_else(|| can_wait().then_some(BETWEEN))
    }

    fn wait_at(&self, now: Instant, uid: &str, generation: Option<i64>) -> Option<Duration> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, seen)) = looks.get(uid)
            && *seen == generation
            && let Some(left) = BETWEEN.checked_sub(now.duration_since(*at))
        {
            return Some(left);
        }
        looks.retain(|_, (at, _)| now.duration_since(*at) <= BETWEEN);
        looks.insert(uid.to_owned(), (now, generation));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_look_is_looked_at_together_and_somebodys_change_at_once() {
        let pace = Pace::default();
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(pace.wait_at(start, "a", Some(1)), None);
        let soon = pace.wait_at(after(300), "a", Some(1));
        assert_eq!(soon, Some(Duration::from_millis(700)));
        assert_eq!(pace.wait_at(after(300), "b", Some(1)), None, "another");
        assert_eq!(pace.wait_at(after(400), "a", Some(2)), None, "a new spec");
        assert!(pace.wait_at(after(1100), "a", Some(2)).is_some());
        assert_eq!(pace.wait_at(after(1500), "a", Some(2)), None);
    }

    #[test]
    fn what_can_wait_waits_for_what_cannot() {
        let pace = Pace::default();
        assert_eq!(pace.wait("a", Some(1), || true), Some(BETWEEN));
        assert_eq!(pace.wait("b", Some(1), || false), None);
    }

    #[test]
    fn only_the_last_second_is_remembered() {
        let pace = Pace::default();
        let start = Instant::now();
        for uid in ["a", "b", "c"] {
            pace.wait_at(start, uid, None);
        }
        pace.wait_at(start + 2 * BETWEEN, "d", None);
        assert_eq!(pace.0.lock().unwrap().len(), 1);
    }
}
