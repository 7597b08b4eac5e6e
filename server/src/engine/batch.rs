//! The batch-first contract between the scheduler and a backend.
use std::ops::Range;

/// Names one sequence between [`Engine::reserve`] and [`Engine::release`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SequenceId(pub u64);

/// One step's work: the new tokens of several sequences, packed into rows without padding.
///
/// Row `i` is token `tokens[i]` at position `positions[i]` of its sequence. The rows of one
/// sequence are adjacent, in order, and start where its KV cache ends.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// Token ids, one a row.
    pub tokens: Vec<u32>,
    /// Positions within the sequence, one a row.
    pub positions: Vec<u32>,
    /// Which rows belong to which sequence, in row order, without gaps.
    pub sequences: Vec<BatchSequence>,
}

/// The rows of one sequence in a [`Batch`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BatchSequence {
    /// The sequence.
    pub id: SequenceId,
    /// Its rows.
    pub rows: Range<usize>,
    /// Whether the logits after its last row are needed; not so within a long prompt.
    pub wants_logits: bool,
}

impl Batch {
    /// Appends rows for `id`: `tokens` at positions from `start`.
    pub fn push(&mut self, id: SequenceId, tokens: &[u32], start: u32, wants_logits: bool) {
        let first = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((start..).take(tokens.len()));
        self.sequences.push(BatchSequence {
            id,
            rows: first..self.tokens.len(),
            wants_logits,
        });
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }
}

/// What a backend can hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EngineLimits {
    /// Longest sequence (prompt and answer) in tokens.
    pub context_length: usize,
    /// Tokens that the KV cache holds over all sequences.
    pub kv_cache_tokens: usize,
    /// Number of logits a row: the size of the vocabulary.
    pub vocabulary: usize,
}

/// A failure of the backend; it ends the requests of the step.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The tensor library failed.
    #[error("the model's computation failed: {0}")]
    Compute(#[from] candle_core::Error),
    /// A sequence is not reserved, or its rows do not continue it. A fault of the scheduler.
    #[error("sequence {} does not continue its KV cache", .0.0)]
    OutOfOrder(SequenceId),
}

/// A model that computes packed steps. It owns the weights and the KV cache.
pub trait Engine: Send {
    /// What it can hold.
    fn limits(&self) -> EngineLimits;

    /// Sets aside KV cache for a sequence of up to `tokens` tokens.
    fn reserve(&mut self, id: SequenceId, tokens: usize) -> Result<(), EngineError>;

    /// Computes one step. Returns one row of `vocabulary` logits for each sequence of the batch
    /// that wants them, in batch order.
    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, EngineError>;

    /// Gives back what [`Engine::reserve`] set aside.
    fn release(&mut self, id: SequenceId);
}
