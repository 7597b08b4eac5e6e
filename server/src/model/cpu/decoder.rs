//! The decoder from token ids to logits.
use super::{
    CpuError,
    layer::{Layer, Scratch, Step},
    projection::narrow,
    rotary::Rotary,
    threads::Threads,
    weights::Reader,
};
use crate::{
    engine::{Batch, Engine, EngineError, EngineLimits},
    load::LoadError,
    model::{
        spec::DecoderSpec,
        weights::{DecoderWeights, Weight},
    },
};
use candlepower_kernels::{
    self as kernels, Attention, AttentionOptions, KvCache, KvShape, Matrix, Sequence,
    matrix::{Input, Write, multiply},
};

/// A decoder, its packed weights and its KV cache.
pub(in crate::model) struct CpuDecoder {
    spec: DecoderSpec,
    embeddings: Matrix,
    /// Absent where the embeddings score the tokens as well.
    output: Option<Matrix>,
    final_norm: Vec<f32>,
    layers: Vec<Layer>,
    rotary: Rotary,
    local_rotary: Option<Rotary>,
    cache: KvCache,
    limits: EngineLimits,
    threads: Threads,
    rows: Vec<f32>,
    scratch: Scratch,
}

impl CpuDecoder {
    /// Packs `weights` for `threads` threads.
    pub(in crate::model) fn load(
        weights: &DecoderWeights,
        context_length: usize,
        kv_blocks: usize,
        threads: usize,
    ) -> Result<Self, LoadError> {
        let spec = weights.spec();
        let threads = Threads::new(threads).map_err(LoadError::Thread)?;
        let reader = Reader {
            weights,
            pool: &threads.pool,
        };
        let rotary = |rope| Rotary::new(rope, context_length);
        let cache = KvCache::new(KvShape {
            layers: spec.layers,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim,
            blocks: kv_blocks,
        });
        Ok(Self {
            embeddings: reader.matrix(Weight::Embeddings)?,
            output: (!spec.tied_output)
                .then(|| reader.matrix(Weight::Output))
                .transpose()?,
            final_norm: weights.vector(Weight::FinalNorm)?,
            layers: (0..spec.layers)
                .map(|index| Layer::load(&reader, spec, index))
                .collect::<Result<_, _>>()?,
            rotary: rotary(&spec.rope),
            local_rotary: spec.local_rope.as_ref().map(rotary),
            cache: cache.map_err(|error| LoadError::Pack(error.to_string()))?,
            limits: EngineLimits {
                context_length,
                kv_blocks,
                vocabulary: spec.vocabulary,
            },
            spec: spec.clone(),
            threads,
            rows: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, CpuError> {
        self.threads.answer_rows = batch.answer_rows;
        self.embed(&batch.tokens)?;
        let sequences: Vec<Sequence<'_>> = batch
            .sequences
            .iter()
            .map(|part| Sequence {
                rows: part.rows.len(),
                position: batch
                    .positions
                    .get(part.rows.start)
                    .map_or(0, |&position| position as usize),
                blocks: &part.blocks,
            })
            .collect();
        let ragged = kernels::Batch::new(self.cache.shape(), &sequences)?;
        let step = Step {
            batch: &ragged,
            positions: &batch.positions,
        };
        let attentions = self.attentions(&ragged)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let window = self.spec.window(index);
            let rotary = self.local_rotary.as_ref().filter(|_| window.is_some());
            let rotary = rotary.unwrap_or(&self.rotary);
            let Some((_, attention)) = attentions.iter().find(|(seen, _)| *seen == window) else {
                continue;
            };
            layer.forward(
                &mut self.threads,
                &step,
                (rotary, attention),
                &mut self.cache,
                &mut self.rows,
                &mut self.scratch,
            )?;
        }
        self.logits(batch)
    }

    /// The embeddings of `tokens`, as the step's rows.
    fn embed(&mut self, tokens: &[u32]) -> Result<(), CpuError> {
        let width = self.spec.hidden;
        let scale = narrow(self.spec.embedding_scale);
        let (embeddings, level) = (&self.embeddings, self.threads.level);
        self.rows.resize(tokens.len() * width, 0.0);
        self.threads.for_rows(&mut self.rows, width, |index, row| {
            let token = tokens.get(index).copied().unwrap_or(u32::MAX);
            if !embeddings.row_into(token as usize, row) {
                return Err(CpuError::Token(token));
            }
            if (scale - 1.0).abs() > f32::EPSILON {
                kernels::scale(level, row, scale);
            }
            Ok(())
        })
    }

    /// Attention for each window that layers have.
    fn attentions<'a>(
        &self,
        batch: &'a kernels::Batch<'a>,
    ) -> Result<Vec<(Option<usize>, Attention<'a>)>, CpuError> {
        let mut windows = self.spec.attention.windows.clone();
        windows.sort_unstable();
        windows.dedup();
        windows
            .into_iter()
            .map(|window| {
                let options = AttentionOptions {
                    heads: self.spec.heads,
                    scale: narrow(self.spec.attention.scale),
                    window,
                    soft_cap: self.spec.attention.soft_cap.map(narrow),
                };
                let threads = self.threads.pool.threads();
                let attention = Attention::new(self.threads.level, batch, options, threads)?;
                Ok((window, attention))
            })
            .collect()
    }

    /// Logits after the last row of each sequence that wants them.
    fn logits(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, CpuError> {
        let width = self.spec.hidden;
        let wanted = batch.sequences.iter().filter(|part| part.wants_logits);
        let mut last = Vec::new();
        for part in wanted {
            let end = part.rows.end * width;
            last.extend_from_slice(self.rows.get(end - width..end).unwrap_or_default());
        }
        if last.is_empty() {
            return Ok(Vec::new());
        }
        let mut normed = Vec::new();
        let epsilon = narrow(self.spec.norms.epsilon);
        self.threads
            .norm(&last, &self.final_norm, epsilon, &mut normed)?;
        let output = self.output.as_ref().unwrap_or(&self.embeddings);
        let vocabulary = output.rows();
        let mut logits = vec![0.0; last.len() / width * vocabulary];
        multiply(
            &self.threads.pool,
            output,
            Input::new(&normed),
            &mut logits,
            Write::Store,
            &mut self.threads.workspace,
        )?;
        if let Some(cap) = self.spec.output_soft_cap {
            kernels::soft_cap(self.threads.level, &mut logits, narrow(cap));
        }
        if logits.len() == vocabulary {
            // One stream's logits need no copy.
            return Ok(vec![logits]);
        }
        Ok(logits.chunks(vocabulary).map(<[f32]>::to_vec).collect())
    }
}

impl Engine for CpuDecoder {
    fn limits(&self) -> EngineLimits {
        self.limits
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, EngineError> {
        let past = |&&position: &&u32| position as usize >= self.limits.context_length;
        if let Some(&position) = batch.positions.iter().find(past) {
            return Err(CpuError::Position(position).into());
        }
        Ok(self.forward(batch)?)
    }

    fn answers_serve_prompts(&self) -> bool {
        !self.threads.level.multiplies_prompts_apart()
    }
}
