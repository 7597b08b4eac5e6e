//! Phi-3 and Phi-4-mini: queries, keys and values are one tensor, gate and up another.
use super::{Architecture, ConfigFields, GgufFields, Naming, Place, Refusal, names};
use crate::model::{
    spec::{DecoderSpec, RopePairs},
    weights::{LayerWeight as Layer, Weight},
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "phi3",
    from_gguf: Some(from_gguf),
    from_config: Some(from_config),
    place,
};

fn from_gguf(fields: &GgufFields) -> Result<DecoderSpec, Refusal> {
    fields.decoder(RopePairs::Halves)
}

fn from_config(fields: &ConfigFields) -> Result<DecoderSpec, Refusal> {
    let mut spec = fields.decoder()?;
    spec.attention.windows = fields.windows(spec.layers, |_| true)?;
    Ok(spec)
}

fn place(naming: Naming, spec: &DecoderSpec, weight: Weight) -> Place {
    let Weight::Layer(index, layer) = weight else {
        return names::place(naming, spec, weight);
    };
    let queries = spec.heads * spec.head_dim;
    let keys = queries + spec.kv_heads * spec.head_dim;
    let values = keys + spec.kv_heads * spec.head_dim;
    let (attention, feed_forward) = match naming {
        Naming::Gguf => ("attn_qkv.weight", "ffn_up.weight"),
        Naming::HuggingFace => ("self_attn.qkv_proj.weight", "mlp.gate_up_proj.weight"),
    };
    let rows = |tensor, rows| Place::rows(naming.in_layer(index, tensor), rows);
    match layer {
        Layer::Query => rows(attention, 0..queries),
        Layer::Key => rows(attention, queries..keys),
        Layer::Value => rows(attention, keys..values),
        Layer::Gate => rows(feed_forward, 0..spec.feed_forward),
        Layer::Up => rows(feed_forward, spec.feed_forward..2 * spec.feed_forward),
        _ => names::place(naming, spec, weight),
    }
}
