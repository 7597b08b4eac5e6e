//! The paged KV cache: f16 keys and values of all layers, in blocks of 32 positions.
//!
//! Layout: layer, keys or values, block, KV head. Heads of a block lie together, and so do those of
//! adjacent blocks: memory gives long runs at more than twice the rate of short ones. Keys are
//! stored by dimension, 32 positions beside each other, so that scores of many positions come out
//! of one multiply-add without a sum across lanes. Values are stored in strips of 16 dimensions,
//! each with its 32 positions in order, so that one strip is read from start to end.
//!
//! All numbers in the cache are finite: writing clamps. So what a block still holds of its last
//! owner cannot spoil sums where it is multiplied by zero.
use super::{AttentionError, BLOCK, Batch, Parallel, writer::HeadWriter};
use crate::{size::Rows, vector::Level};
use half::f16;
use memmap2::MmapMut;
use std::sync::Mutex;

/// Dimensions are stored in strips of this many; a head's last strip may be in part unused.
pub(super) const STRIP: usize = 16;

/// The largest head dimension.
pub(super) const MAX_HEAD_DIM: usize = 256;

/// How large a KV cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Layers of the model.
    pub layers: usize,
    /// Key and value heads of a layer.
    pub kv_heads: usize,
    /// Values of a head: a multiple of 8, at most 256.
    pub head_dim: usize,
    /// Blocks of 32 positions.
    pub blocks: usize,
}

impl KvShape {
    /// The head dimension with whole strips.
    pub(super) fn padded_dim(&self) -> usize {
        self.head_dim.next_multiple_of(STRIP)
    }

    /// Values of a head's keys in one block.
    pub(super) fn head_len(&self) -> usize {
        self.padded_dim() * BLOCK
    }

    /// Values of a layer's keys.
    pub(super) fn keys_len(&self) -> usize {
        self.blocks * self.kv_heads * self.head_len()
    }

    /// Bytes of a whole cache, if it can be addressed.
    fn bytes(&self) -> Option<usize> {
        let token = KvCache::bytes_per_token(self.layers, self.kv_heads, self.head_dim);
        let bytes = token.checked_mul(BLOCK)?.checked_mul(self.blocks)?;
        (bytes > 0 && bytes <= isize::MAX.cast_unsigned() - 2 * HUGE_PAGE).then_some(bytes)
    }
}

/// Pages the kernel is asked for: fewer misses of the address cache when a context is read.
const HUGE_PAGE: usize = 2 << 20;

/// Keys and values of all layers. Memory is taken when it is first written.
pub struct KvCache {
    map: MmapMut,
    /// Where in the map the first huge page starts.
    start: usize,
    shape: KvShape,
}

impl std::fmt::Debug for KvCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("KvCache")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl KvCache {
    /// Positions of a block.
    pub const BLOCK: usize = BLOCK;

    /// Reserves address space for a cache of `shape`; nothing is in memory yet.
    pub fn new(shape: KvShape) -> Result<Self, AttentionError> {
        let KvShape {
            layers,
            kv_heads,
            head_dim,
            blocks,
        } = shape;
        if head_dim == 0 || !head_dim.is_multiple_of(8) || head_dim > MAX_HEAD_DIM {
            return Err(AttentionError::HeadDim(head_dim));
        }
        let bytes = shape.bytes().ok_or(AttentionError::Shape {
            layers,
            kv_heads,
            blocks,
        })?;
        let map = memmap2::MmapOptions::new()
            .len(bytes + HUGE_PAGE)
            .map_anon()
            .map_err(|source| AttentionError::Memory { bytes, source })?;
        // Without huge pages the cache works as well, only slower.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let start = map.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
        Ok(Self { map, start, shape })
    }

    /// The bytes a position takes in all layers.
    pub fn bytes_per_token(layers: usize, kv_heads: usize, head_dim: usize) -> usize {
        let head = 2 * head_dim.next_multiple_of(STRIP) * size_of::<f16>();
        layers.saturating_mul(kv_heads).saturating_mul(head)
    }

    /// How large the cache is.
    pub fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// A writer for each KV head of `layer`; they can write at the same time.
    pub fn heads(&mut self, layer: usize) -> Result<Vec<HeadWriter<'_>>, AttentionError> {
        self.check_layer(layer)?;
        let shape = self.shape;
        let len = shape.keys_len();
        let layer = &mut self.all_mut()[2 * layer * len..][..2 * len];
        let (keys, values) = layer.split_at_mut(len);
        Ok(HeadWriter::all(keys, values, shape))
    }

    /// Writes each row of `keys` and `values`, which hold all KV heads, at the row's position.
    /// Numbers beyond f16 are clamped.
    pub fn write(
        &mut self,
        level: Level,
        layer: usize,
        batch: &Batch<'_>,
        keys: Rows<'_>,
        values: Rows<'_>,
        pool: &impl Parallel,
    ) -> Result<(), AttentionError> {
        let mut heads = self.heads(layer)?;
        let failed = Mutex::new(None);
        pool.for_chunks(&mut heads, 1, |_, heads| {
            for head in heads {
                if let Err(error) = head.write(level, batch, keys, values)
                    && let Ok(mut failed) = failed.lock()
                {
                    *failed = Some(error);
                }
            }
        });
        match failed.into_inner() {
            Ok(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn check_layer(&self, layer: usize) -> Result<(), AttentionError> {
        let layers = self.shape.layers;
        if layer < layers {
            Ok(())
        } else {
            Err(AttentionError::Layer { layer, layers })
        }
    }

    /// A head's keys in one block. All three must be in the cache's shape.
    pub(super) fn keys(&self, layer: usize, block: usize, head: usize) -> &[f16] {
        self.head(2 * layer, block, head)
    }

    /// A head's values in one block.
    pub(super) fn values(&self, layer: usize, block: usize, head: usize) -> &[f16] {
        self.head(2 * layer + 1, block, head)
    }

    fn head(&self, region: usize, block: usize, head: usize) -> &[f16] {
        let index = (region * self.shape.blocks + block) * self.shape.kv_heads + head;
        let len = self.shape.head_len();
        &self.all()[index * len..][..len]
    }

    fn len(&self) -> usize {
        2 * self.shape.layers * self.shape.keys_len()
    }

    fn all(&self) -> &[f16] {
        // SAFETY: the map has `start` and the cache's bytes and lives as long as `self`; `start` is
        // aligned for f16, and all bits are a valid f16.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(self.start).cast(), self.len()) }
    }

    fn all_mut(&mut self) -> &mut [f16] {
        let len = self.len();
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(self.start).cast(), len) }
    }
}
