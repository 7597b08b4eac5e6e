//! Decoders over packed rows: what they are (a specification), where their weights are, and the
//! backends that compute them; and models that only a library computes, one sequence at a time.
mod architectures;
mod backend;
mod candle;
mod cpu;
mod rope;
mod sequential;
pub mod spec;
#[cfg(test)]
pub(crate) mod testing;
pub mod weights;

pub use architectures::{Description, supported as supported_architectures};
pub use backend::{Backend, build};
pub use candle::Target;
pub use cpu::CpuError;
pub use sequential::SequentialModel;
pub use spec::DecoderSpec;
pub use weights::{DecoderWeights, LayerWeight, Role, Weight, WeightMatrix, WeightTensor};
