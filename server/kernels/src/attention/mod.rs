//! Causal attention over a paged KV cache, for ragged batches.
//!
//! The arithmetic of a row depends on the row alone: positions are taken in segments of 128 aligned
//! to absolute positions, each segment's softmax and weighted values have one order, and segments
//! are added in order. Batch mates, prompt chunks, and threads change no bit.
#![allow(clippy::inline_always)]

mod batch;
mod cache;
mod error;
mod parallel;
mod plan;
mod products;
mod scratch;
mod softmax;
#[cfg(test)]
mod tests;
mod tile;
mod unit;
mod writer;

pub use batch::{Batch, Sequence};
pub use cache::{KvCache, KvShape};
pub use error::AttentionError;
pub use parallel::{Parallel, Serial};
pub use writer::HeadWriter;

use crate::{
    size::{Rows, SizeError},
    vector::Level,
};
use plan::Plan;
use scratch::Aligned;
use tile::Tile;
use unit::{Merge, Output, Outputs, Unit, part_len};

/// Positions of a block.
const BLOCK: usize = 32;

/// Positions whose softmax is taken together.
const SEGMENT: usize = 4 * BLOCK;

/// What kind of attention a layer has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOptions {
    /// Query heads, a multiple of the KV heads and fewer than 65536.
    pub heads: usize,
    /// What scores are multiplied by, mostly `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// How many positions a row sees, its own included; `None`: all.
    pub window: Option<usize>,
    /// Scores become `cap * tanh(score / cap)` (Gemma 2).
    pub soft_cap: Option<f32>,
}

/// Memory for partial results, kept from layer to layer and step to step.
#[derive(Debug, Default)]
pub struct Partials(Aligned);

/// The attention of one batch, for all layers with the same options.
#[derive(Clone, Debug)]
pub struct Attention<'a> {
    level: Level,
    batch: &'a Batch<'a>,
    options: AttentionOptions,
    plan: Plan,
}

impl<'a> Attention<'a> {
    /// Cuts the work on `batch` for `threads`. The number of threads changes no result.
    pub fn new(
        level: Level,
        batch: &'a Batch<'a>,
        options: AttentionOptions,
        threads: usize,
    ) -> Result<Self, AttentionError> {
        let (heads, kv_heads) = (options.heads, batch.shape().kv_heads);
        let is_multiple = kv_heads > 0 && heads > 0 && heads.is_multiple_of(kv_heads);
        if !is_multiple || heads > usize::from(u16::MAX) {
            return Err(AttentionError::Heads { heads, kv_heads });
        }
        if options.window == Some(0) {
            return Err(AttentionError::EmptyWindow);
        }
        let part_len = part_len(batch.shape().padded_dim());
        let plan = Plan::new(batch, &options, threads, part_len);
        Ok(Self {
            level,
            batch,
            options,
            plan,
        })
    }

    /// How many units run independently.
    pub fn units(&self) -> usize {
        self.plan.units.len()
    }

    /// Attention of `queries` over what `layer` of `cache` holds up to each row's position, the
    /// row's own keys and values included; `out` has the shape of the queries.
    pub fn run(
        &self,
        cache: &KvCache,
        layer: usize,
        queries: Rows<'_>,
        out: &mut [f32],
        partials: &mut Partials,
        pool: &impl Parallel,
    ) -> Result<(), AttentionError> {
        self.check(cache, layer, &queries, out)?;
        let outputs = Outputs::new(out, self.options.heads, cache.shape().head_dim);
        partials.0.grow(self.plan.parts_len);
        let mut units = self.bind(cache, layer, queries, &outputs, &mut partials.0);
        pool.for_chunks(&mut units, 1, |_, units| {
            for unit in units {
                unit.run(self.level);
            }
        });
        drop(units);
        if self.plan.split_tiles.is_empty() {
            return Ok(());
        }
        let mut merges = self.merges(&outputs, &partials.0);
        pool.for_chunks(&mut merges, 1, |_, merges| {
            for merge in merges {
                merge.run(self.level);
            }
        });
        Ok(())
    }

    /// The plan's units with their operands and places for results.
    fn bind<'b>(
        &'b self,
        cache: &'b KvCache,
        layer: usize,
        queries: Rows<'b>,
        outputs: &Outputs<'b>,
        mut parts: &'b mut [f32],
    ) -> Vec<Unit<'b>> {
        let part_len = part_len(cache.shape().padded_dim());
        let bind = |unit: &plan::Unit| {
            let rows = unit.rows;
            let output = if let Some(segment) = unit.segment {
                // The plan gave parts their places in this order.
                let len = rows.queries() * part_len;
                let (to, rest) = std::mem::take(&mut parts).split_at_mut(len);
                parts = rest;
                Output::Part { segment, to }
            } else {
                // SAFETY: the plan's tiles have no query in common, and a tile is one unit or split.
                Output::Rows(unsafe { outputs.tile(rows) })
            };
            let tile = Tile {
                cache,
                layer,
                options: &self.options,
                queries,
                blocks: self.batch.sequence(rows.sequence).blocks,
                rows,
            };
            Unit { tile, output }
        };
        self.plan.units.iter().map(bind).collect()
    }

    /// The sums over segments of all queries of split tiles.
    fn merges<'b>(&'b self, outputs: &Outputs<'b>, results: &'b Aligned) -> Vec<Merge<'b>> {
        let mut merges = Vec::new();
        for split in &self.plan.split_tiles {
            merges.extend((0..split.rows.queries()).map(|query| Merge {
                padded_dim: self.batch.shape().padded_dim(),
                query,
                results,
                parts: &split.parts,
                // SAFETY: the plan's tiles have no query in common, and this tile was split.
                out: unsafe { outputs.query(split.rows, query) },
            }));
        }
        merges
    }

    fn check(
        &self,
        cache: &KvCache,
        layer: usize,
        queries: &Rows<'_>,
        out: &[f32],
    ) -> Result<(), AttentionError> {
        cache.check_layer(layer)?;
        self.batch.check_fits(cache.shape())?;
        let width = self.options.heads * cache.shape().head_dim;
        SizeError::check("width of queries", width, queries.width())?;
        SizeError::check("rows of queries", self.batch.rows(), queries.len())?;
        SizeError::check("output of attention", self.batch.rows() * width, out.len())?;
        Ok(())
    }
}
