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
/// After so many sleeps one wait spins for as long as any. Threads that sleep wait for each other to wake, which takes
/// longer than the fewest spins: without a try they would never find out that spinning pays off again.
const SLEEPS_BEFORE_TRY: u32 = 16;

/// A value alone on its cache line, so that threads that write it do not slow readers of its
/// neighbours.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct Alone<T>(pub(super) T);

/// Where threads wait for what others do.
pub(super) struct Waiting {
    /// How long to spin, learnt from the last waits.
    spins: AtomicU32,
    /// Sleeps since the last try.
    sleeps: AtomicU32,
    asleep: Alone<AtomicUsize>,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            spins: AtomicU32::new(MOST_SPINS),
            sleeps: AtomicU32::new(0),
            asleep: Alone::default(),
            lock: Mutex::new(()),
            changed: Condvar::new(),
        }
    }
}

impl Waiting {
    /// Returns once `is_done`, which must read atomically and in sequence what others change
    /// before they call [`Self::wake`]; and whether it slept until then.
    pub(super) fn wait_until(&self, is_done: impl Fn() -> bool) -> bool {
        let learnt = self.spins.load(Relaxed);
        let is_try = self.sleeps.load(Relaxed) >= SLEEPS_BEFORE_TRY;
        let spins = if is_try {
            self.sleeps.store(0, Relaxed);
            MOST_SPINS
        } else {
            learnt
        };
        for _ in 0..spins {
            if is_done() {
                if learnt < MOST_SPINS {
                    let longer = if is_try { spins } else { learnt + learnt / 8 };
                    self.spins.fetch_max(longer.min(MOST_SPINS), Relaxed);
                }
                return false;
            }
            hint::spin_loop();
        }
        self.sleeps.fetch_add(1, Relaxed);
        // Unless another thread has learnt something meanwhile.
        let shorter = (learnt / 2).max(FEWEST_SPINS);
        let _ = self
            .spins
            .compare_exchange(learnt, shorter, Relaxed, Relaxed);
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
        true
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Waits for what happens while it is looked for the `looks`-th time, or while it sleeps; whether it slept.
    fn sleeps(waiting: &Waiting, looks: u32) -> bool {
        let looked = Cell::new(0);
        let slept = Cell::new(false);
        waiting.wait_until(|| {
            looked.set(looked.get() + 1);
            slept.set(waiting.asleep() > 0);
            slept.get() || looked.get() >= looks
        });
        slept.get()
    }

    #[test]
    fn who_waits_in_vain_spins_ever_less() {
        let waiting = Waiting::default();
        assert!(!sleeps(&waiting, MOST_SPINS));
        for _ in 0..10 {
            assert!(sleeps(&waiting, u32::MAX));
        }
        assert!(sleeps(&waiting, FEWEST_SPINS + 1));
        assert!(!sleeps(&waiting, FEWEST_SPINS));
    }

    #[test]
    fn threads_that_wait_for_sleepers_find_out_that_spinning_pays_off_again() {
        let waiting = Waiting::default();
        for _ in 0..10 {
            sleeps(&waiting, u32::MAX);
        }
        // As long as it takes to wake.
        let looks = MOST_SPINS / 2;
        let slept = (0..100).filter(|_| sleeps(&waiting, looks)).count();
        assert!(slept <= SLEEPS_BEFORE_TRY as usize, "{slept} of 100");
    }

    #[test]
    fn what_one_thread_learns_too_late_does_not_undo_what_another_has_learnt() {
        let waiting = Waiting::default();
        for _ in 0..10 {
            sleeps(&waiting, u32::MAX);
        }
        // While it looks, another thread finds out that spinning pays off.
        let looked = Cell::new(0);
        waiting.wait_until(|| {
            looked.set(looked.get() + 1);
            if looked.get() == 3 {
                waiting.spins.store(MOST_SPINS, Relaxed);
            }
            waiting.asleep() > 0
        });
        assert!(!sleeps(&waiting, MOST_SPINS));
    }
}
