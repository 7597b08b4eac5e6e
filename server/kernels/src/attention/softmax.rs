//! Softmax over a segment of positions, and over segments.
use super::scratch::Sums;
use crate::vector::{Isa, math};
use std::ops::Range;

/// Turns one query's scores at `visible` positions into weights `e^(score - largest)`. `scores` are
/// whole vectors around them; what is not visible gets no weight.
#[inline(always)]
pub(super) fn weights<I: Isa>(
    isa: I,
    scores: &mut [f32],
    visible: Range<usize>,
    soft_cap: Option<f32>,
) -> Sums {
    let nothing = isa.splat(f32::NEG_INFINITY);
    let mut largest = nothing;
    for (index, lanes) in scores.chunks_exact_mut(I::LANES).enumerate() {
        let first = index * I::LANES;
        // SAFETY: chunks have `LANES` values.
        let mut score = unsafe { isa.load(lanes.as_ptr()) };
        if let Some(cap) = soft_cap {
            score = math::soft_cap(isa, score, cap);
        }
        if first < visible.start || first + I::LANES > visible.end {
            score = isa.where_bit(visible_lanes::<I>(first, &visible), score, nothing);
        }
        largest = isa.max(score, largest);
        // SAFETY: as above.
        unsafe { isa.store(lanes.as_mut_ptr(), score) };
    }
    let largest = isa.maximum(largest);
    if largest == f32::NEG_INFINITY {
        scores.fill(0.0);
        return Sums::NOTHING;
    }
    let mut sum = isa.splat(0.0);
    for lanes in scores.chunks_exact_mut(I::LANES) {
        // SAFETY: chunks have `LANES` values.
        unsafe {
            let score = isa.load(lanes.as_ptr());
            let weight = math::exp(isa, isa.sub(score, isa.splat(largest)));
            sum = isa.add(sum, weight);
            isa.store(lanes.as_mut_ptr(), weight);
        }
    }
    Sums {
        largest,
        sum: isa.sum(sum),
    }
}

/// A bit for each lane from `first` on whose place is visible.
#[inline(always)]
fn visible_lanes<I: Isa>(first: usize, visible: &Range<usize>) -> u32 {
    let start = visible.start.saturating_sub(first).min(I::LANES);
    let end = visible.end.saturating_sub(first).min(I::LANES);
    if start < end {
        (1 << end) - (1 << start)
    } else {
        0
    }
}

/// Adds a segment's sums and weighted values to those of the segments before it. Segments are
/// always added one by one and in order, so that it does not matter who computed them.
#[inline(always)]
pub(super) fn fold<I: Isa>(
    isa: I,
    total: &mut [f32],
    total_sums: &mut Sums,
    part: &[f32],
    part_sums: Sums,
) {
    if part_sums.largest == f32::NEG_INFINITY {
        return;
    }
    let largest = total_sums.largest.max(part_sums.largest);
    // No segment before: `e^-inf` is zero, and what was in `total` must not matter.
    if total_sums.largest == f32::NEG_INFINITY {
        total.fill(0.0);
    }
    let total_factor = isa.splat(total_sums.largest - largest);
    let total_factor = math::exp(isa, total_factor);
    let part_factor = math::exp(isa, isa.splat(part_sums.largest - largest));
    for (total, part) in total
        .chunks_exact_mut(I::LANES)
        .zip(part.chunks_exact(I::LANES))
    {
        // SAFETY: chunks have `LANES` values.
        unsafe {
            let before = isa.mul(isa.load(total.as_ptr()), total_factor);
            let sum = isa.fma(isa.load(part.as_ptr()), part_factor, before);
            isa.store(total.as_mut_ptr(), sum);
        }
    }
    let before = isa.mul(isa.splat(total_sums.sum), total_factor);
    let sum = isa.fma(isa.splat(part_sums.sum), part_factor, before);
    *total_sums = Sums {
        largest,
        sum: isa.maximum(sum),
    };
}

/// Divides weighted values by the sum of weights, for as many values as `out` has.
#[inline(always)]
pub(super) fn finish<I: Isa>(isa: I, total: &[f32], sums: Sums, out: &mut [f32]) {
    let factor = isa.splat(1.0 / sums.sum);
    let mut chunks = out.chunks_exact_mut(I::LANES);
    let mut at = 0;
    for out in chunks.by_ref() {
        debug_assert!(at + I::LANES <= total.len());
        // SAFETY: `total` is whole strips around `out`.
        unsafe {
            let value = isa.load(total.as_ptr().add(at));
            isa.store(out.as_mut_ptr(), scaled(isa, value, factor));
        }
        at += I::LANES;
    }
    let rest = chunks.into_remainder();
    if !rest.is_empty() {
        debug_assert!(at + I::LANES <= total.len());
        // SAFETY: as above, for fewer than `LANES` values.
        unsafe {
            let value = isa.load(total.as_ptr().add(at));
            isa.store_first(rest.as_mut_ptr(), rest.len(), scaled(isa, value, factor));
        }
    }
}

/// Adding zero makes one of the two zeros: which one a sum of nothings is depends on how many
/// positions without weight were added.
#[inline(always)]
fn scaled<I: Isa>(isa: I, value: I::Vector, factor: I::Vector) -> I::Vector {
    isa.fma(value, factor, isa.splat(0.0))
}
