//! Attention of one tile: some rows of a sequence, with the query heads that share a KV head.
use super::{
    AttentionOptions, BLOCK, SEGMENT,
    cache::KvCache,
    plan::TileRows,
    products::{Element, score, weigh, widen},
    scratch::{ROW, SCORES, Scratch},
    softmax::{fold, weights},
};
use crate::{size::Rows, vector::Isa};
use half::f16;
use std::ops::Range;

/// From this many passes over a block on, its numbers are widened once for all.
const PASSES_TO_WIDEN: usize = 3;

/// A tile with what it reads.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    pub(super) cache: &'a KvCache,
    pub(super) layer: usize,
    pub(super) options: &'a AttentionOptions,
    pub(super) queries: Rows<'a>,
    pub(super) blocks: &'a [u32],
    pub(super) rows: TileRows,
}

impl Tile<'_> {
    fn head_dim(&self) -> usize {
        self.cache.shape().head_dim
    }

    pub(super) fn padded_dim(&self) -> usize {
        self.cache.shape().padded_dim()
    }

    /// The positions of `segment` that some of the queries see, counted from the segment's start.
    fn visible(&self, queries: Range<usize>, segment: usize) -> Range<usize> {
        let rows = queries.start / self.rows.heads..queries.end.div_ceil(self.rows.heads);
        let visible = self.rows.visible(rows, self.options.window);
        let start = visible.start.saturating_sub(segment * SEGMENT);
        let end = visible.end.saturating_sub(segment * SEGMENT);
        start.min(SEGMENT)..end.min(SEGMENT)
    }

    /// Copies the tile's queries into the scratch, times scale.
    #[inline(always)]
    pub(super) fn load_queries<I: Isa>(&self, isa: I, scratch: &mut Scratch) {
        let (dim, padded) = (self.head_dim(), self.padded_dim());
        let scale = isa.splat(self.options.scale);
        for query in 0..self.rows.queries() {
            let (row, head) = self.rows.row_and_head(query);
            let from = &self.queries.row(row)[head * dim..(head + 1) * dim];
            let to = &mut scratch.queries[query * ROW..][..padded];
            to[dim..].fill(0.0);
            to[..dim].copy_from_slice(from);
            for lanes in to.chunks_exact_mut(I::LANES) {
                // SAFETY: chunks have `LANES` values.
                unsafe {
                    let value = isa.load(lanes.as_ptr());
                    isa.store(lanes.as_mut_ptr(), isa.mul(value, scale));
                }
            }
        }
    }

    /// Weighted values and sums of every query over one segment, into `part` and `part_sums`.
    #[inline(always)]
    pub(super) fn segment<I: Isa>(&self, isa: I, segment: usize, scratch: &mut Scratch) {
        let queries = self.rows.queries();
        let blocks = blocks_of(&self.visible(0..queries, segment));
        for block in blocks.clone() {
            let (keys, _) = self.block(segment, block);
            if queries > (PASSES_TO_WIDEN - 1) * I::QUERIES {
                let mut widened = std::mem::take(&mut scratch.widened);
                let wide = &mut widened[..keys.len()];
                widen(isa, keys, wide);
                self.scores(isa, segment, block, wide, scratch);
                scratch.widened = widened;
            } else {
                self.scores(isa, segment, block, keys, scratch);
            }
        }
        self.softmax(isa, segment, scratch);
        for block in blocks {
            let (_, values) = self.block(segment, block);
            if queries > (PASSES_TO_WIDEN - 1) * I::QUERIES {
                let mut widened = std::mem::take(&mut scratch.widened);
                let wide = &mut widened[..values.len()];
                widen(isa, values, wide);
                self.sums(isa, segment, block, wide, scratch);
                scratch.widened = widened;
            } else {
                self.sums(isa, segment, block, values, scratch);
            }
        }
    }

    /// Keys and values of the segment's `block`th block.
    fn block(&self, segment: usize, block: usize) -> (&[f16], &[f16]) {
        let block = self.blocks[segment * (SEGMENT / BLOCK) + block] as usize;
        self.cache.head(self.layer, block, self.rows.kv_head)
    }

    #[inline(always)]
    fn scores<I: Isa, E: Element>(
        &self,
        isa: I,
        segment: usize,
        block: usize,
        keys: &[E],
        scratch: &mut Scratch,
    ) {
        let queries = self.rows.queries();
        for first in (0..queries).step_by(I::QUERIES) {
            let count = I::QUERIES.min(queries - first);
            let visible = self.visible(first..first + count, segment);
            if blocks_of(&visible).contains(&block) {
                score(
                    isa,
                    count,
                    &scratch.queries[first * ROW..],
                    keys,
                    &mut scratch.scores[first * SCORES + block * BLOCK..],
                );
            }
        }
    }

    /// Scores of the segment to weights.
    #[inline(always)]
    fn softmax<I: Isa>(&self, isa: I, segment: usize, scratch: &mut Scratch) {
        let queries = self.rows.queries();
        for first in (0..queries).step_by(I::QUERIES) {
            let pass = first..queries.min(first + I::QUERIES);
            let blocks = blocks_of(&self.visible(pass.clone(), segment));
            let start = blocks.start * BLOCK;
            for query in pass {
                let visible = self.visible(query..query + 1, segment);
                let visible =
                    visible.start.saturating_sub(start)..visible.end.saturating_sub(start);
                let scores = &mut scratch.scores[query * SCORES..][..blocks.end * BLOCK];
                scratch.part_sums[query] =
                    weights(isa, &mut scores[start..], visible, self.options.soft_cap);
                scratch.part[query * ROW..][..self.padded_dim()].fill(0.0);
            }
        }
    }

    #[inline(always)]
    fn sums<I: Isa, E: Element>(
        &self,
        isa: I,
        segment: usize,
        block: usize,
        values: &[E],
        scratch: &mut Scratch,
    ) {
        let queries = self.rows.queries();
        for first in (0..queries).step_by(I::QUERIES) {
            let count = I::QUERIES.min(queries - first);
            let visible = self.visible(first..first + count, segment);
            let start = block * BLOCK;
            let positions = visible.start.clamp(start, start + BLOCK) - start
                ..visible.end.clamp(start, start + BLOCK) - start;
            if !positions.is_empty() {
                weigh(
                    isa,
                    count,
                    &scratch.scores[first * SCORES + start..],
                    values,
                    positions,
                    &mut scratch.part[first * ROW..],
                );
            }
        }
    }

    /// Adds the segment just computed to `total` and `total_sums`.
    #[inline(always)]
    pub(super) fn fold_part<I: Isa>(&self, isa: I, scratch: &mut Scratch) {
        let padded = self.padded_dim();
        for query in 0..self.rows.queries() {
            fold(
                isa,
                &mut scratch.total[query * ROW..][..padded],
                &mut scratch.total_sums[query],
                &scratch.part[query * ROW..][..padded],
                scratch.part_sums[query],
            );
        }
    }
}

/// The blocks of a segment that hold `positions`.
fn blocks_of(positions: &Range<usize>) -> Range<usize> {
    if positions.is_empty() {
        return 0..0;
    }
    positions.start / BLOCK..positions.end.div_ceil(BLOCK)
}
