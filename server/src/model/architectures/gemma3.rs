//! Gemma 3, its text: heads are normed, and the layers with a sliding window rotate by frequencies
//! of their own.
use super::{Architecture, ConfigFields, GgufFields, Refusal, gemma2, names};
use crate::model::{
    rope::Frequencies,
    spec::{DecoderSpec, RopePairs, RopeSpec},
};

pub(super) const IN_GGUF: Architecture = Architecture {
    name: "gemma3",
    from_gguf: Some(from_gguf),
    from_config: None,
    place: names::place,
};

pub(super) const IN_CONFIG: Architecture = Architecture {
    name: "gemma3_text",
    from_gguf: None,
    from_config: Some(from_config),
    place: names::place,
};

/// One layer in so many sees the whole sequence, the last of each group.
const PATTERN: usize = 6;
/// Base of the frequencies of layers with a sliding window; GGUF does not say it.
const LOCAL_BASE: f64 = 10_000.0;
/// Layers of the 27B model, whose scale is not that of its heads; GGUF does not say so.
const LAYERS_OF_27B: usize = 62;

fn from_gguf(fields: &GgufFields) -> Result<DecoderSpec, Refusal> {
    let mut spec = gemma2::common(fields.decoder(RopePairs::Halves)?);
    spec.norms.per_head = true;
    if spec.layers == LAYERS_OF_27B {
        spec.attention.scale = 1.0 / (spec.hidden as f64 / spec.heads as f64).sqrt();
    }
    let window = fields.required("attention.sliding_window")?;
    let pattern = fields.number("attention.sliding_window_pattern");
    let pattern = pattern.unwrap_or(PATTERN).max(1);
    for (layer, slot) in spec.attention.windows.iter_mut().enumerate() {
        *slot = Some(window).filter(|_| !(layer + 1).is_multiple_of(pattern));
    }
    spec.output_soft_cap = fields.float("final_logit_softcapping");
    spec.local_rope = Some(local(&spec, LOCAL_BASE));
    Ok(spec)
}

fn from_config(fields: &ConfigFields) -> Result<DecoderSpec, Refusal> {
    let mut spec = gemma2::common(fields.decoder()?);
    gemma2::config(fields, &mut spec)?;
    spec.norms.per_head = true;
    let pattern = fields.number("sliding_window_pattern").unwrap_or(PATTERN);
    let pattern = pattern.max(1);
    spec.attention.windows =
        fields.windows(spec.layers, |layer| !(layer + 1).is_multiple_of(pattern))?;
    let base = fields.local_rope_base().unwrap_or(LOCAL_BASE);
    spec.local_rope = Some(local(&spec, base));
    Ok(spec)
}

fn local(spec: &DecoderSpec, base: f64) -> RopeSpec {
    RopeSpec {
        pairs: RopePairs::Halves,
        frequencies: Frequencies::new(base, spec.head_dim).into_vec(),
        long: None,
        magnitude: 1.0,
    }
}
