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

/// Reads the weights of `file` and builds the model with a KV cache of `kv_blocks` blocks.
/// `context_length` is in tokens; `progress` is told the percentage of weights read.
pub fn build(
    file: &GgufFile,
    shape: &ModelShape,
    context_length: usize,
    kv_blocks: usize,
    device: &Device,
    progress: &(dyn Fn(u8) + Sync),
) -> Result<Box<dyn Engine>, LoadError> {
    // `ModelShape::of` lets only supported architectures pass, and so far there is one.
    let model = llama::Llama::load(file, shape, context_length, kv_blocks, device, progress)?;
    Ok(Box::new(model))
}
