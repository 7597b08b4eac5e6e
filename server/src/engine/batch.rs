//! The batch-first contract between the scheduler and a backend.
use std::ops::Range;

/// Tokens in one block of the KV cache. The paged attention kernels of CUDA want a multiple of 32.
pub const BLOCK_TOKENS: usize = 32;

/// Names one sequence from its admission to its end.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SequenceId(pub u64);

/// One step's work: the new tokens of several sequences, packed into rows without padding.
///
/// Row `i` is token `tokens[i]` at position `positions[i]` of its sequence. The rows of one
/// sequence are adjacent and in order, and everything before them is in the KV cache already.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// Token ids, one a row.
    pub tokens: Vec<u32>,
    /// Positions within the sequence, one a row.
    pub positions: Vec<u32>,
    /// Which rows belong to which sequence, in row order, without gaps.
    pub sequences: Vec<BatchSequence>,
    /// How many of the first rows go on with answers; all others belong to prompts. A backend may
    /// compute these in another way, so a sequence's bits depend on which of its rows are which.
    pub answer_rows: usize,
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
    /// The blocks of KV cache that hold its tokens, in order of position: position `p` lies in
    /// `blocks[p / BLOCK_TOKENS]`. Covers at least the positions of its rows.
    pub blocks: Vec<u32>,
}

impl BatchSequence {
    /// Where position `position` lies in a cache of all blocks one after the other, in tokens.
    pub fn slot(&self, position: usize) -> Option<usize> {
        let block = *self.blocks.get(position / BLOCK_TOKENS)? as usize;
        Some(block * BLOCK_TOKENS + position % BLOCK_TOKENS)
    }
}

impl Batch {
    /// Appends rows of a prompt for `id`: `tokens` at positions from `start`, with their KV cache in
    /// `blocks`.
    pub fn push(
        &mut self,
        id: SequenceId,
        tokens: &[u32],
        start: u32,
        wants_logits: bool,
        blocks: &[u32],
    ) {
        let first = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((start..).take(tokens.len()));
        self.sequences.push(BatchSequence {
            id,
            rows: first..self.tokens.len(),
            wants_logits,
            blocks: blocks.to_vec(),
        });
    }

    /// Appends the row of `id` whose answer goes on with `token` at `position`; before all prompts.
    pub fn push_answer(&mut self, id: SequenceId, token: u32, position: u32, blocks: &[u32]) {
        debug_assert_eq!(self.answer_rows, self.rows(), "answers come before prompts");
        self.push(id, &[token], position, true, blocks);
        self.answer_rows = self.rows();
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
    /// Blocks of [`BLOCK_TOKENS`] tokens in the KV cache, over all sequences.
    pub kv_blocks: usize,
    /// Number of logits a row: the size of the vocabulary.
    pub vocabulary: usize,
}

impl EngineLimits {
    /// Tokens that the KV cache holds over all sequences.
    pub const fn kv_cache_tokens(&self) -> usize {
        self.kv_blocks * BLOCK_TOKENS
    }
}

/// A failure of the backend; it ends the requests of the step.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The tensor library failed.
    #[error("the model's computation failed: {0}")]
    Compute(#[from] candle_core::Error),
    /// Our own kernels refused.
    #[error("the model's computation failed: {0}")]
    Kernels(#[from] crate::model::CpuError),
    /// A sequence's blocks do not cover its rows, or are not in the cache. A fault of the scheduler.
    #[error("the blocks of sequence {} do not hold its tokens", .0.0)]
    Blocks(SequenceId),
}

/// A model that computes packed steps. It owns the weights and the KV cache's memory; which block
/// belongs to whom is the scheduler's to know.
pub trait Engine: Send {
    /// What it can hold.
    fn limits(&self) -> EngineLimits;

    /// Computes one step. Returns one row of `vocabulary` logits for each sequence of the batch
    /// that wants them, in batch order.
    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, EngineError>;

    /// Whether a token's keys and values are the same, to the bit, in an answer as in a prompt, so
    /// that a prompt may go on with the KV cache of an answer.
    fn answers_serve_prompts(&self) -> bool {
        true
    }
}
