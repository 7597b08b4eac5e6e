//! One of the library's models behind the engine's trait.
use crate::engine::{Batch, Engine, EngineError, EngineLimits, SequenceId, batch::BatchSequence};
use candle_core::{DType, Device, Result, Tensor};

/// A model with the KV cache of one sequence.
pub(super) trait SequenceModel: Send {
    /// Forgets the sequence.
    fn restart(&mut self);

    /// Logits after the last of `tokens` `[1, tokens]`, which follow `offset` others.
    fn forward(&mut self, tokens: &Tensor, offset: usize) -> Result<Tensor>;
}

/// A model of the library. Not all of them can forget, so the unused one is kept and copied; a copy
/// shares the weights.
pub(super) struct Restartable<M> {
    unused: M,
    running: M,
    forward: fn(&mut M, &Tensor, usize) -> Result<Tensor>,
}

impl<M: Clone> Restartable<M> {
    pub(super) fn new(model: M, forward: fn(&mut M, &Tensor, usize) -> Result<Tensor>) -> Self {
        Self {
            running: model.clone(),
            unused: model,
            forward,
        }
    }
}

impl<M: Clone + Send> SequenceModel for Restartable<M> {
    fn restart(&mut self) {
        self.running = self.unused.clone();
    }

    fn forward(&mut self, tokens: &Tensor, offset: usize) -> Result<Tensor> {
        (self.forward)(&mut self.running, tokens, offset)
    }
}

/// Computes one sequence after the other.
pub(super) struct SequentialEngine {
    model: Box<dyn SequenceModel>,
    takes_chunks: bool,
    limits: EngineLimits,
    device: Device,
    /// The sequence in the model's cache, and how many of its tokens.
    cached: Option<(SequenceId, usize)>,
}

impl SequentialEngine {
    pub(super) fn new(
        model: Box<dyn SequenceModel>,
        takes_chunks: bool,
        limits: EngineLimits,
        device: Device,
    ) -> Self {
        Self {
            model,
            takes_chunks,
            limits,
            device,
            cached: None,
        }
    }

    fn compute(&mut self, part: &BatchSequence, batch: &Batch) -> Result<Vec<f32>> {
        let (Some(tokens), Some(&start)) = (
            batch
                .tokens
                .get(part.rows.clone())
                .filter(|tokens| !tokens.is_empty()),
            batch.positions.get(part.rows.start),
        ) else {
            candle_core::bail!("sequence {} has no rows", part.id.0);
        };
        let start = start as usize;
        if start == 0 {
            self.model.restart();
        } else if self.cached != Some((part.id, start)) {
            candle_core::bail!("sequence {} is not the one in the KV cache", part.id.0);
        }
        // Whoever fails leaves a cache of which nobody knows what is in it.
        self.cached = None;
        let whole = start == 0 || self.takes_chunks;
        let pieces = tokens.chunks(if whole { tokens.len() } else { 1 });
        let mut logits = None;
        let mut offset = start;
        for piece in pieces {
            let ids = Tensor::new(piece, &self.device)?.unsqueeze(0)?;
            logits = Some(self.model.forward(&ids, offset)?);
            offset += piece.len();
        }
        self.cached = Some((part.id, offset));
        match logits {
            Some(logits) if part.wants_logits => {
                logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
            }
            _ => Ok(Vec::new()),
        }
    }
}

impl Engine for SequentialEngine {
    fn limits(&self) -> EngineLimits {
        self.limits
    }

    fn step(&mut self, batch: &Batch) -> std::result::Result<Vec<Vec<f32>>, EngineError> {
        let part = match batch.sequences.as_slice() {
            [] => return Ok(Vec::new()),
            [part] => part,
            [_, second, ..] => {
                let problem = format!("sequence {} is one too many for a step", second.id.0);
                return Err(candle_core::Error::msg(problem).into());
            }
        };
        let logits = self.compute(part, batch)?;
        Ok(part.wants_logits.then_some(logits).into_iter().collect())
    }
}
