//! Llama over packed rows: all rows of a step share each matrix product, and only attention
//! looks at one sequence at a time.
use super::{
    attention::attend,
    rope::{RotaryRows, RotaryTable, split_heads},
    shape::ModelShape,
};
use crate::{
    engine::{
        Batch, Engine, EngineError, EngineLimits,
        batch::{BLOCK_TOKENS, BatchSequence},
    },
    load::{LoadError, gguf::GgufFile},
};
use candle_core::{D, DType, Device, Module, Result, Tensor, quantized::QMatMul};
use candle_transformers::quantized_nn::RmsNorm;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::sync::atomic::{AtomicU64, Ordering};

/// The model, its weights and its KV cache.
pub(super) struct Llama {
    embeddings: QMatMul,
    layers: Vec<Layer>,
    final_norm: RmsNorm,
    output: QMatMul,
    rotary: RotaryTable,
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
    cache: LayerCache,
}

/// The KV cache of one layer: `[tokens, kv_heads × head_dim]` each, in blocks.
struct LayerCache {
    keys: Tensor,
    values: Tensor,
}

impl Llama {
    pub(super) fn load(
        file: &GgufFile,
        shape: &ModelShape,
        context_length: usize,
        kv_blocks: usize,
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
            .map(|index| Layer::load(&weights, shape, index, kv_blocks))
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
            limits: EngineLimits {
                context_length,
                kv_blocks,
                vocabulary,
            },
            device: device.clone(),
        })
    }

    /// Checks that every part of the batch has KV cache.
    fn check_blocks(&self, batch: &Batch) -> std::result::Result<(), EngineError> {
        for part in &batch.sequences {
            let rows = batch.positions.get(part.rows.clone()).unwrap_or_default();
            let known = |&block| (block as usize) < self.limits.kv_blocks;
            let covered = |&position| part.slot(position as usize).is_some();
            if rows.is_empty() || !rows.iter().all(covered) || !part.blocks.iter().all(known) {
                return Err(EngineError::Blocks(part.id));
            }
        }
        Ok(())
    }

    fn forward(&self, batch: &Batch) -> Result<Vec<Vec<f32>>> {
        let tokens = Tensor::new(batch.tokens.as_slice(), &self.device)?;
        let positions = Tensor::new(batch.positions.as_slice(), &self.device)?;
        let rotary = self.rotary.rows(&positions)?;
        let mut rows = self.embeddings.embedding(&tokens)?;
        for layer in &self.layers {
            rows = layer.forward(&rows, &rotary, batch)?;
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

    fn step(&mut self, batch: &Batch) -> std::result::Result<Vec<Vec<f32>>, EngineError> {
        self.check_blocks(batch)?;
        Ok(self.forward(batch)?)
    }
}

impl LayerCache {
    fn new(tokens: usize, width: usize, device: &Device) -> Result<Self> {
        Ok(Self {
            keys: Tensor::zeros((tokens, width), DType::F32, device)?,
            values: Tensor::zeros((tokens, width), DType::F32, device)?,
        })
    }

    /// Stores the keys and values of `part`'s rows, `[rows, kv_heads × head_dim]` each, at
    /// positions from `start`.
    fn write(
        &self,
        part: &BatchSequence,
        start: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<()> {
        let end = start + part.rows.len();
        let mut position = start;
        while position < end {
            // What lies in one block lies together.
            let count = (BLOCK_TOKENS - position % BLOCK_TOKENS).min(end - position);
            let slot = slot(part, position)?;
            for (cache, rows) in [(&self.keys, keys), (&self.values, values)] {
                let rows = rows.narrow(0, position - start, count)?.contiguous()?;
                cache.slice_set(&rows, 0, slot)?;
            }
            position += count;
        }
        Ok(())
    }

    /// Keys and values of `part`'s first `length` positions, `[1, kv_heads, length, head_dim]`.
    fn read(&self, part: &BatchSequence, length: usize, kv_heads: usize) -> Result<[Tensor; 2]> {
        let slots = (0..length).map(|position| Ok(u32::try_from(slot(part, position)?)?));
        let slots = slots.collect::<std::result::Result<Vec<u32>, candle_core::Error>>()?;
        let slots = Tensor::new(slots, self.keys.device())?;
        let gather = |cache: &Tensor| split_heads(&cache.index_select(&slots, 0)?, kv_heads);
        Ok([gather(&self.keys)?, gather(&self.values)?])
    }
}

fn slot(part: &BatchSequence, position: usize) -> Result<usize> {
    match part.slot(position) {
        Some(slot) => Ok(slot),
        None => candle_core::bail!("sequence {} has no KV cache at {position}", part.id.0),
    }
}

impl Layer {
    fn load(
        weights: &Weights,
        shape: &ModelShape,
        index: usize,
        kv_blocks: usize,
    ) -> std::result::Result<Self, LoadError> {
        let width = shape.kv_heads * shape.head_dim;
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
            cache: LayerCache::new(kv_blocks * BLOCK_TOKENS, width, weights.device)?,
        })
    }

    fn forward(&self, rows: &Tensor, rotary: &RotaryRows, batch: &Batch) -> Result<Tensor> {
        let normed = self.attention_norm.forward(rows)?;
        let queries = rotary.rotate(&self.query.forward(&normed)?, self.heads)?;
        let keys = rotary.rotate(&self.key.forward(&normed)?, self.kv_heads)?;
        let keys = keys.squeeze(0)?.transpose(0, 1)?.flatten(1, D::Minus1)?;
        let values = self.value.forward(&normed)?;
        let mut mixed = Vec::with_capacity(batch.sequences.len());
        for part in &batch.sequences {
            let (first, count) = (part.rows.start, part.rows.len());
            let start = batch
                .positions
                .get(first)
                .map_or(0, |&position| position as usize);
            let own = |tensor: &Tensor| tensor.narrow(0, first, count);
            self.cache
                .write(part, start, &own(&keys)?, &own(&values)?)?;
            let [keys, values] = self.cache.read(part, start + count, self.kv_heads)?;
            mixed.push(attend(&rows_of(&queries, part)?, &keys, &values)?);
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
