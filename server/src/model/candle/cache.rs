//! The KV cache of one layer, in blocks that the scheduler gives to sequences.
use super::rotary::split_heads;
use crate::engine::batch::{BLOCK_TOKENS, BatchSequence};
use candle_core::{DType, Device, Result, Tensor};
use std::ops::Range;

/// `[tokens, kv_heads × head_dim]` each, in blocks.
#[derive(Debug)]
pub(super) struct LayerCache {
    keys: Tensor,
    values: Tensor,
}

impl LayerCache {
    pub(super) fn new(tokens: usize, width: usize, device: &Device) -> Result<Self> {
        Ok(Self {
            keys: Tensor::zeros((tokens, width), DType::F32, device)?,
            values: Tensor::zeros((tokens, width), DType::F32, device)?,
        })
    }

    /// Stores the keys and values of `part`'s rows, `[rows, kv_heads × head_dim]` each, at
    /// positions from `start`.
    pub(super) fn write(
        &self,
        part: &BatchSequence,
        start: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<()> {
        let end = start + part.rows.len();
        let mut position = start;
        while position < end {
            // What lies in one block lies together.
            let count = (BLOCK_TOKENS - position % BLOCK_TOKENS).min(end - position);
            let slot = slot(part, position)?;
            for (cache, rows) in [(&self.keys, keys), (&self.values, values)] {
                let rows = rows.narrow(0, position - start, count)?.contiguous()?;
                cache.slice_set(&rows, 0, slot)?;
            }
            position += count;
        }
        Ok(())
    }

    /// Keys and values of `part` at `positions`, `[1, kv_heads, positions, head_dim]`.
    pub(super) fn read(
        &self,
        part: &BatchSequence,
        positions: Range<usize>,
        kv_heads: usize,
    ) -> Result<[Tensor; 2]> {
        let slots = positions.map(|position| Ok(u32::try_from(slot(part, position)?)?));
        let slots = slots.collect::<std::result::Result<Vec<u32>, candle_core::Error>>()?;
        let slots = Tensor::new(slots, self.keys.device())?;
        let gather = |cache: &Tensor| split_heads(&cache.index_select(&slots, 0)?, kv_heads);
        Ok([gather(&self.keys)?, gather(&self.values)?])
    }
}

fn slot(part: &BatchSequence, position: usize) -> Result<usize> {
    match part.slot(position) {
        Some(slot) => Ok(slot),
        None => candle_core::bail!("sequence {} has no KV cache at {position}", part.id.0),
    }
}
