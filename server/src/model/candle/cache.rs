//! The KV cache of one layer on its device, in blocks that the scheduler gives to sequences.
use super::paged::PagedStep;
use crate::engine::BLOCK_TOKENS;
use candle_core::{DType, Device, Result, Tensor};
use std::ops::Range;

/// `[blocks, BLOCK_TOKENS, kv_heads, head_dim]` each: as the paged kernels take them.
#[derive(Debug)]
pub(super) struct LayerCache {
    pub(super) keys: Tensor,
    pub(super) values: Tensor,
}

impl LayerCache {
    pub(super) fn new(
        blocks: usize,
        kv_heads: usize,
        head_dim: usize,
        kind: DType,
        device: &Device,
    ) -> Result<Self> {
        let shape = (blocks, BLOCK_TOKENS, kv_heads, head_dim);
        Ok(Self {
            keys: Tensor::zeros(shape, kind, device)?,
            values: Tensor::zeros(shape, kind, device)?,
        })
    }

    /// Stores the keys and values of the step's rows, `[rows, kv_heads × head_dim]` each.
    pub(super) fn write(&self, step: &PagedStep, keys: &Tensor, values: &Tensor) -> Result<()> {
        for (cache, rows) in [(&self.keys, keys), (&self.values, values)] {
            let (blocks, tokens, kv_heads, head_dim) = cache.dims4()?;
            let rows = rows.to_dtype(cache.dtype())?.contiguous()?;
            // The same memory by slots.
            let slots = cache.reshape((blocks * tokens, kv_heads * head_dim))?;
            slots.scatter_set(&step.slot_mapping, &rows, 0)?;
        }
        Ok(())
    }

    /// Keys and values of sequence `index` of the step at `positions`, in 32 bits,
    /// `[1, kv_heads, positions, head_dim]`.
    pub(super) fn read(
        &self,
        step: &PagedStep,
        index: usize,
        positions: Range<usize>,
    ) -> Result<[Tensor; 2]> {
        let first = positions.start / BLOCK_TOKENS;
        let count = positions.end.div_ceil(BLOCK_TOKENS) - first;
        let blocks = step.block_table.get(index)?.narrow(0, first, count)?;
        let start = positions.start - first * BLOCK_TOKENS;
        let gather = |cache: &Tensor| {
            let blocks = cache.index_select(&blocks, 0)?.flatten(0, 1)?;
            blocks
                .narrow(0, start, positions.len())?
                .to_dtype(DType::F32)?
                .transpose(0, 1)?
                .unsqueeze(0)?
                .contiguous()
        };
        Ok([gather(&self.keys)?, gather(&self.values)?])
    }
}
