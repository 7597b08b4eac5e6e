//! Resources that have their first children and no status yet: of a thousand that come at once, all get their pods
//! before anything is told of one.
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So long after its beginning, a resource is taken for one of which nothing is known.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// When each of them began, and in which generation, by uid.
#[derive(Debug, Default)]
pub(super) struct Begun(Mutex<HashMap<String, (Instant, Option<i64>)>>);

impl Begun {
    /// Notes that the resource has its first children.
    pub(super) fn note(&self, uid: &str, generation: Option<i64>) {
        self.note_at(Instant::now(), uid, generation);
    }

    fn note_at(&self, now: Instant, uid: &str, generation: Option<i64>) {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|_, (at, _)| now.duration_since(*at) < FORGOTTEN);
        begun.insert(uid.to_owned(), (now, generation));
    }

    /// Whether the resource has its first children, as it is now.
    pub(super) fn holds(&self, uid: &str, generation: Option<i64>) -> bool {
        self.holds_at(Instant::now(), uid, generation)
    }

    fn holds_at(&self, now: Instant, uid: &str, generation: Option<i64>) -> bool {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun
            .get(uid)
            .is_some_and(|(at, seen)| *seen == generation && now.duration_since(*at) < FORGOTTEN)
    }

    /// Its status is written.
    pub(super) fn end(&self, uid: &str) {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_has_begun_until_its_status_is_written_or_it_is_changed() {
        let begun = Begun::default();
        assert!(!begun.holds("a", Some(1)));
        begun.note("a", Some(1));
        assert!(begun.holds("a", Some(1)));
        assert!(!begun.holds("a", Some(2)), "a new spec");
        assert!(!begun.holds("b", Some(1)));
        begun.end("a");
        assert!(!begun.holds("a", Some(1)));
    }

    #[test]
    fn it_does_not_wait_for_ever_and_one_that_was_deleted_is_forgotten() {
        let begun = Begun::default();
        let start = Instant::now();
        begun.note_at(start, "a", Some(1));
        assert!(begun.holds_at(start, "a", Some(1)));
        assert!(!begun.holds_at(start + FORGOTTEN, "a", Some(1)));
        begun.note_at(start + FORGOTTEN, "b", Some(1));
        assert_eq!(begun.0.lock().unwrap().len(), 1);
    }
}
