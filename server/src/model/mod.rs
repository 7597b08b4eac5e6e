//! Decoders over packed rows: what they are (a specification), where their weights are, and the
//! backends that compute them.
mod architectures;
mod backend;
mod candle;
mod cpu;
mod rope;
pub mod spec;
#[cfg(test)]
pub(crate) mod testing;
pub mod weights;

pub use architectures::{Description, supported as supported_architectures};
pub use backend::{Backend, build};
pub use cpu::CpuError;
pub use spec::DecoderSpec;
pub use weights::{DecoderWeights, LayerWeight, Role, Weight, WeightMatrix, WeightTensor};
