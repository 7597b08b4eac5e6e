//! Where weights are stored, by the names that most architectures share.
use crate::model::{
    spec::DecoderSpec,
    weights::{LayerWeight as Layer, Weight},
};
use std::ops::Range;

/// Whose names a file uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::model) enum Naming {
    Gguf,
    HuggingFace,
}

/// A stored tensor, or some rows of one that holds several weights.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::model) struct Place {
    pub(in crate::model) tensor: String,
    pub(in crate::model) rows: Option<Range<usize>>,
}

impl Place {
    pub(super) fn whole(tensor: String) -> Self {
        Self { tensor, rows: None }
    }

    pub(super) fn rows(tensor: String, rows: Range<usize>) -> Self {
        Self {
            tensor,
            rows: Some(rows),
        }
    }
}

impl Naming {
    /// The tensor `part` (without `.weight` or `.bias`) of layer `index`.
    pub(super) fn in_layer(self, index: usize, part: &str) -> String {
        match self {
            Self::Gguf => format!("blk.{index}.{part}"),
            Self::HuggingFace => format!("model.layers.{index}.{part}"),
        }
    }
}

/// The place of `weight` where every weight is a tensor of its own.
pub(super) fn place(naming: Naming, spec: &DecoderSpec, weight: Weight) -> Place {
    let gguf = naming == Naming::Gguf;
    let choose = |in_gguf: &str, in_hugging_face: &str| {
        (if gguf { in_gguf } else { in_hugging_face }).to_owned()
    };
    Place::whole(match weight {
        Weight::Embeddings => choose("token_embd.weight", "model.embed_tokens.weight"),
        Weight::Output => choose("output.weight", "lm_head.weight"),
        Weight::FinalNorm => choose("output_norm.weight", "model.norm.weight"),
        Weight::Layer(index, layer) => naming.in_layer(
            index,
            if gguf {
                in_gguf(layer)
            } else {
                in_hugging_face(layer, spec)
            },
        ),
    })
}

fn in_gguf(weight: Layer) -> &'static str {
    match weight {
        Layer::AttentionNorm => "attn_norm.weight",
        Layer::Query => "attn_q.weight",
        Layer::Key => "attn_k.weight",
        Layer::Value => "attn_v.weight",
        Layer::QueryBias => "attn_q.bias",
        Layer::KeyBias => "attn_k.bias",
        Layer::ValueBias => "attn_v.bias",
        Layer::QueryNorm => "attn_q_norm.weight",
        Layer::KeyNorm => "attn_k_norm.weight",
        Layer::AttentionOutput => "attn_output.weight",
        Layer::AfterAttentionNorm => "post_attention_norm.weight",
        Layer::FeedForwardNorm => "ffn_norm.weight",
        Layer::Gate => "ffn_gate.weight",
        Layer::Up => "ffn_up.weight",
        Layer::Down => "ffn_down.weight",
        Layer::AfterFeedForwardNorm => "post_ffw_norm.weight",
    }
}

fn in_hugging_face(weight: Layer, spec: &DecoderSpec) -> &'static str {
    match weight {
        Layer::AttentionNorm => "input_layernorm.weight",
        Layer::Query => "self_attn.q_proj.weight",
        Layer::Key => "self_attn.k_proj.weight",
        Layer::Value => "self_attn.v_proj.weight",
        Layer::QueryBias => "self_attn.q_proj.bias",
        Layer::KeyBias => "self_attn.k_proj.bias",
        Layer::ValueBias => "self_attn.v_proj.bias",
        Layer::QueryNorm => "self_attn.q_norm.weight",
        Layer::KeyNorm => "self_attn.k_norm.weight",
        Layer::AttentionOutput => "self_attn.o_proj.weight",
        Layer::FeedForwardNorm if spec.norms.after => "pre_feedforward_layernorm.weight",
        // Where there is no norm after attention, this is what the name stands for.
        Layer::FeedForwardNorm | Layer::AfterAttentionNorm => "post_attention_layernorm.weight",
        Layer::Gate => "mlp.gate_proj.weight",
        Layer::Up => "mlp.up_proj.weight",
        Layer::Down => "mlp.down_proj.weight",
        Layer::AfterFeedForwardNorm => "post_feedforward_layernorm.weight",
    }
}
