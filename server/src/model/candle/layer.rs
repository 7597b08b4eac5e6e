//! One transformer block.
use super::{
    attention::Attention,
    cache::LayerCache,
    matrix::{Matrix, Norm, optional_norm},
    paged::{PagedAttention, PagedStep},
    rotary::{RotaryRows, join_heads, split_heads},
    target::Target,
};
use crate::{
    load::LoadError,
    model::{
        spec::Activation,
        weights::{DecoderWeights, LayerWeight, Weight},
    },
};
use candle_core::{Device, Result, Tensor};

pub(super) struct Layer {
    attention_norm: Norm,
    query: Matrix,
    key: Matrix,
    value: Matrix,
    query_norm: Option<Norm>,
    key_norm: Option<Norm>,
    attention: Attention,
    paged: PagedAttention,
    attention_output: Matrix,
    after_attention_norm: Option<Norm>,
    feed_forward_norm: Norm,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
    after_feed_forward_norm: Option<Norm>,
    activation: Activation,
    heads: usize,
    kv_heads: usize,
    cache: LayerCache,
}

impl Layer {
    pub(super) fn load(
        weights: &DecoderWeights,
        index: usize,
        kv_blocks: usize,
        target: Target,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        let spec = weights.spec();
        let matrix = |weight| Matrix::load(weights, Weight::Layer(index, weight), target, device);
        let norm = |weight| Norm::load(weights, Weight::Layer(index, weight), device);
        let optional = |present, weight| optional_norm(weights, present, index, weight, device);
        let biased = |weight, bias| {
            let bias = spec.attention.biases.then_some(Weight::Layer(index, bias));
            matrix(weight)?.with_bias(weights, bias, device)
        };
        let norms = spec.norms;
        Ok(Self {
            attention_norm: norm(LayerWeight::AttentionNorm)?,
            query: biased(LayerWeight::Query, LayerWeight::QueryBias)?,
            key: biased(LayerWeight::Key, LayerWeight::KeyBias)?,
            value: biased(LayerWeight::Value, LayerWeight::ValueBias)?,
            query_norm: optional(norms.per_head, LayerWeight::QueryNorm)?,
            key_norm: optional(norms.per_head, LayerWeight::KeyNorm)?,
            attention: Attention {
                scale: spec.attention.scale,
                soft_cap: spec.attention.soft_cap,
                window: spec.window(index),
            },
            paged: PagedAttention::choose(device, spec.head_dim),
            attention_output: matrix(LayerWeight::AttentionOutput)?,
            after_attention_norm: optional(norms.after, LayerWeight::AfterAttentionNorm)?,
            feed_forward_norm: norm(LayerWeight::FeedForwardNorm)?,
            gate: matrix(LayerWeight::Gate)?,
            up: matrix(LayerWeight::Up)?,
            down: matrix(LayerWeight::Down)?,
            after_feed_forward_norm: optional(norms.after, LayerWeight::AfterFeedForwardNorm)?,
            activation: spec.activation,
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            cache: LayerCache::new(
                kv_blocks,
                spec.kv_heads,
                spec.head_dim,
                target.cache_type(),
                device,
            )?,
        })
    }

    pub(super) fn forward(
        &self,
        rows: &Tensor,
        rotary: &RotaryRows,
        step: &PagedStep,
    ) -> Result<Tensor> {
        let attended = self.attend(&self.attention_norm.forward(rows)?, rotary, step)?;
        let rows = (rows + normed(self.after_attention_norm.as_ref(), attended)?)?;
        let fed = self.feed_forward(&self.feed_forward_norm.forward(&rows)?)?;
        rows + normed(self.after_feed_forward_norm.as_ref(), fed)?
    }

    fn attend(&self, rows: &Tensor, rotary: &RotaryRows, step: &PagedStep) -> Result<Tensor> {
        let rotated = |matrix: &Matrix, norm: Option<&Norm>, heads| {
            let split = split_heads(&matrix.forward(rows)?, heads)?;
            rotary.rotate(&normed(norm, split)?)
        };
        let queries = rotated(&self.query, self.query_norm.as_ref(), self.heads)?;
        let keys = rotated(&self.key, self.key_norm.as_ref(), self.kv_heads)?;
        let values = self.value.forward(rows)?;
        self.cache.write(step, &join_heads(&keys)?, &values)?;
        let mixed = self
            .paged
            .attend(&self.attention, &queries, &self.cache, step)?;
        self.attention_output.forward(&mixed)
    }

    fn feed_forward(&self, rows: &Tensor) -> Result<Tensor> {
        let gate = self.gate.forward(rows)?;
        let gate = match self.activation {
            Activation::Silu => gate.silu()?,
            Activation::GeluTanh => gate.gelu()?,
        };
        self.down.forward(&(gate * self.up.forward(rows)?)?)
    }
}

fn normed(norm: Option<&Norm>, rows: Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&rows),
        None => Ok(rows),
    }
}
