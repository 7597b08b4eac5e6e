//! Attention of a step's packed rows over the paged KV cache: by tensors on every device, or on CUDA
//! by the flash-attention kernels, in a build that has them.
use super::{attention::Attention, cache::LayerCache, packing::Packing};
use candle_core::{D, Device, Result, Tensor};

/// A step's [`Packing`], on the device.
#[derive(Debug)]
pub(super) struct PagedStep {
    packing: Packing,
    /// `[rows, kv_heads × head_dim]`: the slot of each number of a row.
    pub(super) slot_mapping: Tensor,
    /// `[sequences, table_width]`
    pub(super) block_table: Tensor,
    #[cfg(candlepower_flash_attention)]
    row_offsets: Tensor,
    #[cfg(candlepower_flash_attention)]
    key_offsets: Tensor,
}

impl PagedStep {
    /// Brings `packing` onto the device of a cache with `kv_width` numbers a token.
    pub(super) fn new(packing: Packing, kv_width: usize, device: &Device) -> Result<Self> {
        let rows = packing.slot_mapping.len();
        let table = (packing.sequences(), packing.table_width);
        let slots = Tensor::from_slice(&packing.slot_mapping, (rows, 1), device)?;
        Ok(Self {
            slot_mapping: slots.broadcast_as((rows, kv_width))?.contiguous()?,
            block_table: Tensor::from_slice(&packing.block_table, table, device)?,
            #[cfg(candlepower_flash_attention)]
            row_offsets: Tensor::new(packing.row_offsets.as_slice(), device)?,
            #[cfg(candlepower_flash_attention)]
            key_offsets: Tensor::new(packing.key_offsets.as_slice(), device)?,
            packing,
        })
    }
}

/// What computes attention.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PagedAttention {
    /// Tensors, one sequence after the other. What the kernels are compared with.
    Tensors,
    /// Flash-attention kernels, all sequences in one launch.
    #[cfg(candlepower_flash_attention)]
    Flash,
}

/// What the kernels' heads are at most, and multiples of.
#[cfg(candlepower_flash_attention)]
const WIDEST_HEAD: usize = 512;
#[cfg(candlepower_flash_attention)]
const HEAD_STEP: usize = 8;

impl PagedAttention {
    /// The best for heads of `head_dim` on `device`.
    pub(super) fn choose(device: &Device, head_dim: usize) -> Self {
        #[cfg(candlepower_flash_attention)]
        if device.is_cuda() && head_dim <= WIDEST_HEAD && head_dim.is_multiple_of(HEAD_STEP) {
            return Self::Flash;
        }
        let _ = (device, head_dim);
        Self::Tensors
    }

    /// `queries` `[1, heads, rows, head_dim]` of the whole step over the keys and values in
    /// `cache`, to which those of the step's own rows belong. Returns `[rows, heads × head_dim]`.
    pub(super) fn attend(
        self,
        how: &Attention,
        queries: &Tensor,
        cache: &LayerCache,
        step: &PagedStep,
    ) -> Result<Tensor> {
        match self {
            Self::Tensors => by_tensors(how, queries, cache, step),
            #[cfg(candlepower_flash_attention)]
            Self::Flash => by_kernels(how, queries, cache, step),
        }
    }
}

fn by_tensors(
    how: &Attention,
    queries: &Tensor,
    cache: &LayerCache,
    step: &PagedStep,
) -> Result<Tensor> {
    let spans = |offsets: &[u32]| -> Vec<(usize, usize)> {
        let pairs = offsets.windows(2);
        pairs
            .map(|pair| (pair[0] as usize, (pair[1] - pair[0]) as usize))
            .collect()
    };
    let rows = spans(&step.packing.row_offsets);
    let keys = spans(&step.packing.key_offsets);
    let mut mixed = Vec::with_capacity(rows.len());
    for (index, ((first, count), (_, length))) in rows.into_iter().zip(keys).enumerate() {
        let seen = how.seen(length - count, count);
        let [keys, values] = cache.read(step, index, seen)?;
        let queries = queries.narrow(D::Minus2, first, count)?.contiguous()?;
        mixed.push(how.attend(&queries, &keys, &values)?);
    }
    Tensor::cat(&mixed, 0)
}

#[cfg(candlepower_flash_attention)]
#[expect(clippy::cast_possible_truncation, reason = "scales and caps are small")]
fn by_kernels(
    how: &Attention,
    queries: &Tensor,
    cache: &LayerCache,
    step: &PagedStep,
) -> Result<Tensor> {
    let packed = queries.squeeze(0)?.transpose(0, 1)?;
    let mixed = candle_flash_attn::flash_attn_varlen_paged_windowed(
        &packed.to_dtype(cache.keys.dtype())?.contiguous()?,
        &cache.keys,
        &cache.values,
        &step.row_offsets,
        &step.key_offsets,
        &step.block_table,
        None,
        step.packing.most_rows,
        step.packing.most_keys,
        how.scale as f32,
        how.seen_before(),
        Some(0),
        crate::engine::BLOCK_TOKENS,
        how.soft_cap.map(|cap| cap as f32),
    )?;
    mixed.flatten(1, D::Minus1)?.to_dtype(queries.dtype())
}
