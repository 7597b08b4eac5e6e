//! Which code computes a decoder.
use super::{
    candle::{CandleDecoder, Target},
    cpu::{self, CpuDecoder},
    spec::DecoderSpec,
    weights::DecoderWeights,
};
use crate::{
    engine::Engine,
    load::{LoadError, formats::bytes_of},
};
use candle_core::{Device, quantized::GgmlDType};

/// The backends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
    /// Tensors of the candle library, on a device of this kind.
    Candle(Target),
    /// Kernels of our own, on the CPU.
    Cpu,
}

impl Backend {
    /// The backend for a decoder on `device`.
    pub const fn choose(spec: &DecoderSpec, device: &Device) -> Self {
        match device {
            Device::Cpu if cpu::supports(spec) => Self::Cpu,
            device => Self::Candle(Target::of(device)),
        }
    }

    /// Its name in metrics and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Candle(_) => "candle",
            Self::Cpu => "kernels",
        }
    }

    /// Bytes in which the backend holds a matrix that it is handed as `format`.
    pub fn matrix_bytes(self, format: GgmlDType, rows: usize, columns: usize) -> u64 {
        match self {
            Self::Candle(target) => target.matrix_bytes(format, rows, columns),
            Self::Cpu => {
                let elements = rows * columns;
                let bytes = bytes_of(cpu::held_as(format), elements);
                bytes.unwrap_or(elements * size_of::<f32>()) as u64
            }
        }
    }

    /// Bytes of KV cache for one token.
    pub fn kv_bytes_per_token(self, spec: &DecoderSpec) -> u64 {
        match self {
            Self::Candle(target) => target.kv_bytes_per_token(spec),
            Self::Cpu => cpu::kv_bytes_per_token(spec),
        }
    }

    /// The best float format for full-precision weights that nobody chose one for, where it is
    /// another than theirs.
    pub const fn better_float(self, stored: GgmlDType) -> Option<GgmlDType> {
        match (self, stored) {
            // Half the memory at twice the speed, and no less range.
            (Self::Candle(Target::Cuda), GgmlDType::F32) => Some(GgmlDType::BF16),
            _ => None,
        }
    }
}

/// Reads `weights` into an engine for sequences of up to `context_length` tokens, with a KV cache
/// of `kv_blocks` blocks.
pub fn build(
    backend: Backend,
    weights: &DecoderWeights,
    context_length: usize,
    kv_blocks: usize,
    device: &Device,
) -> Result<Box<dyn Engine>, LoadError> {
    match backend {
        Backend::Candle(_) => {
            let decoder = CandleDecoder::load(weights, context_length, kv_blocks, device)?;
            Ok(Box::new(decoder))
        }
        Backend::Cpu => {
            let threads = rayon::current_num_threads();
            let decoder = CpuDecoder::load(weights, context_length, kv_blocks, threads)?;
            Ok(Box::new(decoder))
        }
    }
}
