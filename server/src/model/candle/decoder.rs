//! The decoder from token ids to logits.
use super::{
    layer::Layer,
    matrix::{Matrix, Norm},
    packing::Packing,
    paged::PagedStep,
    rotary::{Rotary, RotaryRows},
    target::Target,
};
use crate::{
    engine::{Batch, Engine, EngineError, EngineLimits},
    load::LoadError,
    model::{
        spec::DecoderSpec,
        weights::{DecoderWeights, Weight},
    },
};
use candle_core::{Device, Result, Tensor};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// A decoder, its weights and its KV cache.
pub(in crate::model) struct CandleDecoder {
    spec: DecoderSpec,
    embeddings: Matrix,
    layers: Vec<Layer>,
    final_norm: Norm,
    output: Matrix,
    rotary: Rotary,
    local_rotary: Option<Rotary>,
    limits: EngineLimits,
    device: Device,
}

impl CandleDecoder {
    pub(in crate::model) fn load(
        weights: &DecoderWeights,
        context_length: usize,
        kv_blocks: usize,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        Self::load_as(
            weights,
            context_length,
            kv_blocks,
            Target::of(device),
            device,
        )
    }

    /// Loads onto `device` what a device of the kind `target` would hold.
    pub(super) fn load_as(
        weights: &DecoderWeights,
        context_length: usize,
        kv_blocks: usize,
        target: Target,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        let spec = weights.spec();
        let embeddings = Matrix::load(weights, Weight::Embeddings, target, device)?;
        let output = if spec.tied_output {
            embeddings.clone()
        } else {
            Matrix::load(weights, Weight::Output, target, device)?
        };
        let layer = |index| Layer::load(weights, index, kv_blocks, target, device);
        let layers = if device.is_cpu() {
            // Weights that are held in another format than the file's are converted on all cores.
            let layers = (0..spec.layers).into_par_iter().map(layer);
            layers.collect::<std::result::Result<_, _>>()?
        } else {
            (0..spec.layers)
                .map(layer)
                .collect::<std::result::Result<_, _>>()?
        };
        let rotary = |rope| Rotary::new(rope, context_length, device);
        Ok(Self {
            embeddings,
            layers,
            final_norm: Norm::load(weights, Weight::FinalNorm, device)?,
            output,
            rotary: rotary(&spec.rope)?,
            local_rotary: spec.local_rope.as_ref().map(rotary).transpose()?,
            limits: EngineLimits {
                context_length,
                kv_blocks,
                vocabulary: spec.vocabulary,
            },
            device: device.clone(),
            spec: spec.clone(),
        })
    }

    fn forward(&self, batch: &Batch, packing: Packing) -> Result<Vec<Vec<f32>>> {
        let kv_width = self.spec.kv_heads * self.spec.head_dim;
        let step = PagedStep::new(packing, kv_width, &self.device)?;
        let tokens = Tensor::new(batch.tokens.as_slice(), &self.device)?;
        let everywhere = self.rotary.rows(&batch.positions)?;
        let local = self.local_rotary.as_ref();
        let local = local
            .map(|rotary| rotary.rows(&batch.positions))
            .transpose()?;
        let mut rows = self.embeddings.rows(&tokens)?;
        if (self.spec.embedding_scale - 1.0).abs() > f64::EPSILON {
            rows = (rows * self.spec.embedding_scale)?;
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let rotary = self.rotary_of(index, &everywhere, local.as_ref());
            rows = layer.forward(&rows, rotary, &step)?;
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
        let logits = self.output.forward(&self.final_norm.forward(&last)?)?;
        match self.spec.output_soft_cap {
            Some(cap) => ((logits / cap)?.tanh()? * cap)?.to_vec2(),
            None => logits.to_vec2(),
        }
    }

    fn rotary_of<'a>(
        &self,
        layer: usize,
        everywhere: &'a RotaryRows,
        local: Option<&'a RotaryRows>,
    ) -> &'a RotaryRows {
        local
            .filter(|_| self.spec.window(layer).is_some())
            .unwrap_or(everywhere)
    }
}

impl Engine for CandleDecoder {
    fn limits(&self) -> EngineLimits {
        self.limits
    }

    fn step(&mut self, batch: &Batch) -> std::result::Result<Vec<Vec<f32>>, EngineError> {
        let packing = Packing::new(batch, self.limits.kv_blocks)?;
        if packing.sequences() == 0 {
            return Ok(Vec::new());
        }
        Ok(self.forward(batch, packing)?)
    }
}
