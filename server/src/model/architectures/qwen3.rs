//! Qwen 3: every head of queries and keys is normed, and nothing has biases.
use super::{Architecture, ConfigFields, GgufFields, Refusal, names, qwen2};
use crate::model::spec::{DecoderSpec, RopePairs};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3",
    from_gguf: Some(from_gguf),
    from_config: Some(from_config),
    place: names::place,
};

fn from_gguf(fields: &GgufFields) -> Result<DecoderSpec, Refusal> {
    let mut spec = fields.decoder(RopePairs::Halves)?;
    spec.norms.per_head = true;
    Ok(spec)
}

fn from_config(fields: &ConfigFields) -> Result<DecoderSpec, Refusal> {
    let mut spec = fields.decoder()?;
    spec.norms.per_head = true;
    spec.attention.windows = qwen2::windows(fields, spec.layers)?;
    Ok(spec)
}
