//! Which code computes a decoder.
use super::{
    candle::{self, CandleDecoder},
    cpu::{self, CpuDecoder},
    spec::DecoderSpec,
    weights::DecoderWeights,
};
use crate::{engine::Engine, load::LoadError};
use candle_core::{Device, quantized::GgmlDType};

/// The backends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
    /// Tensors of the candle library, on any of its devices.
    Candle,
    /// Kernels of our own, on the CPU.
    Cpu,
}

impl Backend {
    /// The backend for a decoder on `device`.
    pub const fn choose(spec: &DecoderSpec, device: &Device) -> Self {
        match device {
            Device::Cpu if cpu::supports(spec) => Self::Cpu,
            _ => Self::Candle,
        }
    }

    /// The format in which the backend holds a weight that it is handed as `format`.
    pub const fn held_as(self, format: GgmlDType) -> GgmlDType {
        match self {
            Self::Candle => candle::held_as(format),
            Self::Cpu => cpu::held_as(format),
        }
    }

    /// Bytes of KV cache for one token.
    pub fn kv_bytes_per_token(self, spec: &DecoderSpec) -> u64 {
        match self {
            Self::Candle => (spec.kv_elements_per_token() * size_of::<f32>()) as u64,
            Self::Cpu => cpu::kv_bytes_per_token(spec),
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
        Backend::Candle => {
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
