//! Llama, and all models that say they are one: SmolLM, TinyLlama, Mistral in GGUF.
use super::{Architecture, ConfigFields, GgufFields, Refusal, names};
use crate::model::spec::{DecoderSpec, RopePairs};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "llama",
    from_gguf: Some(from_gguf),
    from_config: Some(from_config),
    place: names::place,
};

fn from_gguf(fields: &GgufFields) -> Result<DecoderSpec, Refusal> {
    fields.decoder(RopePairs::Adjacent)
}

fn from_config(fields: &ConfigFields) -> Result<DecoderSpec, Refusal> {
    fields.decoder()
}
