//! Iteration-level batching: which sequences share the next step, and with how many tokens.
//!
//! Requests are admitted in order of arrival, each with KV cache for its prompt and its longest
//! answer, so that a running sequence never has to give way. Decoding sequences add one row each;
//! prompts share a budget of rows, so that a long prompt does not hold up everybody's tokens.
use super::{
    batch::{BLOCK_TOKENS, Batch, Engine, SequenceId},
    blocks::{Blocks, Taken},
    handle::EngineOptions,
    places::Place,
    request::{FinishReason, GenerationError, GenerationEvent, GenerationRequest},
    sampling::Sampler,
};
use std::{collections::VecDeque, time::Instant};
use tokio::sync::mpsc::UnboundedSender;

/// What a step was made of, for metrics.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StepSummary {
    /// Rows computed; 0 when the engine became idle.
    pub rows: usize,
    /// Sequences in the step.
    pub sequences: usize,
    /// Requests admitted.
    pub running: usize,
    /// Requests that wait, those that came during the step among them.
    pub waiting: usize,
    /// Tokens of KV cache that are set aside.
    pub kv_used_tokens: usize,
    /// Tokens of KV cache in all.
    pub kv_total_tokens: usize,
    /// Prompt tokens of the requests admitted for the step.
    pub prompt_tokens: usize,
    /// How many of them were in the KV cache already.
    pub cached_prompt_tokens: usize,
}

/// Watches the engine's steps.
pub trait StepObserver: Send + Sync {
    /// Called before each step.
    fn before_step(&self) {}

    /// Called once requests have been admitted for a step, before it is computed: that of a long prompt takes a while, in which
    /// the state of before would be shown.
    fn admitted(&self, _summary: &StepSummary) {}

    /// Called after each step, and when the engine becomes idle.
    fn step(&self, summary: &StepSummary);
}

/// Observes nothing.
impl StepObserver for () {
    fn step(&self, _: &StepSummary) {}
}

/// A request in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    request: GenerationRequest,
    events: UnboundedSender<GenerationEvent>,
    place: Place,
    queued: Instant,
}

impl Waiting {
    /// It waits from now on, also while the engine's thread computes a step and does not look.
    pub(super) fn new(
        request: GenerationRequest,
        events: UnboundedSender<GenerationEvent>,
        place: Place,
    ) -> Self {
        Self {
            request,
            events,
            place,
            queued: Instant::now(),
        }
    }
}

struct Running {
    id: SequenceId,
    /// Its prompt, and what was picked since.
    tokens: Vec<u32>,
    /// How many of them are in the KV cache.
    computed: usize,
    generated: usize,
    max_tokens: usize,
    deadline: Option<Instant>,
    events: UnboundedSender<GenerationEvent>,
    sampler: Sampler,
    /// Its KV cache, for the prompt and the longest answer.
    blocks: Vec<u32>,
    queued: Instant,
    started: bool,
    /// Held until the sequence ends, so that the queue's limit counts it.
    place: Place,
}

impl Running {
    /// Whether the answer goes on after `token`, and if not, why.
    fn outcome(&self, token: u32, end_tokens: &[u32]) -> Option<FinishReason> {
        if end_tokens.contains(&token) {
            Some(FinishReason::Stop)
        } else if self.generated >= self.max_tokens {
            Some(FinishReason::Length)
        } else {
            None
        }
    }
}

/// Owns the backend and decides what it computes.
pub(super) struct Scheduler {
    engine: Box<dyn Engine>,
    end_tokens: Vec<u32>,
    options: EngineOptions,
    waiting: VecDeque<Waiting>,
    running: Vec<Running>,
    blocks: Blocks,
    next_id: u64,
}

impl Scheduler {
    pub(super) fn new(
        engine: Box<dyn Engine>,
        end_tokens: Vec<u32>,
        options: EngineOptions,
    ) -> Self {
        Self {
            blocks: Blocks::new(engine.limits().kv_blocks, options.prefix_caching),
            engine,
            end_tokens,
            options,
            waiting: VecDeque::new(),
            running: Vec::new(),
            next_id: 0,
        }
    }

    pub(super) fn submit(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    pub(super) fn has_full_batch(&self) -> bool {
        self.waiting.len() + self.running.len() >= self.options.max_batch_size
    }

    /// The state between steps.
    pub(super) fn summary(&self) -> StepSummary {
        StepSummary {
            rows: 0,
            sequences: 0,
            running: self.running.len(),
            waiting: self.waiting.len(),
            kv_used_tokens: self.blocks.used() * BLOCK_TOKENS,
            kv_total_tokens: self.engine.limits().kv_cache_tokens(),
            ..StepSummary::default()
        }
    }

    /// Admits requests for the next step, and packs it.
    pub(super) fn begin_step(&mut self) -> (Batch, StepSummary) {
        self.drop_given_up();
        let [prompt_tokens, cached_prompt_tokens] = self.admit();
        let batch = self.pack();
        let summary = StepSummary {
            prompt_tokens,
            cached_prompt_tokens,
            rows: batch.rows(),
            sequences: batch.sequences.len(),
            ..self.summary()
        };
        (batch, summary)
    }

    /// Computes a step that was begun, if there is anything to compute.
    pub(super) fn finish_step(&mut self, batch: &Batch, begun: StepSummary) -> StepSummary {
        let mut summary = begun;
        if summary.rows > 0 {
            self.compute(batch);
            let after = self.summary();
            summary.running = after.running;
            summary.kv_used_tokens = after.kv_used_tokens;
        }
        summary
    }

    /// A whole step.
    #[cfg(test)]
    pub(super) fn step(&mut self) -> StepSummary {
        let (batch, begun) = self.begin_step();
        self.finish_step(&batch, begun)
    }

    /// Ends every request with `error`.
    pub(super) fn fail_all(&mut self, error: &GenerationError) {
        for waiting in self.waiting.drain(..) {
            // A client that has gone needs no answer, here and below.
            let _ = waiting.events.send(GenerationEvent::Failed(error.clone()));
        }
        for index in (0..self.running.len()).rev() {
            self.end(index, GenerationEvent::Failed(error.clone()));
        }
    }

    /// Ends requests whose clients have gone, and those that took too long.
    fn drop_given_up(&mut self) {
        let now = Instant::now();
        let late = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let exceeded = || GenerationEvent::Failed(GenerationError::DeadlineExceeded);
        self.waiting.retain(|waiting| {
            let late = late(waiting.request.deadline);
            if late {
                let _ = waiting.events.send(exceeded());
            }
            !late && !waiting.events.is_closed()
        });
        for index in (0..self.running.len()).rev() {
            let sequence = &self.running[index];
            if sequence.events.is_closed() || late(sequence.deadline) {
                // Nobody hears it where the client has gone.
                self.remember(index);
                self.end(index, exceeded());
            }
        }
    }

    /// Moves requests from the queue into the batch, in order of arrival, while there is a place
    /// and KV cache for the next one. Returns their prompt tokens, and those that are cached.
    fn admit(&mut self) -> [usize; 2] {
        let mut counts = [0, 0];
        while self.running.len() < self.options.max_batch_size {
            let Some(next) = self.waiting.front() else {
                break;
            };
            let prompt = &next.request.prompt;
            let tokens = prompt.len() + next.request.max_tokens;
            let Some(Taken { blocks, cached }) = self.blocks.take(prompt, tokens) else {
                break;
            };
            counts[0] += prompt.len();
            counts[1] += cached;
            let Some(mut next) = self.waiting.pop_front() else {
                break;
            };
            next.place.admit();
            let id = SequenceId(self.next_id);
            self.next_id += 1;
            self.running.push(Running {
                id,
                sampler: Sampler::new(&next.request, &self.end_tokens, id.0),
                max_tokens: next.request.max_tokens,
                deadline: next.request.deadline,
                tokens: next.request.prompt,
                computed: cached,
                generated: 0,
                events: next.events,
                blocks,
                queued: next.queued,
                started: false,
                place: next.place,
            });
        }
        counts
    }

    /// One row for each decoding sequence; prompts share the prefill budget in order of arrival.
    fn pack(&mut self) -> Batch {
        let mut batch = Batch::default();
        let mut budget = self.options.prefill_chunk;
        let now = Instant::now();
        for sequence in self
            .running
            .iter_mut()
            .filter(|sequence| sequence.generated > 0)
        {
            let position = sequence.computed;
            if let Some(&token) = sequence.tokens.get(position) {
                batch.push_answer(sequence.id, token, row_position(position), &sequence.blocks);
                sequence.computed += 1;
            }
        }
        for sequence in self
            .running
            .iter_mut()
            .filter(|sequence| sequence.generated == 0)
        {
            let (start, length) = (sequence.computed, sequence.tokens.len());
            let end = length.min(start.saturating_add(budget));
            if end == start {
                continue;
            }
            let rows = &sequence.tokens[start..end];
            let position = row_position(start);
            batch.push(sequence.id, rows, position, end == length, &sequence.blocks);
            sequence.computed = end;
            budget -= end - start;
            if !sequence.started {
                sequence.started = true;
                let queued = sequence.queued;
                let event = GenerationEvent::Started {
                    queued,
                    first_step: now,
                };
                let _ = sequence.events.send(event);
            }
        }
        batch
    }

    fn compute(&mut self, batch: &Batch) {
        match self.engine.step(batch) {
            Ok(logits) => {
                self.remember_prompts(batch);
                let wanting = batch.sequences.iter().filter(|part| part.wants_logits);
                for (part, row) in wanting.zip(logits) {
                    self.advance(part.id, row);
                }
            }
            Err(error) => {
                let error = GenerationError::Engine(error.to_string());
                for part in &batch.sequences {
                    if let Some(index) = self.index_of(part.id) {
                        self.fail(index, error.clone());
                    }
                }
            }
        }
    }

    /// Lets later prompts go on with what the step has computed of its prompts. Answers follow when
    /// they end.
    fn remember_prompts(&mut self, batch: &Batch) {
        for index in 0..self.running.len() {
            let sequence = &self.running[index];
            let took_part = batch.sequences.iter().any(|part| part.id == sequence.id);
            if took_part && sequence.generated == 0 {
                self.remember(index);
            }
        }
    }

    /// Lets later prompts go on with what is computed of a sequence.
    fn remember(&mut self, index: usize) {
        let Running {
            blocks,
            tokens,
            computed,
            generated,
            ..
        } = &self.running[index];
        let shared = if self.engine.answers_serve_prompts() {
            *computed
        } else {
            (tokens.len() - generated).min(*computed)
        };
        self.blocks.remember(blocks, tokens, shared);
    }

    /// Picks the next token of a sequence and ends the sequence where it is complete.
    fn advance(&mut self, id: SequenceId, logits: Vec<f32>) {
        let Some(index) = self.index_of(id) else {
            return;
        };
        let sequence = &mut self.running[index];
        let picked = match sequence.sampler.pick(logits) {
            Ok(picked) => picked,
            Err(error) => return self.fail(index, error),
        };
        let (token, at) = (picked.token, Instant::now());
        sequence.generated += 1;
        sequence.tokens.push(token);
        let outcome = sequence.outcome(token, &self.end_tokens);
        if outcome != Some(FinishReason::Stop) {
            let _ = sequence.events.send(GenerationEvent::Token {
                id: token,
                at,
                logprobs: picked.logprobs,
            });
        }
        if let Some(reason) = outcome {
            let generated = sequence.generated;
            self.remember(index);
            self.end(
                index,
                GenerationEvent::Finished {
                    reason,
                    at,
                    generated,
                },
            );
        }
    }

    fn index_of(&self, id: SequenceId) -> Option<usize> {
        self.running.iter().position(|sequence| sequence.id == id)
    }

    /// Ends a sequence whose KV cache is not to be trusted.
    fn fail(&mut self, index: usize, error: GenerationError) {
        self.blocks.forget(&self.running[index].blocks);
        self.end(index, GenerationEvent::Failed(error));
    }

    fn end(&mut self, index: usize, event: GenerationEvent) {
        let Running { events, place, .. } = self.remove(index);
        // Whoever hears of the end finds its place free.
        drop(place);
        let _ = events.send(event);
    }

    /// Takes a sequence out of the batch and gives back its KV cache. Order of arrival is kept.
    fn remove(&mut self, index: usize) -> Running {
        let sequence = self.running.remove(index);
        self.blocks.give_back(&sequence.blocks);
        sequence
    }
}

/// Positions are 32-bit on devices; contexts are far shorter.
fn row_position(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod models;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
