//! From a file to a model that serves: checks, weights, warm-up, and how far it has come.
pub mod checksum;
pub mod device;
pub mod error;
pub mod fetch;
pub mod files;
pub mod formats;
pub mod gguf;
pub mod host;
pub mod hugging_face;
mod lock;
pub mod memory;
pub mod mock;
pub mod model;
mod open;
mod plan;
pub mod precision;
mod prepare;
mod q4_1;
mod quantised;
pub mod safetensors;
pub mod source;

pub use error::LoadError;
pub use files::ModelFiles;
pub use host::ModelHost;
pub use model::{LoadTrace, ServedModel};
pub use source::{StoredTensor, WeightSource};
