//! Rotary position embedding over packed rows.
use crate::model::spec::{RopePairs, RopeSpec};
use candle_core::{D, DType, Device, Result, Tensor};

/// How positions become angles. A table of them all would take tens of megabytes for the long
/// contexts of today.
#[derive(Debug)]
pub(super) struct Rotary {
    /// `[1, pairs]`
    frequencies: Tensor,
    magnitude: f64,
    pairs: RopePairs,
}

/// Cosines and sines of the rows of one batch.
#[derive(Debug)]
pub(super) struct RotaryRows {
    cos: Tensor,
    sin: Tensor,
    pairs: RopePairs,
}

impl Rotary {
    /// For sequences of up to `context` tokens.
    pub(super) fn new(rope: &RopeSpec, context: usize, device: &Device) -> Result<Self> {
        let frequencies = rope.frequencies(context);
        Ok(Self {
            frequencies: Tensor::from_slice(frequencies, (1, frequencies.len()), device)?,
            magnitude: rope.magnitude,
            pairs: rope.pairs,
        })
    }

    /// The rows at `positions`.
    pub(super) fn rows(&self, positions: &[u32]) -> Result<RotaryRows> {
        let device = self.frequencies.device();
        let positions = Tensor::from_slice(positions, (positions.len(), 1), device)?;
        let angles = positions
            .to_dtype(DType::F32)?
            .broadcast_mul(&self.frequencies)?;
        Ok(RotaryRows {
            cos: (angles.cos()? * self.magnitude)?,
            sin: (angles.sin()? * self.magnitude)?,
            pairs: self.pairs,
        })
    }
}

impl RotaryRows {
    /// Rotates the beginning of every head of `[1, heads, rows, head_dim]`.
    pub(super) fn rotate(&self, heads: &Tensor) -> Result<Tensor> {
        let rotated = 2 * self.cos.dim(1)?;
        let width = heads.dim(D::Minus1)?;
        let turn = |heads: &Tensor| match self.pairs {
            RopePairs::Adjacent => candle_nn::rotary_emb::rope_i(heads, &self.cos, &self.sin),
            RopePairs::Halves => candle_nn::rotary_emb::rope(heads, &self.cos, &self.sin),
        };
        if rotated == width {
            return turn(heads);
        }
        let beginning = turn(&heads.narrow(D::Minus1, 0, rotated)?.contiguous()?)?;
        let rest = heads.narrow(D::Minus1, rotated, width - rotated)?;
        Tensor::cat(&[&beginning, &rest], D::Minus1)?.contiguous()
    }
}

/// `[rows, heads × head_dim]` to `[1, heads, rows, head_dim]`.
pub(super) fn split_heads(rows: &Tensor, heads: usize) -> Result<Tensor> {
    let (count, width) = rows.dims2()?;
    rows.reshape((1, count, heads, width / heads))?
        .transpose(1, 2)?
        .contiguous()
}

/// `[1, heads, rows, head_dim]` to `[rows, heads × head_dim]`.
pub(super) fn join_heads(heads: &Tensor) -> Result<Tensor> {
    heads.squeeze(0)?.transpose(0, 1)?.flatten(1, D::Minus1)
}
