//! Where the server touches memory directly: the only crate with `unsafe` code.
#![allow(unsafe_code)]

mod mapped_file;
pub mod pool;

pub use mapped_file::MappedFile;
pub use pool::Pool;
