//! From stored weights to packed matrices.
use super::held_as;
use crate::{
    load::{LoadError, formats::convert},
    model::weights::{DecoderWeights, LayerWeight, Weight, WeightMatrix},
};
use candle_core::quantized::GgmlDType;
use candlepower_kernels::{
    Format, Matrix, Pool,
    matrix::{Arrangement, PackError, Part},
};
use std::borrow::Cow;

/// The kernels' name of a format; `None` where they do not read it.
pub(super) const fn format(format: GgmlDType) -> Option<Format> {
    match format {
        GgmlDType::F32 => Some(Format::F32),
        GgmlDType::F16 => Some(Format::F16),
        GgmlDType::BF16 => Some(Format::BF16),
        GgmlDType::Q8_0 => Some(Format::Q8_0),
        GgmlDType::Q4_0 => Some(Format::Q4_0),
        GgmlDType::Q4_1 => Some(Format::Q4_1),
        GgmlDType::Q5_0 => Some(Format::Q5_0),
        GgmlDType::Q5_1 => Some(Format::Q5_1),
        GgmlDType::Q4K => Some(Format::Q4_K),
        GgmlDType::Q5K => Some(Format::Q5_K),
        GgmlDType::Q6K => Some(Format::Q6_K),
        _ => None,
    }
}

/// Reads weights for one decoder.
pub(super) struct Reader<'a> {
    pub(super) weights: &'a DecoderWeights<'a>,
    pub(super) pool: &'a Pool,
}

impl Reader<'_> {
    /// One weight as a matrix.
    pub(super) fn matrix(&self, weight: Weight) -> Result<Matrix, LoadError> {
        self.pack(&[self.stored(weight)?], Arrangement::Stacked)
    }

    /// A weight in a format that the kernels read.
    fn stored(&self, weight: Weight) -> Result<WeightMatrix<'_>, LoadError> {
        let mut matrix = self.weights.matrix(weight)?;
        let held = held_as(matrix.format);
        if held != matrix.format {
            matrix.bytes = Cow::Owned(convert(&matrix.bytes, matrix.format, held)?.into_owned());
            matrix.format = held;
        }
        Ok(matrix)
    }

    /// Weights of a layer that the same rows are multiplied with, as few matrices: those of one
    /// format that follow each other become one.
    pub(super) fn stacked(
        &self,
        layer: usize,
        weights: &[LayerWeight],
    ) -> Result<Vec<Matrix>, LoadError> {
        let parts = weights
            .iter()
            .map(|&weight| self.stored(Weight::Layer(layer, weight)))
            .collect::<Result<Vec<_>, _>>()?;
        parts
            .chunk_by(|one, next| one.format == next.format)
            .map(|parts| self.pack(parts, Arrangement::Stacked))
            .collect()
    }

    /// A gate and what it gates in one matrix, where they have one format.
    pub(super) fn gated(&self, layer: usize) -> Result<Option<Matrix>, LoadError> {
        let weight = |weight| self.stored(Weight::Layer(layer, weight));
        let [gate, up] = [weight(LayerWeight::Gate)?, weight(LayerWeight::Up)?];
        if gate.format != up.format {
            return Ok(None);
        }
        self.pack(&[gate, up], Arrangement::Interleaved).map(Some)
    }

    pub(super) fn vector(&self, layer: usize, weight: LayerWeight) -> Result<Vec<f32>, LoadError> {
        self.weights.vector(Weight::Layer(layer, weight))
    }

    fn pack(
        &self,
        matrices: &[WeightMatrix<'_>],
        arrangement: Arrangement,
    ) -> Result<Matrix, LoadError> {
        let columns = matrices.first().map_or(0, |matrix| matrix.columns);
        let parts = matrices
            .iter()
            .map(|matrix| {
                Ok(Part {
                    bytes: &matrix.bytes,
                    format: format(matrix.format)
                        .ok_or_else(|| LoadError::Pack(format!("{:?}", matrix.format)))?,
                    rows: matrix.rows,
                })
            })
            .collect::<Result<Vec<_>, LoadError>>()?;
        Matrix::pack(self.pool, &parts, columns, arrangement)
            .map_err(|error: PackError| LoadError::Pack(error.to_string()))
    }
}
