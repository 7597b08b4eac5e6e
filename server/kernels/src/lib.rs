//! Where the server touches memory directly: the only crate with `unsafe` code.
#![allow(unsafe_code)]

mod mapped_file;

pub use mapped_file::MappedFile;
