//! The backend on our own CPU kernels: weights are repacked once, and every step works on packed
//! rows in memory that is kept from step to step.
//!
//! A row's arithmetic has one order, whatever shares the step: a sequence gets the same logits, to
//! the bit, alone, in company and in chunks of any size.
mod decoder;
mod error;
mod feed_forward;
mod layer;
mod projection;
mod rotary;
mod threads;
mod weights;

pub(in crate::model) use decoder::CpuDecoder;
pub use error::CpuError;

use super::spec::DecoderSpec;
use candle_core::quantized::GgmlDType;
use candlepower_kernels::KvCache;

/// The widest head that the kernels know, and what widths are multiples of.
const WIDEST_HEAD: usize = 256;
const HEAD_STEP: usize = 8;

/// Whether the kernels can compute a decoder.
pub(in crate::model) const fn supports(spec: &DecoderSpec) -> bool {
    spec.head_dim <= WIDEST_HEAD && spec.head_dim.is_multiple_of(HEAD_STEP)
}

/// The format in which a weight is held: formats that the kernels do not read become 8 bits.
pub(in crate::model) const fn held_as(format: GgmlDType) -> GgmlDType {
    match weights::format(format) {
        Some(_) => format,
        None => GgmlDType::Q8_0,
    }
}

/// Bytes of KV cache for one token: half-precision floats.
pub(in crate::model) fn kv_bytes_per_token(spec: &DecoderSpec) -> u64 {
    KvCache::bytes_per_token(spec.layers, spec.kv_heads, spec.head_dim) as u64
}

#[cfg(test)]
mod tests;
