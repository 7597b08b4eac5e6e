//! Rotary position embedding over packed rows (Su et al., 2021, "RoFormer").
use super::shape::ModelShape;
use candle_core::{Device, Result, Tensor};

/// Cosines and sines for every position: `[context, head_dim / 2]` each.
#[derive(Debug)]
pub(super) struct RotaryTable {
    cos: Tensor,
    sin: Tensor,
}

/// Cosines and sines of the rows of one batch.
pub(super) struct RotaryRows {
    cos: Tensor,
    sin: Tensor,
}

impl RotaryTable {
    /// `factors` divide the frequencies one by one (Llama 3.1's long context).
    pub(super) fn new(
        shape: &ModelShape,
        context: usize,
        factors: Option<&[f32]>,
        device: &Device,
    ) -> Result<Self> {
        let half = shape.head_dim / 2;
        let frequencies: Vec<f32> = (0..half)
            .map(|index| {
                let exponent = 2.0 * index as f64 / shape.head_dim as f64;
                let factor = factors
                    .and_then(|factors| factors.get(index))
                    .map_or(1.0, |&factor| f64::from(factor));
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "angles are computed in 32 bits"
                )]
                let frequency =
                    (1.0 / (shape.rope_base.powf(exponent) * factor * shape.rope_scale)) as f32;
                frequency
            })
            .collect();
        let frequencies = Tensor::from_vec(frequencies, (1, half), device)?;
        let positions: Vec<f32> = (0..context).map(|position| position as f32).collect();
        let angles = Tensor::from_vec(positions, (context, 1), device)?.matmul(&frequencies)?;
        Ok(Self {
            cos: angles.cos()?,
            sin: angles.sin()?,
        })
    }

    /// The rows at `positions` (`[rows]`, 32-bit unsigned).
    pub(super) fn rows(&self, positions: &Tensor) -> Result<RotaryRows> {
        Ok(RotaryRows {
            cos: self.cos.index_select(positions, 0)?,
            sin: self.sin.index_select(positions, 0)?,
        })
    }
}

impl RotaryRows {
    /// Rotates `[rows, heads × head_dim]` and returns `[1, heads, rows, head_dim]`. GGUF stores
    /// the pairs of Llama's heads next to each other.
    pub(super) fn rotate(&self, rows: &Tensor, heads: usize) -> Result<Tensor> {
        let heads_first = split_heads(rows, heads)?;
        candle_nn::rotary_emb::rope_i(&heads_first, &self.cos, &self.sin)
    }
}

/// `[rows, heads × head_dim]` to `[1, heads, rows, head_dim]`.
pub(super) fn split_heads(rows: &Tensor, heads: usize) -> Result<Tensor> {
    let (count, width) = rows.dims2()?;
    rows.reshape((1, count, heads, width / heads))?
        .transpose(1, 2)?
        .contiguous()
}
