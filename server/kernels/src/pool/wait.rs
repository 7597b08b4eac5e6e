//! How the pool's threads wait for each other: spin briefly, then give the core away.
use std::{
    hint,
    panic::resume_unwind,
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    thread,
};

/// Spins before a waiting thread yields: about five microseconds on Zen 4, more than two kernels
/// ever lie apart. On an idle machine the number makes no difference, as yielding returns at once.
/// On a busy one two threads of the pool may share a core, and each hand-over then costs the whole
/// wait: with 2,000 spins 100 µs, where a small matrix takes 10.
const SPINS: u32 = 100;

/// One wait's patience.
#[derive(Default)]
pub(super) struct Patience {
    spins: u32,
}

impl Patience {
    /// Waits a moment; true once it has begun to yield.
    pub(super) fn pause(&mut self) -> bool {
        if self.spins < SPINS {
            self.spins += 1;
            hint::spin_loop();
            false
        } else {
            thread::yield_now();
            true
        }
    }
}

/// A value alone on its cache line, so that threads that write it do not slow readers of its
/// neighbours.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct Alone<T>(pub(super) T);

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
    pub(super) fn abandon(&self) {
        self.broken.store(true, Release);
    }

    /// Returns once `count` workers have called it. Unwinds if one of them has panicked.
    pub(super) fn wait(&self, count: usize) {
        let round = self.round.0.load(Relaxed);
        if self.arrived.0.fetch_add(1, AcqRel) + 1 == count {
            self.arrived.0.store(0, Relaxed);
            self.round.0.store(round.wrapping_add(1), Release);
            return;
        }
        let mut patience = Patience::default();
        while self.round.0.load(Acquire) == round {
            if self.broken.load(Acquire) {
                resume_unwind(Box::new(Broken));
            }
            patience.pause();
        }
    }
}
