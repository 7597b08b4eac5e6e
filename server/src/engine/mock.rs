//! An engine without a model: known answers at a known pace, so that scheduling, HTTP, metrics
//! and shutdown are tested by themselves.
use super::batch::{BLOCK_TOKENS, Batch, Engine, EngineError, EngineLimits, SequenceId};
use std::{collections::HashMap, thread, time::Duration};

/// Ends every answer of the mock engine.
pub const END_TOKEN: u32 = 256;
const VOCABULARY: usize = 257;

/// Answers every prompt with the same tokens.
#[derive(Debug)]
pub struct MockEngine {
    answer: Vec<u32>,
    step_time: Duration,
    failing_step: Option<usize>,
    panicking_step: Option<usize>,
    damaged: Option<SequenceId>,
    limits: EngineLimits,
    steps: usize,
    /// Tokens answered, by sequence.
    answered: HashMap<SequenceId, usize>,
}

impl Default for MockEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl MockEngine {
    /// Answers `ok` in no time.
    pub fn new() -> Self {
        Self {
            answer: b"ok".iter().copied().map(u32::from).collect(),
            step_time: Duration::ZERO,
            failing_step: None,
            panicking_step: None,
            damaged: None,
            limits: EngineLimits {
                context_length: 2048,
                kv_blocks: 16 * 2048 / BLOCK_TOKENS,
                vocabulary: VOCABULARY,
            },
            steps: 0,
            answered: HashMap::new(),
        }
    }

    /// Answers with `tokens` and then ends. Ids are at most [`END_TOKEN`], unless there are
    /// [more](Self::with_more_tokens).
    #[must_use]
    pub fn answering(mut self, tokens: Vec<u32>) -> Self {
        self.answer = tokens;
        self
    }

    /// Each step takes `step_time`.
    #[must_use]
    pub const fn with_step_time(mut self, step_time: Duration) -> Self {
        self.step_time = step_time;
        self
    }

    /// The step with this number, counted from 0, fails.
    #[must_use]
    pub const fn failing_at(mut self, step: usize) -> Self {
        self.failing_step = Some(step);
        self
    }

    /// The step with this number, counted from 0, panics.
    #[must_use]
    pub const fn panicking_at(mut self, step: usize) -> Self {
        self.panicking_step = Some(step);
        self
    }

    /// The sequence with this number, counted from 0 in order of admission, gets logits that are
    /// not numbers.
    #[must_use]
    pub const fn damaging(mut self, sequence: u64) -> Self {
        self.damaged = Some(SequenceId(sequence));
        self
    }

    /// Holds sequences of `context_length` tokens and `kv_blocks` blocks in all.
    #[must_use]
    pub const fn with_capacity(mut self, context_length: usize, kv_blocks: usize) -> Self {
        self.limits = EngineLimits {
            context_length,
            kv_blocks,
            ..self.limits
        };
        self
    }

    /// Knows `tokens` more than bytes and [`END_TOKEN`], whose ids follow.
    #[must_use]
    pub const fn with_more_tokens(mut self, tokens: usize) -> Self {
        self.limits.vocabulary = VOCABULARY + tokens;
        self
    }
}

impl Engine for MockEngine {
    fn limits(&self) -> EngineLimits {
        self.limits
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, EngineError> {
        thread::sleep(self.step_time);
        let step = self.steps;
        self.steps += 1;
        if self.failing_step == Some(step) {
            return Err(EngineError::Compute(candle_core::Error::Msg(
                "planted failure".to_owned(),
            )));
        }
        if self.panicking_step == Some(step) {
            planted_panic();
        }
        let mut logits = Vec::new();
        for part in &batch.sequences {
            let last = part.rows.clone().last().unwrap_or_default();
            let covered = batch
                .positions
                .get(last)
                .and_then(|&position| part.slot(position as usize));
            if covered.is_none_or(|slot| slot >= self.limits.kv_cache_tokens()) {
                return Err(EngineError::Blocks(part.id));
            }
            if part.wants_logits {
                let answered = self.answered.entry(part.id).or_default();
                let token = self.answer.get(*answered).copied().unwrap_or(END_TOKEN);
                *answered += 1;
                let mut row = vec![0.0; self.limits.vocabulary];
                if let Some(logit) = row.get_mut(token as usize) {
                    // High enough that sampling at any temperature picks it.
                    *logit = if self.damaged == Some(part.id) {
                        f32::NAN
                    } else {
                        1e4
                    };
                }
                logits.push(row);
            }
        }
        Ok(logits)
    }
}

#[expect(clippy::panic, reason = "what a test asks for")]
fn planted_panic() {
    panic!("planted panic");
}
