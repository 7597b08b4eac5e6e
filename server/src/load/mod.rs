//! From a file to a model that serves: checks, weights, warm-up, and how far it has come.
pub mod checksum;
pub mod error;
pub mod gguf;
pub mod host;
pub mod memory;
pub mod model;
mod q4_1;

pub use error::LoadError;
pub use host::ModelHost;
pub use model::{LoadTrace, ServedModel};
