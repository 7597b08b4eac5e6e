//! Memory a thread works in: queries, scores and sums of one tile.
use super::{
    BLOCK, SEGMENT,
    cache::{MAX_HEAD_DIM, STRIP},
    tile::Pass,
};
use std::ops::{Deref, DerefMut};

/// Query rows (of all heads that share keys) that are worked on together.
pub(super) const TILE: usize = 32;

/// From one query to the next, and from one sum to the next. A cache line more than the longest
/// head, so that rows do not compete for the same places of the cache.
pub(super) const ROW: usize = MAX_HEAD_DIM + STRIP;

/// From one query's scores to the next one's.
pub(super) const SCORES: usize = SEGMENT + STRIP;

/// What a thread works in.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Queries times scale.
    pub(super) queries: Aligned,
    /// Scores of a segment, then weights.
    pub(super) scores: Aligned,
    /// Weighted values of a segment.
    pub(super) part: Aligned,
    /// Weighted values of all segments so far.
    pub(super) total: Aligned,
    /// Keys or values of a block as f32.
    pub(super) widened: Aligned,
    /// The queries' passes over the segment at hand.
    pub(super) passes: Vec<Pass>,
    /// Of each query's segment.
    pub(super) part_sums: [Sums; TILE],
    /// Of each query's segments so far.
    pub(super) total_sums: [Sums; TILE],
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            queries: Aligned::new(TILE * ROW),
            scores: Aligned::new(TILE * SCORES),
            part: Aligned::new(TILE * ROW),
            total: Aligned::new(TILE * ROW),
            widened: Aligned::new(MAX_HEAD_DIM * BLOCK),
            passes: Vec::new(),
            part_sums: [Sums::NOTHING; TILE],
            total_sums: [Sums::NOTHING; TILE],
        }
    }
}

/// The largest score and the sum of `e^(score - largest)` over some positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    pub(super) largest: f32,
    pub(super) sum: f32,
}

impl Sums {
    /// Over no position.
    pub(super) const NOTHING: Self = Self {
        largest: f32::NEG_INFINITY,
        sum: 0.0,
    };
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Values that start at a cache line, so that no vector lies across two.
#[derive(Debug, Default)]
pub(super) struct Aligned(Vec<Line>);

impl Aligned {
    pub(super) fn new(len: usize) -> Self {
        let mut new = Self::default();
        new.grow(len);
        new
    }

    /// Makes room for at least `len` values.
    pub(super) fn grow(&mut self, len: usize) {
        let lines = len.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0.0; 16]));
        }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        // SAFETY: a line is sixteen values without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 16) }
    }
}

impl DerefMut for Aligned {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 16) }
    }
}
