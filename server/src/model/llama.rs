//! Llama over packed rows: all rows of a step share each matrix product, and only attention
//! looks at one sequence at a time.
use super::{
    attention::attend,
    rope::{RotaryRows, RotaryTable, split_heads},
    shape::ModelShape,
};
use crate::{
    engine::{Batch, Engine, EngineError, EngineLimits, SequenceId, batch::BatchSequence},
    load::{LoadError, gguf::GgufFile},
};
use candle_core::{D, Device, Module, Result, Tensor, quantized::QMatMul};
use candle_nn::kv_cache::KvCache;
use candle_transformers::quantized_nn::RmsNorm;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// The model, its weights and its KV cache.
pub(super) struct Llama {
    embeddings: QMatMul,
    layers: Vec<Layer>,
    final_norm: RmsNorm,
    output: QMatMul,
    rotary: RotaryTable,
    sequences: HashMap<SequenceId, Sequence>,
    limits: EngineLimits,
    device: Device,
}

struct Layer {
    attention_norm: RmsNorm,
    query: QMatMul,
    key: QMatMul,
    value: QMatMul,
    attention_output: QMatMul,
    feed_forward_norm: RmsNorm,
    gate: QMatMul,
    up: QMatMul,
    down: QMatMul,
    heads: usize,
    kv_heads: usize,
}

/// One sequence's KV cache, a part per layer.
struct Sequence {
    length: usize,
    caches: Vec<KvCache>,
}

/// The dimension of a cache's tensors along which positions lie.
const POSITIONS: usize = 2;

impl Llama {
    pub(super) fn load(
        file: &GgufFile,
        shape: &ModelShape,
        context_length: usize,
        kv_cache_tokens: usize,
        device: &Device,
        progress: &(dyn Fn(u8) + Sync),
    ) -> std::result::Result<Self, LoadError> {
        let weights = Weights {
            file,
            device,
            progress,
            read: AtomicU64::new(0),
            epsilon: shape.norm_epsilon,
        };
        let embeddings = weights.matrix("token_embd.weight")?;
        // Tied weights: the same matrix embeds tokens and scores them.
        let output = if file.has("output.weight") {
            weights.matrix("output.weight")?
        } else {
            embeddings.clone()
        };
        // Weights that are held in another format than the file's are converted on all cores.
        let layers = (0..shape.layers)
            .into_par_iter()
            .map(|index| Layer::load(&weights, shape, index))
            .collect::<std::result::Result<_, _>>()?;
        let factors = if file.has("rope_freqs.weight") {
            Some(
                file.tensor("rope_freqs.weight", device)?
                    .dequantize(device)?
                    .to_vec1::<f32>()?,
            )
        } else {
            None
        };
        let vocabulary = match &output {
            QMatMul::QTensor(matrix) => matrix.shape().dims()[0],
            QMatMul::Tensor(matrix) | QMatMul::TensorF16(matrix) => matrix.dim(0)?,
        };
        Ok(Self {
            embeddings,
            layers,
            final_norm: weights.norm("output_norm.weight")?,
            output,
            rotary: RotaryTable::new(shape, context_length, factors.as_deref(), device)?,
            sequences: HashMap::new(),
            limits: EngineLimits {
                context_length,
                kv_cache_tokens,
                vocabulary,
            },
            device: device.clone(),
        })
    }

    /// Checks that every part of the batch continues its sequence.
    fn check_order(&self, batch: &Batch) -> std::result::Result<(), EngineError> {
        for part in &batch.sequences {
            let start = batch
                .positions
                .get(part.rows.start)
                .map(|&position| position as usize);
            let length = self.sequences.get(&part.id).map(|sequence| sequence.length);
            if start.is_none() || start != length {
                return Err(EngineError::OutOfOrder(part.id));
            }
        }
        Ok(())
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>> {
        let tokens = Tensor::new(batch.tokens.as_slice(), &self.device)?;
        let positions = Tensor::new(batch.positions.as_slice(), &self.device)?;
        let rotary = self.rotary.rows(&positions)?;
        let mut rows = self.embeddings.embedding(&tokens)?;
        for (index, layer) in self.layers.iter().enumerate() {
            rows = layer.forward(&rows, &rotary, batch, index, &mut self.sequences)?;
        }
        let wanted: Vec<u32> = batch
            .sequences
            .iter()
            .filter(|part| part.wants_logits)
            .filter_map(|part| u32::try_from(part.rows.end - 1).ok())
            .collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let last = rows.index_select(&Tensor::new(wanted.as_slice(), &self.device)?, 0)?;
        self.output
            .forward(&self.final_norm.forward(&last)?)?
            .to_vec2()
    }
}

impl Engine for Llama {
    fn limits(&self) -> EngineLimits {
        self.limits
    }

    fn reserve(&mut self, id: SequenceId, tokens: usize) -> std::result::Result<(), EngineError> {
        let caches = self
            .layers
            .iter()
            .map(|_| KvCache::new(POSITIONS, tokens))
            .collect();
        self.sequences.insert(id, Sequence { length: 0, caches });
        Ok(())
    }

    fn step(&mut self, batch: &Batch) -> std::result::Result<Vec<Vec<f32>>, EngineError> {
        self.check_order(batch)?;
        let logits = self.forward(batch)?;
        for part in &batch.sequences {
            if let Some(sequence) = self.sequences.get_mut(&part.id) {
                sequence.length += part.rows.len();
            }
        }
        Ok(logits)
    }

    fn release(&mut self, id: SequenceId) {
        self.sequences.remove(&id);
    }
}

impl Layer {
    fn load(
        weights: &Weights,
        shape: &ModelShape,
        index: usize,
    ) -> std::result::Result<Self, LoadError> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        Ok(Self {
            attention_norm: weights.norm(&name("attn_norm"))?,
            query: weights.matrix(&name("attn_q"))?,
            key: weights.matrix(&name("attn_k"))?,
            value: weights.matrix(&name("attn_v"))?,
            attention_output: weights.matrix(&name("attn_output"))?,
            feed_forward_norm: weights.norm(&name("ffn_norm"))?,
            gate: weights.matrix(&name("ffn_gate"))?,
            up: weights.matrix(&name("ffn_up"))?,
            down: weights.matrix(&name("ffn_down"))?,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
        })
    }

    fn forward(
        &self,
        rows: &Tensor,
        rotary: &RotaryRows,
        batch: &Batch,
        index: usize,
        sequences: &mut HashMap<SequenceId, Sequence>,
    ) -> Result<Tensor> {
        let normed = self.attention_norm.forward(rows)?;
        let queries = rotary.rotate(&self.query.forward(&normed)?, self.heads)?;
        let keys = rotary.rotate(&self.key.forward(&normed)?, self.kv_heads)?;
        let values = split_heads(&self.value.forward(&normed)?, self.kv_heads)?;
        let mut mixed = Vec::with_capacity(batch.sequences.len());
        for part in &batch.sequences {
            let Some(cache) = sequences
                .get_mut(&part.id)
                .and_then(|sequence| sequence.caches.get_mut(index))
            else {
                candle_core::bail!("sequence {} has no KV cache", part.id.0)
            };
            let own = |tensor: &Tensor| rows_of(tensor, part);
            let (keys, values) = cache.append(&own(&keys)?, &own(&values)?)?;
            mixed.push(attend(&own(&queries)?, &keys, &values)?);
        }
        let mixed = Tensor::cat(&mixed, 0)?;
        let rows = (rows + self.attention_output.forward(&mixed)?)?;
        let normed = self.feed_forward_norm.forward(&rows)?;
        let gated = (self.gate.forward(&normed)?.silu()? * self.up.forward(&normed)?)?;
        rows + self.down.forward(&gated)?
    }
}

/// The rows of one sequence out of `[1, heads, rows, head_dim]`.
fn rows_of(tensor: &Tensor, part: &BatchSequence) -> Result<Tensor> {
    tensor
        .narrow(D::Minus2, part.rows.start, part.rows.len())?
        .contiguous()
}

/// Reads tensors and tells how far it has come.
struct Weights<'a> {
    file: &'a GgufFile,
    device: &'a Device,
    progress: &'a (dyn Fn(u8) + Sync),
    read: AtomicU64,
    epsilon: f64,
}

impl Weights<'_> {
    fn matrix(&self, name: &str) -> std::result::Result<QMatMul, LoadError> {
        let matrix = QMatMul::from_qtensor(self.file.tensor(name, self.device)?)?;
        self.advance(name);
        Ok(matrix)
    }

    fn norm(&self, name: &str) -> std::result::Result<RmsNorm, LoadError> {
        let norm = RmsNorm::from_qtensor(self.file.tensor(name, self.device)?, self.epsilon)?;
        self.advance(name);
        Ok(norm)
    }

    fn advance(&self, name: &str) {
        let bytes = self.file.stored_bytes(name);
        let read = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let total = (self.file.bytes().len() as u64).max(1);
        (self.progress)(u8::try_from(read * 100 / total).unwrap_or(100));
    }
}

#[cfg(test)]
mod tests;
