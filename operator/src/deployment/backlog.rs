//! Whether resources wait that nobody has looked at yet.
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// To look through a thousand resources for each of a thousand would be most of the work.
const REMEMBERED: Duration = Duration::from_millis(100);

/// Two of those that wait, as of a moment ago: whoever asks may be one of them.
#[derive(Debug, Default)]
pub(super) struct Backlog(Mutex<Option<(Instant, Vec<String>)>>);

impl Backlog {
    /// Whether others than the resource with this uid wait; `look` gives the uids of all that do.
    pub(super) fn has_others<I>(&self, uid: &str, look: impl FnOnce() -> I) -> bool
    where
        I: Iterator<Item = String>,
    {
        self.has_others_at(Instant::now(), uid, look)
    }

    fn has_others_at<I>(&self, now: Instant, uid: &str, look: impl FnOnce() -> I) -> bool
    where
        I: Iterator<Item = String>,
    {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |at: &Instant| now.duration_since(*at) < REMEMBERED;
        let (_, waiting) = match seen.take().filter(|(at, _)| is_fresh(at)) {
            Some(fresh) => seen.insert(fresh),
            None => seen.insert((now, look().take(2).collect())),
        };
        waiting.iter().any(|other| other != uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn those(uids: &[&str]) -> impl Iterator<Item = String> + use<> {
        let uids: Vec<_> = uids.iter().map(|uid| (*uid).to_owned()).collect();
        uids.into_iter()
    }

    #[test]
    fn nobody_waits_for_itself() {
        let now = Instant::now();
        for (waiting, others) in [
            (&[][..], false),
            (&["a"], false),
            (&["b"], true),
            (&["a", "b"], true),
        ] {
            let backlog = Backlog::default();
            let look = || those(waiting);
            assert_eq!(backlog.has_others_at(now, "a", look), others, "{waiting:?}");
        }
    }

    #[test]
    fn it_is_looked_again_after_a_moment() {
        let backlog = Backlog::default();
        let start = Instant::now();
        assert!(backlog.has_others_at(start, "a", || those(&["b"])));
        let soon = start + REMEMBERED / 2;
        assert!(backlog.has_others_at(soon, "a", || those(&[])));
        assert!(!backlog.has_others_at(start + REMEMBERED, "a", || those(&[])));
    }
}
