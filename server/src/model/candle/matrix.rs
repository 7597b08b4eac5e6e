//! Weights as the tensor library computes with them.
use super::target::Target;
use crate::{
    load::{
        LoadError,
        formats::{convert, float_type, widen},
    },
    model::weights::{DecoderWeights, LayerWeight, Weight, WeightMatrix},
};
use candle_core::{
    DType, Device, Module, Result, Tensor,
    quantized::{GgmlDType, QMatMul, QTensor, ggml_file::qtensor_from_ggml},
};
use std::borrow::Cow;

/// The library's blocks are aligned to at most so many bytes.
const ALIGNMENT: usize = 8;

/// A matrix, and the bias of what it gives.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    weights: QMatMul,
    bias: Option<Tensor>,
}

impl Matrix {
    pub(super) fn load(
        weights: &DecoderWeights,
        weight: Weight,
        target: Target,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        let matrix = weights.matrix(weight)?;
        let held = target.held_as(matrix.format);
        Ok(Self {
            weights: on_device(&matrix, held, device)?,
            bias: None,
        })
    }

    /// With the bias `bias`, where the decoder has biases.
    pub(super) fn with_bias(
        mut self,
        weights: &DecoderWeights,
        bias: Option<Weight>,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        if let Some(bias) = bias {
            self.bias = Some(Tensor::new(weights.vector(bias)?, device)?);
        }
        Ok(self)
    }

    /// The rows of a table, one for each of `ids`, in 32 bits.
    pub(super) fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        self.weights.embedding(ids)?.to_dtype(DType::F32)
    }

    /// Rows are in 32 bits before and after. A product with floats of 16 bits is one of 16 bits,
    /// which GPUs have units for; the sums of the layers stay exact.
    pub(super) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let product = match &self.weights {
            QMatMul::Tensor(weights) if weights.dtype() != rows.dtype() => {
                let rows = rows.to_dtype(weights.dtype())?;
                self.weights.forward(&rows)?.to_dtype(DType::F32)?
            }
            weights => weights.forward(rows)?,
        };
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}

fn on_device(matrix: &WeightMatrix, held: GgmlDType, device: &Device) -> Result<QMatMul> {
    let dimensions = vec![matrix.rows, matrix.columns];
    if held == GgmlDType::F32 {
        let floats = widen(&matrix.bytes, matrix.format);
        return Ok(QMatMul::Tensor(Tensor::from_vec(
            floats, dimensions, device,
        )?));
    }
    let bytes = convert(&matrix.bytes, matrix.format, held)?;
    if let Some(float) = float_type(held) {
        let tensor = Tensor::from_raw_buffer(&bytes, float, &dimensions, device)?;
        return Ok(QMatMul::Tensor(tensor));
    }
    // The library reads blocks where they lie. In the files they need not be aligned; what was
    // allocated is.
    let bytes = if bytes.as_ptr().align_offset(ALIGNMENT) == 0 {
        bytes
    } else {
        Cow::Owned(bytes.into_owned())
    };
    let tensor: QTensor = qtensor_from_ggml(held, &bytes, dimensions, device)?;
    QMatMul::from_qtensor(tensor)
}

/// A root-mean-square norm of the last dimension.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    weights: Tensor,
    epsilon: f32,
}

impl Norm {
    pub(super) fn load(
        weights: &DecoderWeights,
        weight: Weight,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        #[expect(clippy::cast_possible_truncation, reason = "rows are 32-bit floats")]
        let epsilon = weights.spec().norms.epsilon as f32;
        Ok(Self {
            weights: Tensor::new(weights.vector(weight)?, device)?,
            epsilon,
        })
    }

    pub(super) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        candle_nn::ops::rms_norm(&rows.contiguous()?, &self.weights, self.epsilon)
    }
}

/// The norm `weight` of layer `index`, where `present`.
pub(super) fn optional_norm(
    weights: &DecoderWeights,
    present: bool,
    index: usize,
    weight: LayerWeight,
    device: &Device,
) -> std::result::Result<Option<Norm>, LoadError> {
    present
        .then(|| Norm::load(weights, Weight::Layer(index, weight), device))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows are rounded to 8 bits for products with blocks, and nothing else may be lost.
    #[test]
    fn products_with_blocks_are_those_with_their_values() {
        let device = Device::Cpu;
        let numbers = |count: u32, step: f32| -> Vec<f32> {
            (0..count)
                .map(|index| (index as f32 * step).sin())
                .collect()
        };
        let rows = Tensor::from_vec(numbers(5 * 512, 0.7), (5, 512), &device).unwrap();
        let weights = Tensor::from_vec(numbers(48 * 512, 0.37), (48, 512), &device).unwrap();
        for format in [
            GgmlDType::Q8_0,
            GgmlDType::Q6K,
            GgmlDType::Q5K,
            GgmlDType::Q4K,
            GgmlDType::Q5_0,
            GgmlDType::Q5_1,
            GgmlDType::Q4_0,
        ] {
            let blocks = QTensor::quantize(&weights, format).unwrap();
            let values = blocks.dequantize(&device).unwrap();
            let wanted = rows.matmul(&values.t().unwrap()).unwrap();
            for count in [1, 5] {
                let rows = rows.narrow(0, 0, count).unwrap();
                let wanted = wanted.narrow(0, 0, count).unwrap();
                let blocks = QTensor::quantize(&weights, format).unwrap();
                let got = QMatMul::from_qtensor(blocks)
                    .unwrap()
                    .forward(&rows)
                    .unwrap();
                let sum = |tensor: &Tensor| {
                    let squares = tensor.sqr().unwrap().sum_all().unwrap();
                    squares.to_scalar::<f32>().unwrap()
                };
                let off = (sum(&(got - &wanted).unwrap()) / sum(&wanted)).sqrt();
                assert!(off < 0.06, "{format:?} with {count} rows: {off} off");
            }
        }
    }
}
