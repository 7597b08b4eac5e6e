//! Qwen 2 and 2.5: queries, keys and values have biases.
use super::{Architecture, ConfigFields, GgufFields, Refusal, hugging_face, names};
use crate::model::spec::{DecoderSpec, RopePairs};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "qwen2",
    from_gguf: Some(from_gguf),
    from_config: Some(from_config),
    place: names::place,
};

fn from_gguf(fields: &GgufFields) -> Result<DecoderSpec, Refusal> {
    let mut spec = fields.decoder(RopePairs::Halves)?;
    spec.attention.biases = true;
    Ok(spec)
}

fn from_config(fields: &ConfigFields) -> Result<DecoderSpec, Refusal> {
    let mut spec = fields.decoder()?;
    spec.attention.biases = true;
    spec.attention.windows = windows(fields, spec.layers)?;
    Ok(spec)
}

/// Qwen's own switch for sliding windows, which the layers from `max_window_layers` on have.
pub(super) fn windows(fields: &ConfigFields, layers: usize) -> Result<Vec<Option<usize>>, Refusal> {
    if !fields.flag("use_sliding_window", false) {
        return Ok(hugging_face::everything(layers));
    }
    let first = fields.number("max_window_layers").unwrap_or(layers);
    fields.windows(layers, |layer| layer >= first)
}
