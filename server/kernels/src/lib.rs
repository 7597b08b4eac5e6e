//! Where the server touches memory directly: the only crate with `unsafe` code.
#![allow(unsafe_code)]

pub mod dispatch;
pub mod format;
mod mapped_file;
pub mod matrix;
pub mod pool;

pub use dispatch::{InstructionSet, Kernels};
pub use format::Format;
pub use mapped_file::MappedFile;
pub use matrix::Matrix;
pub use pool::Pool;
