//! Mistral: Llama with a sliding window in its first version. In GGUF it is called `llama`.
use super::{Architecture, ConfigFields, Refusal, names};
use crate::model::spec::DecoderSpec;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "mistral",
    from_gguf: None,
    from_config: Some(from_config),
    place: names::place,
};

fn from_config(fields: &ConfigFields) -> Result<DecoderSpec, Refusal> {
    let mut spec = fields.decoder()?;
    spec.attention.windows = fields.windows(spec.layers, |_| true)?;
    Ok(spec)
}
