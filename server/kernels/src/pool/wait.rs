//! How the pool's threads wait for each other: they spin as long as that has paid off, then sleep.
//!
//! They do not yield. A thread that yields stays runnable, so that the core never counts as idle
//! and draws no work from busier ones; and Linux (from 6.18 on) takes a yield as giving up the
//! whole time slice: beside other load each wait then costs milliseconds.
use std::{
    hint,
    panic::resume_unwind,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicUsize,
            Ordering::{Acquire, Relaxed, SeqCst},
        },
    },
};

/// The most spins before a thread sleeps: about 100 microseconds on Zen, more than an idle
/// machine's threads lie apart. Waking a sleeper costs some ten.
const MOST_SPINS: u32 = 2_000;
/// The fewest. Where two threads of the pool share a core, each hand-over costs as many.
const FEWEST_SPINS: u32 = 50;

/// A value alone on its cache line, so that threads that write it do not slow readers of its
/// neighbours.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct Alone<T>(pub(super) T);

/// Where threads wait for what others do.
pub(super) struct Waiting {
    /// How long to spin, learnt from the last waits.
    spins: AtomicU32,
    asleep: Alone<AtomicUsize>,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            spins: AtomicU32::new(MOST_SPINS),
            asleep: Alone::default(),
            lock: Mutex::new(()),
            changed: Condvar::new(),
        }
    }
}

impl Waiting {
    /// Returns once `is_done`, which must read atomically and in sequence what others change
    /// before they call [`Self::wake`].
    pub(super) fn wait_until(&self, is_done: impl Fn() -> bool) {
        let spins = self.spins.load(Relaxed);
        for _ in 0..spins {
            if is_done() {
                if spins < MOST_SPINS {
                    self.spins
                        .store((spins + spins / 8).min(MOST_SPINS), Relaxed);
                }
                return;
            }
            hint::spin_loop();
        }
        self.spins.store((spins / 2).max(FEWEST_SPINS), Relaxed);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Either this thread sees the change below, or who makes it sees that this one is asleep.
        self.asleep.0.fetch_add(1, SeqCst);
        while !is_done() {
            guard = self
                .changed
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.0.fetch_sub(1, SeqCst);
    }

    /// How many threads sleep.
    #[cfg(test)]
    pub(super) fn asleep(&self) -> usize {
        self.asleep.0.load(SeqCst)
    }

    /// Wakes all who sleep, after a change in sequence.
    pub(super) fn wake(&self) {
        if self.asleep.0.load(SeqCst) > 0 {
            // Whoever counts as asleep has the lock until it sleeps.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
        }
    }
}

/// Where the workers of a run meet.
#[derive(Default)]
pub(super) struct Barrier {
    arrived: Alone<AtomicUsize>,
    round: Alone<AtomicUsize>,
    broken: AtomicBool,
}

/// What a worker unwinds with when another worker's panic has broken the barrier.
struct Broken;

impl Barrier {
    /// Makes the barrier whole again; only while no worker uses it.
    pub(super) fn reset(&self) {
        self.arrived.0.store(0, Relaxed);
        self.broken.store(false, Relaxed);
    }

    /// Frees all who wait, now and later: one worker will never arrive.
    pub(super) fn abandon(&self, waiting: &Waiting) {
        self.broken.store(true, SeqCst);
        waiting.wake();
    }

    /// Returns once `count` workers have called it. Unwinds if one of them has panicked.
    pub(super) fn wait(&self, count: usize, waiting: &Waiting) {
        let round = self.round.0.load(Relaxed);
        if self.arrived.0.fetch_add(1, SeqCst) + 1 == count {
            self.arrived.0.store(0, Relaxed);
            self.round.0.store(round.wrapping_add(1), SeqCst);
            waiting.wake();
            return;
        }
        waiting.wait_until(|| self.round.0.load(SeqCst) != round || self.broken.load(SeqCst));
        if self.round.0.load(Acquire) == round {
            resume_unwind(Box::new(Broken));
        }
    }
}
