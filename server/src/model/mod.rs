//! Architectures over packed rows: the tensor code between token ids and logits.
mod attention;
mod llama;
mod rope;
mod shape;

pub use shape::{ARCHITECTURES, ModelShape};

use crate::{
    engine::Engine,
    load::{LoadError, gguf::GgufFile},
};
use candle_core::Device;

/// Reads the weights of `file` and builds the model. `context_length` and `kv_cache_tokens` are
/// in tokens; `progress` is told the percentage of weights read.
pub fn build(
    file: &GgufFile,
    shape: &ModelShape,
    context_length: usize,
    kv_cache_tokens: usize,
    device: &Device,
    progress: &(dyn Fn(u8) + Sync),
) -> Result<Box<dyn Engine>, LoadError> {
    // `ModelShape::of` lets only supported architectures pass, and so far there is one.
    let model = llama::Llama::load(
        file,
        shape,
        context_length,
        kv_cache_tokens,
        device,
        progress,
    )?;
    Ok(Box::new(model))
}
