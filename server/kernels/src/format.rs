//! How ggml stores weights: formats, their blocks, and what a block's values are.
mod block;

pub(crate) use block::Block;
use half::{bf16, f16};
use std::fmt;

/// A way of storing weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, non_camel_case_types)] // ggml's own names
pub enum Format {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// How many weights of a row share a block.
    pub const fn block_columns(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 => 32,
            Self::Q4_K | Self::Q5_K | Self::Q6_K => 256,
        }
    }

    /// The bytes of a block as ggml stores it.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
        }
    }

    /// Whether weights are integers with scales; products then quantise the input too.
    pub const fn is_quantised(self) -> bool {
        self.block_columns() > 1
    }

    /// The bytes of a row, if `columns` make whole blocks.
    pub const fn row_bytes(self, columns: usize) -> Option<usize> {
        if columns.is_multiple_of(self.block_columns()) {
            (columns / self.block_columns()).checked_mul(self.block_bytes())
        } else {
            None
        }
    }

    /// Writes the values of the blocks in `bytes`; stops where either side ends.
    pub fn dequantise(self, bytes: &[u8], values: &mut [f32]) {
        let blocks = bytes
            .chunks_exact(self.block_bytes())
            .zip(values.chunks_exact_mut(self.block_columns()));
        for (bytes, values) in blocks {
            match (self, bytes, &mut *values) {
                (Self::F32, &[a, b, c, d], [value]) => *value = f32::from_le_bytes([a, b, c, d]),
                (Self::F16, &[a, b], [value]) => *value = f16::from_le_bytes([a, b]).to_f32(),
                (Self::BF16, &[a, b], [value]) => *value = bf16::from_le_bytes([a, b]).to_f32(),
                _ => Block::read(self, bytes).dequantise(self, values),
            }
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}
