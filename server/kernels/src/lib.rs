//! Where the server touches memory directly: the only crate with `unsafe` code.
#![allow(unsafe_code)]

mod attention;
pub mod format;
mod mapped_file;
pub mod matrix;
mod norm;
mod peak;
pub mod pool;
mod rope;
mod size;
mod vector;

pub use attention::{
    Attention, AttentionError, AttentionOptions, Batch, HeadWriter, KvCache, KvShape, Parallel,
    Partials, Sequence, Serial,
};
pub use format::Format;
pub use mapped_file::MappedFile;
pub use matrix::Matrix;
pub use norm::{rms_norm, rms_norm_heads};
pub use peak::Int8Multiplier;
pub use pool::Pool;
pub use rope::{Pairing, RotaryTable};
pub use size::{Rows, SizeError};
pub use vector::{
    Level, add_bias, argmax, gelu_tanh, gelu_tanh_multiply, multiply, scale, silu, silu_multiply,
    soft_cap,
};
