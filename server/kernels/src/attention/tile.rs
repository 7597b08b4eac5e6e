//! Attention of one tile: some rows of a sequence, with the query heads of some KV heads.
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

    /// The positions of `segment` that some of the first KV head's `queries` see, counted from the
    /// segment's start.
    fn visible(&self, queries: &Range<usize>, segment: usize) -> Range<usize> {
        let rows = queries.start / self.rows.heads..queries.end.div_ceil(self.rows.heads);
        let visible = self.rows.visible(rows, self.options.window);
        let start = visible.start.saturating_sub(segment * SEGMENT);
        let end = visible.end.saturating_sub(segment * SEGMENT);
        start.min(SEGMENT)..end.min(SEGMENT)
    }

    /// Cuts the queries of each KV head into as many as share a pass.
    #[inline(always)]
    fn set_passes<I: Isa>(&self, segment: usize, passes: &mut Vec<Pass>) {
        passes.clear();
        let count = self.rows.queries_of_kv_head();
        for kv_head in 0..self.rows.kv_heads {
            for start in (0..count).step_by(I::QUERIES) {
                let queries = start..count.min(start + I::QUERIES);
                let visible = self.visible(&queries, segment);
                passes.push(Pass {
                    first: kv_head * count + start,
                    count: queries.len(),
                    blocks: blocks_of(&visible),
                    visible,
                });
            }
        }
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
    /// The tile goes on to segment `next`, if there is one.
    #[inline(always)]
    pub(super) fn segment<I: Isa>(
        &self,
        isa: I,
        segment: usize,
        next: Option<usize>,
        scratch: &mut Scratch,
    ) {
        let mut passes = std::mem::take(&mut scratch.passes);
        self.set_passes::<I>(segment, &mut passes);
        let passes_of = passes.len() / self.rows.kv_heads;
        let blocks = blocks_of(&self.visible(&(0..self.rows.queries_of_kv_head()), segment));
        let kv_heads = self.rows.kv_heads;
        let pieces = (blocks.start * kv_heads..blocks.end * kv_heads)
            .map(|piece| (piece / kv_heads, piece % kv_heads));
        // What is read after the last keys, and after the last values.
        let first_values = self.values(segment, blocks.start, 0);
        let next_keys = next.map_or(first_values, |next| self.keys(next, 0, 0));
        for (block, kv_head) in pieces.clone() {
            let keys = self.keys(segment, block, kv_head);
            let next = match following(block, kv_head, kv_heads) {
                (next, _) if next == blocks.end => first_values,
                (next, kv_head) => self.keys(segment, next, kv_head),
            };
            let passes = &passes[kv_head * passes_of..][..passes_of];
            if self.is_widened::<I>() {
                let mut widened = std::mem::take(&mut scratch.widened);
                let wide = &mut widened[..keys.len()];
                widen(isa, keys, next, wide);
                scores(isa, passes, block, wide, next, scratch);
                scratch.widened = widened;
            } else {
                scores(isa, passes, block, keys, next, scratch);
            }
        }
        self.softmax(isa, segment, &passes, scratch);
        for (block, kv_head) in pieces {
            let values = self.values(segment, block, kv_head);
            let next = match following(block, kv_head, kv_heads) {
                (next, _) if next == blocks.end => next_keys,
                (next, kv_head) => self.values(segment, next, kv_head),
            };
            let passes = &passes[kv_head * passes_of..][..passes_of];
            if self.is_widened::<I>() {
                let mut widened = std::mem::take(&mut scratch.widened);
                let wide = &mut widened[..values.len()];
                widen(isa, values, next, wide);
                sums(isa, passes, block, wide, next, scratch);
                scratch.widened = widened;
            } else {
                sums(isa, passes, block, values, next, scratch);
            }
        }
        scratch.passes = passes;
    }

    /// Whether a block is read often enough that it is widened once for all queries.
    fn is_widened<I: Isa>(&self) -> bool {
        self.rows.queries_of_kv_head() > (PASSES_TO_WIDEN - 1) * I::QUERIES
    }

    /// Keys of the segment's `block`th block for the tile's `kv_head`th KV head.
    fn keys(&self, segment: usize, block: usize, kv_head: usize) -> &[f16] {
        let block = self.blocks[segment * (SEGMENT / BLOCK) + block] as usize;
        let kv_head = self.rows.first_kv_head + kv_head;
        self.cache.keys(self.layer, block, kv_head)
    }

    fn values(&self, segment: usize, block: usize, kv_head: usize) -> &[f16] {
        let block = self.blocks[segment * (SEGMENT / BLOCK) + block] as usize;
        let kv_head = self.rows.first_kv_head + kv_head;
        self.cache.values(self.layer, block, kv_head)
    }

    /// Scores of the segment to weights.
    #[inline(always)]
    fn softmax<I: Isa>(&self, isa: I, segment: usize, passes: &[Pass], scratch: &mut Scratch) {
        for pass in passes {
            let (start, end) = (pass.blocks.start * BLOCK, pass.blocks.end * BLOCK);
            for query in pass.first..pass.first + pass.count {
                let in_kv_head = query % self.rows.queries_of_kv_head();
                let visible = self.visible(&(in_kv_head..in_kv_head + 1), segment);
                let visible =
                    visible.start.saturating_sub(start)..visible.end.saturating_sub(start);
                let scores = &mut scratch.scores[query * SCORES..][start..end];
                scratch.part_sums[query] = weights(isa, scores, visible, self.options.soft_cap);
                scratch.part[query * ROW..][..self.padded_dim()].fill(0.0);
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

/// Queries of one KV head that share passes over a segment's keys and values.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    first: usize,
    count: usize,
    /// What some of them see of the segment, from its start.
    visible: Range<usize>,
    /// The segment's blocks with something visible.
    blocks: Range<usize>,
}

/// Scores of `passes` against the keys of a segment's `block`th block.
#[inline(always)]
fn scores<I: Isa, E: Element>(
    isa: I,
    passes: &[Pass],
    block: usize,
    keys: &[E],
    next: &[f16],
    scratch: &mut Scratch,
) {
    for pass in passes.iter().filter(|pass| pass.blocks.contains(&block)) {
        score(
            isa,
            pass.count,
            &scratch.queries[pass.first * ROW..],
            keys,
            next.as_ptr(),
            &mut scratch.scores[pass.first * SCORES + block * BLOCK..],
        );
    }
}

/// Adds the weighted values of a segment's `block`th block to the sums of `passes`.
#[inline(always)]
fn sums<I: Isa, E: Element>(
    isa: I,
    passes: &[Pass],
    block: usize,
    values: &[E],
    next: &[f16],
    scratch: &mut Scratch,
) {
    let start = block * BLOCK;
    for pass in passes.iter().filter(|pass| pass.blocks.contains(&block)) {
        let positions = pass.visible.start.saturating_sub(start)
            ..pass.visible.end.saturating_sub(start).min(BLOCK);
        weigh(
            isa,
            pass.count,
            &scratch.scores[pass.first * SCORES + start..],
            values,
            positions,
            next.as_ptr(),
            &mut scratch.part[pass.first * ROW..],
        );
    }
}

/// The block and KV head read after `kv_head` of `block`.
fn following(block: usize, kv_head: usize, kv_heads: usize) -> (usize, usize) {
    if kv_head + 1 < kv_heads {
        (block, kv_head + 1)
    } else {
        (block + 1, 0)
    }
}

/// The blocks of a segment that hold `positions`.
fn blocks_of(positions: &Range<usize>) -> Range<usize> {
    if positions.is_empty() {
        return 0..0;
    }
    positions.start / BLOCK..positions.end.div_ceil(BLOCK)
}
