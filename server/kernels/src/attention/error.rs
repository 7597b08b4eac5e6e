//! What can be wrong with a cache, a batch or the sizes of attention's operands.
use crate::size::SizeError;
use std::io;

/// Why the KV cache cannot be made, or keys and values cannot be written or attended to.
#[derive(Debug, thiserror::Error)]
pub enum AttentionError {
    /// A count is zero, or the product of all is more than memory can be addressed.
    #[error(
        "a KV cache of {layers} layers, {kv_heads} KV heads and {blocks} blocks cannot be addressed"
    )]
    Shape {
        /// Layers of the model.
        layers: usize,
        /// Key and value heads of a layer.
        kv_heads: usize,
        /// Blocks of the cache.
        blocks: usize,
    },
    /// The head dimension is none the kernels can do.
    #[error("head dimension {0}: it must be a multiple of 8, at least 8 and at most 256")]
    HeadDim(usize),
    /// Query heads are not a multiple of key and value heads.
    #[error("{heads} query heads cannot share {kv_heads} KV heads evenly")]
    Heads {
        /// Query heads.
        heads: usize,
        /// Key and value heads.
        kv_heads: usize,
    },
    /// A window of no position would leave a row without a key.
    #[error("the attention window must hold at least one position")]
    EmptyWindow,
    /// The operating system gives no address space.
    #[error("cannot reserve {bytes} bytes for the KV cache; ask for fewer blocks: {source}")]
    Memory {
        /// What was asked for.
        bytes: usize,
        /// What the operating system says.
        source: io::Error,
    },
    /// There is no such layer.
    #[error("layer {layer} of a KV cache of {layers} layers")]
    Layer {
        /// The layer asked for.
        layer: usize,
        /// Layers there are.
        layers: usize,
    },
    /// A sequence needs more positions than its block table has.
    #[error("sequence {sequence} reaches position {end}, its {blocks} blocks hold fewer")]
    ShortBlockTable {
        /// The sequence's place in the batch.
        sequence: usize,
        /// One past its last position.
        end: usize,
        /// The length of its block table.
        blocks: usize,
    },
    /// A block table names a block the cache does not have.
    #[error("sequence {sequence} names block {block} of a KV cache of {blocks} blocks")]
    NoSuchBlock {
        /// The sequence's place in the batch.
        sequence: usize,
        /// The block named.
        block: u32,
        /// Blocks there are.
        blocks: usize,
    },
    /// An operand's length does not fit.
    #[error(transparent)]
    Size(#[from] SizeError),
}
