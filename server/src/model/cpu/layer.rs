//! One transformer block.
use super::{
    CpuError,
    feed_forward::{FeedForward, Hidden},
    projection::{Projected, Projection, narrow},
    rotary::Rotary,
    threads::Threads,
    weights::Reader,
};
use crate::{
    load::LoadError,
    model::{
        spec::DecoderSpec,
        weights::{LayerWeight, Weight},
    },
};
use candlepower_kernels::{
    Attention, Batch, KvCache, Matrix, Partials,
    matrix::{Write, multiply},
};

pub(super) struct Layer {
    index: usize,
    attention_norm: Vec<f32>,
    projection: Projection,
    attention_output: Matrix,
    after_attention_norm: Option<Vec<f32>>,
    feed_forward_norm: Vec<f32>,
    feed_forward: FeedForward,
    after_feed_forward_norm: Option<Vec<f32>>,
    epsilon: f32,
}

/// Memory of a step, used by each layer in turn.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    normed: Vec<f32>,
    projected: Projected,
    attended: Vec<f32>,
    partials: Partials,
    hidden: Hidden,
    /// A result that is normed before it is added.
    result: Vec<f32>,
}

/// What the rows of a step are.
pub(super) struct Step<'a> {
    pub(super) batch: &'a Batch<'a>,
    pub(super) positions: &'a [u32],
}

impl Layer {
    pub(super) fn load(
        reader: &Reader<'_>,
        spec: &DecoderSpec,
        index: usize,
    ) -> Result<Self, LoadError> {
        let vector = |weight| reader.vector(index, weight);
        let after = |weight| spec.norms.after.then(|| vector(weight)).transpose();
        Ok(Self {
            index,
            attention_norm: vector(LayerWeight::AttentionNorm)?,
            projection: Projection::load(reader, spec, index)?,
            attention_output: reader.matrix(Weight::Layer(index, LayerWeight::AttentionOutput))?,
            after_attention_norm: after(LayerWeight::AfterAttentionNorm)?,
            feed_forward_norm: vector(LayerWeight::FeedForwardNorm)?,
            feed_forward: FeedForward::load(reader, spec, index)?,
            after_feed_forward_norm: after(LayerWeight::AfterFeedForwardNorm)?,
            epsilon: narrow(spec.norms.epsilon),
        })
    }

    /// Takes `rows`, `[rows, hidden]`, through the block.
    pub(super) fn forward(
        &self,
        threads: &mut Threads,
        step: &Step<'_>,
        (rotary, attention): (&Rotary, &Attention<'_>),
        cache: &mut KvCache,
        rows: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), CpuError> {
        let epsilon = self.epsilon;
        threads.norm(rows, &self.attention_norm, epsilon, &mut scratch.normed)?;
        self.attend(threads, step, (rotary, attention), cache, scratch)?;
        let (attended, result) = (&scratch.attended, &mut scratch.result);
        let after = self.after_attention_norm.as_deref();
        add_result(
            threads,
            rows,
            result,
            after,
            epsilon,
            |threads, out, write| {
                let product = &self.attention_output;
                let attended = threads.input(attended);
                let workspace = &mut threads.workspace;
                multiply(&threads.pool, product, attended, out, write, workspace)?;
                Ok(())
            },
        )?;
        threads.norm(rows, &self.feed_forward_norm, epsilon, &mut scratch.normed)?;
        let (normed, hidden) = (&scratch.normed, &mut scratch.hidden);
        let after = self.after_feed_forward_norm.as_deref();
        let result = &mut scratch.result;
        add_result(
            threads,
            rows,
            result,
            after,
            epsilon,
            |threads, out, write| self.feed_forward.run(threads, normed, hidden, out, write),
        )
    }

    /// Attention of the normed rows.
    fn attend(
        &self,
        threads: &mut Threads,
        step: &Step<'_>,
        (rotary, attention): (&Rotary, &Attention<'_>),
        cache: &mut KvCache,
        scratch: &mut Scratch,
    ) -> Result<(), CpuError> {
        let projected = &mut scratch.projected;
        self.projection
            .project(threads, &scratch.normed, step.positions, rotary, projected)?;
        let [queries, keys, values] = self.projection.parts(projected)?;
        let pool = &threads.pool;
        cache.write(threads.level, self.index, step.batch, keys, values, pool)?;
        let width = self.attention_output.columns();
        scratch.attended.resize(step.positions.len() * width, 0.0);
        attention.run(
            cache,
            self.index,
            queries,
            &mut scratch.attended,
            &mut scratch.partials,
            pool,
        )?;
        Ok(())
    }
}

/// Adds what `compute` gives to `rows`, normed by `after` where there is such a norm.
fn add_result(
    threads: &mut Threads,
    rows: &mut [f32],
    result: &mut Vec<f32>,
    after: Option<&[f32]>,
    epsilon: f32,
    compute: impl FnOnce(&mut Threads, &mut [f32], Write) -> Result<(), CpuError>,
) -> Result<(), CpuError> {
    let Some(weight) = after else {
        return compute(threads, rows, Write::Add);
    };
    result.resize(rows.len(), 0.0);
    compute(threads, result, Write::Store)?;
    let (width, level, result) = (weight.len(), threads.level, &*result);
    threads.for_rows(rows, width, |index, row| {
        let own = result.get(index * width..(index + 1) * width);
        let mut normed = own.unwrap_or_default().to_vec();
        candlepower_kernels::rms_norm_heads(level, &mut normed, weight, epsilon)?;
        candlepower_kernels::add_bias(level, row, &normed)?;
        Ok(())
    })
}
