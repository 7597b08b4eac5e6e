//! Places in queue and batch: how many there are, and who is in which, at every moment.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// All places of an engine.
#[derive(Debug)]
pub(super) struct Places {
    /// Requests that wait and that run, in one word: whoever moves between the two is never in both,
    /// or in neither.
    taken: AtomicU64,
    /// How many there are.
    all: u64,
}

const WAITING: u64 = 1;
const RUNNING: u64 = 1 << u32::BITS;

/// Requests by where they are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Occupied {
    pub(super) running: usize,
    /// Submitted and not admitted yet, whether or not the engine's thread knows of them.
    pub(super) waiting: usize,
}

impl Occupied {
    fn of(taken: u64) -> Self {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            running: count(taken / RUNNING),
            waiting: count(taken % RUNNING),
        }
    }
}

impl Places {
    pub(super) fn new(all: usize) -> Self {
        Self {
            taken: AtomicU64::new(0),
            // Each is a request in memory; a word counts more than fit there.
            all: u64::from(u32::try_from(all).unwrap_or(u32::MAX)),
        }
    }

    /// A place in the queue, unless all are taken.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let next =
            |taken: u64| (taken / RUNNING + taken % RUNNING < self.all).then_some(taken + WAITING);
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
            .ok()
            .map(|_| Place {
                places: Arc::clone(self),
                unit: WAITING,
            })
    }

    pub(super) fn occupied(&self) -> Occupied {
        Occupied::of(self.taken.load(Ordering::Acquire))
    }
}

/// One request's place, in the queue and then in the batch; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    /// What it counts as.
    unit: u64,
}

impl Place {
    /// The request leaves the queue for the batch.
    pub(super) fn admit(&mut self) {
        let change = RUNNING - std::mem::replace(&mut self.unit, RUNNING);
        self.places.taken.fetch_add(change, Ordering::AcqRel);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(self.unit, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{sync::atomic::AtomicBool, thread};

    fn places(all: usize) -> Arc<Places> {
        Arc::new(Places::new(all))
    }

    #[test]
    fn a_request_waits_then_runs_and_is_gone() {
        let places = places(2);
        let occupied = |running, waiting| {
            assert_eq!(places.occupied(), Occupied { running, waiting });
        };
        let mut first = places.take().unwrap();
        occupied(0, 1);
        first.admit();
        occupied(1, 0);
        first.admit();
        occupied(1, 0);
        let second = places.take().unwrap();
        occupied(1, 1);
        assert!(places.take().is_none(), "all are taken");
        drop(second);
        occupied(1, 0);
        drop(first);
        occupied(0, 0);
    }

    #[test]
    fn nobody_is_counted_twice_or_missed_on_the_way_from_queue_to_batch() {
        let (places, over) = (places(4), AtomicBool::new(false));
        let mut always = places.take().unwrap();
        thread::scope(|scope| {
            let clients: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..20_000 {
                            places.take().unwrap().admit();
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let Occupied { running, waiting } = places.occupied();
                    // One of them has a place before and after each look.
                    assert!(
                        (1..=4).contains(&(running + waiting)),
                        "{running} and {waiting}"
                    );
                }
            });
            always.admit();
            for client in clients {
                client.join().unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
        drop(always);
        assert_eq!(places.occupied(), Occupied::default());
    }

    proptest! {
        #[test]
        fn submitted_are_those_that_wait_run_or_have_ended(
            all in 1..5_usize,
            events in prop::collection::vec((0..3_u8, any::<prop::sample::Index>()), 0..60),
        ) {
            let places = places(all);
            let (mut submitted, mut ended) = (0, 0);
            let mut held: Vec<Place> = Vec::new();
            for (event, index) in events {
                match event {
                    0 => {
                        let place = places.take();
                        prop_assert_eq!(place.is_some(), held.len() < all);
                        submitted += usize::from(place.is_some());
                        held.extend(place);
                    }
                    1 if !held.is_empty() => {
                        let index = index.index(held.len());
                        held[index].admit();
                    }
                    2 if !held.is_empty() => {
                        ended += 1;
                        held.swap_remove(index.index(held.len()));
                    }
                    _ => {}
                }
                let Occupied { running, waiting } = places.occupied();
                prop_assert_eq!(submitted, waiting + running + ended);
                prop_assert_eq!(running, held.iter().filter(|place| place.unit == RUNNING).count());
            }
        }
    }
}
