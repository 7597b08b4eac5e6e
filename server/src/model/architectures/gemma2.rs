//! Gemma 2: scaled embeddings, norms before and after, soft caps, and a sliding window in every
//! other layer.
use super::{Architecture, ConfigFields, GgufFields, Refusal, names};
use crate::model::spec::{Activation, DecoderSpec, RopePairs};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "gemma2",
    from_gguf: Some(from_gguf),
    from_config: Some(from_config),
    place: names::place,
};

/// Layers of the 27B model, whose scale is not that of its heads; GGUF does not say so.
const LAYERS_OF_27B: usize = 46;

fn from_gguf(fields: &GgufFields) -> Result<DecoderSpec, Refusal> {
    let mut spec = common(fields.decoder(RopePairs::Halves)?);
    if spec.layers == LAYERS_OF_27B {
        spec.attention.scale = scale(spec.hidden as f64 / spec.heads as f64);
    }
    let window = fields.number("attention.sliding_window").unwrap_or(4096);
    for (layer, slot) in spec.attention.windows.iter_mut().enumerate() {
        *slot = Some(window).filter(|_| layer.is_multiple_of(2));
    }
    spec.attention.soft_cap = Some(fields.float("attn_logit_softcapping").unwrap_or(50.0));
    spec.output_soft_cap = Some(fields.float("final_logit_softcapping").unwrap_or(30.0));
    Ok(spec)
}

fn from_config(fields: &ConfigFields) -> Result<DecoderSpec, Refusal> {
    let mut spec = common(fields.decoder()?);
    config(fields, &mut spec)?;
    spec.attention.windows = fields.windows(spec.layers, |layer| layer.is_multiple_of(2))?;
    Ok(spec)
}

/// What the files of all Gemmas since the second have in common.
pub(super) fn common(mut spec: DecoderSpec) -> DecoderSpec {
    spec.embedding_scale = (spec.hidden as f64).sqrt();
    spec.norms.after = true;
    spec.activation = Activation::GeluTanh;
    spec
}

/// What the `config.json` of all Gemmas since the second has in common.
pub(super) fn config(fields: &ConfigFields, spec: &mut DecoderSpec) -> Result<(), Refusal> {
    // GGUF stores 1 + w.
    spec.norms.stored_less_one = true;
    spec.tied_output = fields.flag("tie_word_embeddings", true);
    spec.attention.scale = scale(fields.required("query_pre_attn_scalar")? as f64);
    spec.attention.soft_cap = fields.float("attn_logit_softcapping");
    spec.output_soft_cap = fields.float("final_logit_softcapping");
    if fields.flag("use_bidirectional_attention", false) {
        return Err(fields.unsupported("bidirectional attention"));
    }
    Ok(())
}

fn scale(width: f64) -> f64 {
    1.0 / width.sqrt()
}
