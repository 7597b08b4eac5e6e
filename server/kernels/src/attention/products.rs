//! The two products of attention over one block: queries by keys, and weights by values.
//!
//! Each query's sums have an order of their own: dimensions in order for a score, positions in
//! order for a weighted value. So how many queries share a pass changes no bit.
use super::{
    BLOCK,
    cache::STRIP,
    scratch::{ROW, SCORES},
};
use crate::vector::Isa;
use half::f16;
use std::ops::Range;

/// Values beside each other in one pass: of two strips while the sums of `count` queries fit the
/// registers, else of one.
const fn width<I: Isa>(count: usize) -> usize {
    if count * 2 * STRIP <= I::SUMS * I::LANES {
        2 * STRIP
    } else {
        STRIP
    }
}

/// What keys and values are read from: the cache, or a copy as f32 for many queries.
pub(super) trait Element: Copy {
    /// Whether reading it should fetch what comes next; a copy has been read already.
    const FETCHES_NEXT: bool;

    /// # Safety
    /// `from` must be readable for `LANES` values.
    unsafe fn load<I: Isa>(isa: I, from: *const Self) -> I::Vector;
}

impl Element for f16 {
    const FETCHES_NEXT: bool = true;

    #[inline(always)]
    unsafe fn load<I: Isa>(isa: I, from: *const Self) -> I::Vector {
        // SAFETY: the caller's promise.
        unsafe { isa.load_half(from) }
    }
}

impl Element for f32 {
    const FETCHES_NEXT: bool = false;

    #[inline(always)]
    unsafe fn load<I: Isa>(isa: I, from: *const Self) -> I::Vector {
        // SAFETY: the caller's promise.
        unsafe { isa.load(from) }
    }
}

/// Calls a function with the constant `COUNT` equal to `$count`, which is 1 to `I::QUERIES`.
macro_rules! with_count {
    ($count:expr, $I:ident, $COUNT:ident => $call:expr) => {
        match $count {
            1 => with_count!(@ $I $COUNT 1 $call),
            2 => with_count!(@ $I $COUNT 2 $call),
            3 => with_count!(@ $I $COUNT 3 $call),
            4 => with_count!(@ $I $COUNT 4 $call),
            5 => with_count!(@ $I $COUNT 5 $call),
            6 => with_count!(@ $I $COUNT 6 $call),
            7 => with_count!(@ $I $COUNT 7 $call),
            _ => with_count!(@ $I $COUNT 8 $call),
        }
    };
    (@ $I:ident $COUNT:ident $value:literal $call:expr) => {{
        const $COUNT: usize = $value;
        // What does not come up is not compiled.
        if const { $COUNT <= $I::QUERIES } {
            $call
        }
    }};
}

/// Calls a function with the constant `VECTORS` equal to the vectors of `$values` values.
macro_rules! with_vectors {
    ($values:expr, $I:ident, $VECTORS:ident => $call:expr) => {
        match const { $values / $I::LANES } {
            1 => with_vectors!(@ $VECTORS 1 $call),
            2 => with_vectors!(@ $VECTORS 2 $call),
            _ => with_vectors!(@ $VECTORS 4 $call),
        }
    };
    (@ $VECTORS:ident $value:literal $call:expr) => {{
        const $VECTORS: usize = $value;
        $call
    }};
}

/// Scores of `count` queries against the 32 keys of a block, into `scores`. Queries are `ROW`
/// apart, scores `SCORES`. What `next` points to is fetched on the way.
#[inline(always)]
pub(super) fn score<I: Isa, E: Element>(
    isa: I,
    count: usize,
    queries: &[f32],
    keys: &[E],
    next: *const f16,
    scores: &mut [f32],
) {
    let dim = keys.len() / BLOCK;
    debug_assert!((1..=I::QUERIES).contains(&count) && dim <= ROW);
    debug_assert!(queries.len() >= (count - 1) * ROW + dim);
    debug_assert!(scores.len() >= (count - 1) * SCORES + BLOCK);
    // SAFETY: the lengths above, which hold for every place in the scratch.
    with_count!(count, I, COUNT => with_vectors!(width::<I>(COUNT), I, VECTORS => unsafe {
        score_of::<I, E, COUNT, VECTORS>(isa, queries.as_ptr(), keys, next, scores.as_mut_ptr());
    }));
}

/// # Safety
/// There must be `COUNT` queries and places for scores, as `score` says.
#[inline(always)]
unsafe fn score_of<I: Isa, E: Element, const COUNT: usize, const VECTORS: usize>(
    isa: I,
    queries: *const f32,
    keys: &[E],
    next: *const f16,
    scores: *mut f32,
) {
    for first in (0..BLOCK).step_by(VECTORS * I::LANES) {
        let mut sums = [[isa.splat(0.0); VECTORS]; COUNT];
        for dim in 0..keys.len() / BLOCK {
            if first == 0 && E::FETCHES_NEXT {
                isa.prefetch(next.wrapping_add(dim * BLOCK));
            }
            // SAFETY: `keys` has 32 keys in each dimension, and a query has all dimensions.
            unsafe {
                let line = keys.as_ptr().add(dim * BLOCK + first);
                let mut key = [isa.splat(0.0); VECTORS];
                for (vector, key) in key.iter_mut().enumerate() {
                    *key = E::load(isa, line.add(vector * I::LANES));
                }
                for (query, sums) in sums.iter_mut().enumerate() {
                    let value = isa.splat(*queries.add(query * ROW + dim));
                    for (sum, key) in sums.iter_mut().zip(key) {
                        *sum = isa.fma(value, key, *sum);
                    }
                }
            }
        }
        for (query, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                // SAFETY: each query has 32 scores.
                unsafe {
                    isa.store(scores.add(query * SCORES + first + vector * I::LANES), sum);
                }
            }
        }
    }
}

/// Adds to `sums` of `count` queries the values of a block at `positions`, each times its weight.
/// Weights are `SCORES` apart, sums `ROW`. What `next` points to is fetched on the way.
#[inline(always)]
pub(super) fn weigh<I: Isa, E: Element>(
    isa: I,
    count: usize,
    weights: &[f32],
    values: &[E],
    positions: Range<usize>,
    next: *const f16,
    sums: &mut [f32],
) {
    let dim = values.len() / BLOCK;
    debug_assert!((1..=I::QUERIES).contains(&count) && dim <= ROW && positions.end <= BLOCK);
    debug_assert!(weights.len() >= (count - 1) * SCORES + positions.end);
    debug_assert!(sums.len() >= (count - 1) * ROW + dim);
    let (weights, sums) = (weights.as_ptr(), sums.as_mut_ptr());
    let step = width::<I>(count);
    let whole = dim - dim % step;
    for first in (0..whole).step_by(step) {
        // SAFETY: the lengths above; the strips from `first` on are within `values`.
        with_count!(count, I, COUNT => with_vectors!(width::<I>(COUNT), I, VECTORS => unsafe {
            let strips = values.as_ptr().add(offset(first));
            let next = next.wrapping_add(offset(first));
            let sums = sums.add(first);
            weigh_of::<I, E, COUNT, VECTORS>(isa, weights, strips, positions.clone(), next, sums);
        }));
    }
    if whole < dim {
        // SAFETY: as above, for one strip; dimensions are whole strips.
        with_count!(count, I, COUNT => with_vectors!(STRIP, I, VECTORS => unsafe {
            let strip = values.as_ptr().add(offset(whole));
            let next = next.wrapping_add(offset(whole));
            let sums = sums.add(whole);
            weigh_of::<I, E, COUNT, VECTORS>(isa, weights, strip, positions, next, sums);
        }));
    }
}

/// Where a dimension's value of a block's first position is.
const fn offset(dim: usize) -> usize {
    dim / STRIP * (STRIP * BLOCK) + dim % STRIP
}

/// # Safety
/// There must be `COUNT` weights and sums, as `weigh` says, and `VECTORS` vectors of values.
#[inline(always)]
unsafe fn weigh_of<I: Isa, E: Element, const COUNT: usize, const VECTORS: usize>(
    isa: I,
    weights: *const f32,
    values: *const E,
    positions: Range<usize>,
    next: *const f16,
    sums: *mut f32,
) {
    let mut registers = [[isa.splat(0.0); VECTORS]; COUNT];
    for (query, registers) in registers.iter_mut().enumerate() {
        for (vector, register) in registers.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *register = unsafe { isa.load(sums.add(query * ROW + vector * I::LANES)) };
        }
    }
    for position in positions {
        if E::FETCHES_NEXT {
            isa.prefetch(next.wrapping_add(position * VECTORS * I::LANES));
        }
        // SAFETY: the caller's promise.
        unsafe {
            let mut value = [isa.splat(0.0); VECTORS];
            for (vector, value) in value.iter_mut().enumerate() {
                let at = position * STRIP + offset(vector * I::LANES);
                *value = E::load(isa, values.add(at));
            }
            for (query, registers) in registers.iter_mut().enumerate() {
                let weight = isa.splat(*weights.add(query * SCORES + position));
                for (register, value) in registers.iter_mut().zip(value) {
                    *register = isa.fma(weight, value, *register);
                }
            }
        }
    }
    for (query, registers) in registers.into_iter().enumerate() {
        for (vector, register) in registers.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { isa.store(sums.add(query * ROW + vector * I::LANES), register) };
        }
    }
}

/// Copies `from` to `to` as f32; both are whole vectors. What `next` points to is fetched on the
/// way.
#[inline(always)]
pub(super) fn widen<I: Isa>(isa: I, from: &[f16], next: &[f16], to: &mut [f32]) {
    for (index, (from, to)) in from
        .chunks_exact(I::LANES)
        .zip(to.chunks_exact_mut(I::LANES))
        .enumerate()
    {
        isa.prefetch(next.as_ptr().wrapping_add(index * I::LANES));
        // SAFETY: chunks have `LANES` values.
        unsafe { isa.store(to.as_mut_ptr(), isa.load_half(from.as_ptr())) };
    }
}
