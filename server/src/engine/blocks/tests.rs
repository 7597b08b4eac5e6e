//! What is shared, what is not, and that no block is ever lost or given to two.
use super::*;
use proptest::{prelude::*, sample::Index};
use std::collections::BTreeSet;

/// A prompt of `count` tokens that begin with `first`.
fn prompt(first: u32, count: usize) -> Vec<u32> {
    (0..count)
        .map(|index| if index == 0 { first } else { 7 })
        .collect()
}

#[test]
fn a_prompt_that_begins_like_an_earlier_one_gets_its_blocks() {
    let mut blocks = Blocks::new(10, true);
    let first = blocks.take(&prompt(1, 70), 80).unwrap();
    assert_eq!((first.blocks.len(), first.cached), (3, 0));
    blocks.remember(&first.blocks, &prompt(1, 70), 70);
    let second = blocks.take(&prompt(1, 100), 110).unwrap();
    assert_eq!(second.cached, 64, "the two whole blocks");
    assert_eq!(second.blocks[..2], first.blocks[..2]);
    assert_ne!(second.blocks[2], first.blocks[2]);
    assert_eq!(blocks.take(&prompt(2, 70), 80).unwrap().cached, 0);
}

#[test]
fn the_last_token_of_a_prompt_is_always_computed() {
    let mut blocks = Blocks::new(10, true);
    let first = blocks.take(&prompt(1, 64), 70).unwrap();
    blocks.remember(&first.blocks, &prompt(1, 64), 64);
    assert_eq!(blocks.take(&prompt(1, 64), 70).unwrap().cached, 32);
    assert_eq!(blocks.take(&prompt(1, 65), 70).unwrap().cached, 64);
}

#[test]
fn only_what_has_been_computed_is_shared() {
    let mut blocks = Blocks::new(10, true);
    let first = blocks.take(&prompt(1, 70), 80).unwrap();
    blocks.remember(&first.blocks, &prompt(1, 70), 33);
    assert_eq!(blocks.take(&prompt(1, 70), 80).unwrap().cached, 32);
}

#[test]
fn what_nobody_holds_is_still_found_until_its_place_is_needed() {
    let mut blocks = Blocks::new(4, true);
    let first = blocks.take(&prompt(1, 64), 65).unwrap();
    blocks.remember(&first.blocks, &prompt(1, 64), 64);
    blocks.give_back(&first.blocks);
    assert_eq!(blocks.used(), 0);
    let again = blocks.take(&prompt(1, 70), 90).unwrap();
    assert_eq!(again.cached, 64);
    blocks.give_back(&again.blocks);
    // The end of the prompt is forgotten first.
    let other = blocks.take(&prompt(2, 70), 90).unwrap();
    assert_eq!(other.cached, 0);
    blocks.give_back(&other.blocks);
    assert_eq!(blocks.take(&prompt(1, 70), 90).unwrap().cached, 32);
}

#[test]
fn a_block_whose_beginning_was_forgotten_is_not_found() {
    let mut blocks = Blocks::new(2, true);
    let first = blocks.take(&prompt(1, 64), 64).unwrap();
    blocks.remember(&first.blocks, &prompt(1, 64), 64);
    blocks.give_back(&first.blocks);
    // Takes both places with another beginning and the same end.
    let second = blocks.take(&prompt(2, 64), 64).unwrap();
    assert_eq!(second.cached, 0);
    blocks.remember(&second.blocks, &prompt(2, 64), 64);
    blocks.give_back(&second.blocks);
    assert_eq!(blocks.take(&prompt(1, 64), 64).unwrap().cached, 0);
}

#[test]
fn two_that_compute_the_same_at_once_do_not_mix_up_their_blocks() {
    let mut blocks = Blocks::new(10, true);
    let [one, other] = [1, 1].map(|first| blocks.take(&prompt(first, 70), 70).unwrap());
    blocks.remember(&one.blocks, &prompt(1, 70), 70);
    blocks.remember(&other.blocks, &prompt(1, 70), 70);
    blocks.give_back(&one.blocks);
    blocks.give_back(&other.blocks);
    assert_eq!(blocks.used(), 0);
    let third = blocks.take(&prompt(1, 70), 70).unwrap();
    assert_eq!(third.blocks[..2], one.blocks[..2]);
}

#[test]
fn without_sharing_nothing_is_remembered() {
    let mut blocks = Blocks::new(10, false);
    let first = blocks.take(&prompt(1, 70), 80).unwrap();
    blocks.remember(&first.blocks, &prompt(1, 70), 70);
    assert_eq!(blocks.take(&prompt(1, 70), 80).unwrap().cached, 0);
}

#[test]
fn what_does_not_fit_takes_nothing() {
    let mut blocks = Blocks::new(3, true);
    let first = blocks.take(&prompt(1, 40), 40).unwrap();
    blocks.remember(&first.blocks, &prompt(1, 40), 40);
    blocks.give_back(&first.blocks);
    assert!(blocks.take(&prompt(1, 40), 128).is_none());
    assert_eq!(blocks.used(), 0);
    assert_eq!(blocks.take(&prompt(1, 40), 96).unwrap().blocks.len(), 3);
    assert!(blocks.take(&prompt(9, 1), 1).is_none());
}

#[test]
fn answers_are_shared_as_prompts_are() {
    let mut blocks = Blocks::new(10, true);
    let first = blocks.take(&prompt(1, 20), 100).unwrap();
    // The prompt, and 60 tokens that were picked.
    blocks.remember(&first.blocks, &prompt(1, 80), 79);
    blocks.give_back(&first.blocks);
    assert_eq!(blocks.take(&prompt(1, 90), 100).unwrap().cached, 64);
}

#[test]
fn what_was_forgotten_is_not_found_but_still_belongs_to_its_holders() {
    let mut blocks = Blocks::new(10, true);
    let one = blocks.take(&prompt(1, 70), 70).unwrap();
    blocks.remember(&one.blocks, &prompt(1, 70), 70);
    let other = blocks.take(&prompt(1, 70), 70).unwrap();
    assert_eq!(other.cached, 64);
    blocks.forget(&one.blocks);
    blocks.give_back(&one.blocks);
    assert_eq!(blocks.used(), 3, "the other's");
    assert_eq!(blocks.take(&prompt(1, 70), 70).unwrap().cached, 0);
    blocks.give_back(&other.blocks);
    assert_eq!(blocks.used(), 3, "the last one's");
}

/// A sequence in the random test below: prompt and answer, and what it holds.
#[derive(Debug)]
struct Sequence {
    tokens: Vec<u32>,
    computed: usize,
    taken: Taken,
}

/// What may happen next.
#[derive(Clone, Debug)]
enum Event {
    /// A prompt of a family, of so many tokens, with an answer of up to so many.
    Arrive {
        family: u32,
        prompt: usize,
        answer: usize,
    },
    /// A sequence has so much more computed, which is remembered.
    Compute { sequence: Index, tokens: usize },
    /// A sequence ends; where it failed, what it computed is forgotten.
    End { sequence: Index, failed: bool },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..3_u32, 1..150_usize, 1..60_usize).prop_map(|(family, prompt, answer)| {
            Event::Arrive {
                family,
                prompt,
                answer,
            }
        }),
        (any::<Index>(), 1..90_usize)
            .prop_map(|(sequence, tokens)| Event::Compute { sequence, tokens }),
        (any::<Index>(), prop::bool::weighted(0.1))
            .prop_map(|(sequence, failed)| Event::End { sequence, failed }),
    ]
}

/// The blocks, the sequences that run, and what the KV cache would hold.
struct World {
    blocks: Blocks,
    running: Vec<Sequence>,
    /// For each block, all tokens up to its last one that is computed.
    memory: Vec<Vec<u32>>,
}

impl World {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Arrive {
                family,
                prompt,
                answer,
            } => self.arrive(self::prompt(*family, *prompt), *answer),
            Event::Compute { sequence, tokens } if !self.running.is_empty() => {
                let index = sequence.index(self.running.len());
                self.compute(index, *tokens);
            }
            Event::End { sequence, failed } if !self.running.is_empty() => {
                let ended = self.running.swap_remove(sequence.index(self.running.len()));
                if *failed {
                    self.blocks.forget(&ended.taken.blocks);
                }
                self.blocks.give_back(&ended.taken.blocks);
            }
            Event::Compute { .. } | Event::End { .. } => {}
        }
        let held: BTreeSet<_> = self
            .running
            .iter()
            .flat_map(|sequence| &sequence.taken.blocks)
            .collect();
        assert_eq!(self.blocks.used(), held.len());
    }

    fn arrive(&mut self, prompt: Vec<u32>, answer: usize) {
        let Some(taken) = self.blocks.take(&prompt, prompt.len() + answer) else {
            return;
        };
        let written = &taken.blocks[taken.cached / BLOCK_TOKENS..];
        for other in &self.running {
            let shared = |block| other.taken.blocks.contains(block);
            assert!(!written.iter().any(shared), "two write one block");
        }
        assert!(taken.cached < prompt.len());
        for (index, block) in taken.blocks.iter().enumerate() {
            let end = (index + 1) * BLOCK_TOKENS;
            if end <= taken.cached {
                let held = &self.memory[*block as usize];
                assert_eq!(held, &prompt[..end], "it holds something else");
            }
        }
        self.running.push(Sequence {
            computed: taken.cached,
            tokens: prompt.into_iter().chain((0..answer).map(|_| 7)).collect(),
            taken,
        });
    }

    fn compute(&mut self, index: usize, more: usize) {
        let sequence = &mut self.running[index];
        let end = (sequence.computed + more).min(sequence.tokens.len());
        for position in sequence.computed..end {
            let block = sequence.taken.blocks[position / BLOCK_TOKENS];
            self.memory[block as usize] = sequence.tokens[..=position].to_vec();
        }
        sequence.computed = end;
        self.blocks
            .remember(&sequence.taken.blocks, &sequence.tokens, end);
    }
}

proptest! {
    /// Sequences come, go on and go at random: no block has two writers, none is lost, and what is
    /// found is what was asked for.
    #[test]
    fn no_block_is_lost_written_by_two_or_mistaken(
        events in prop::collection::vec(event(), 1..400),
        count in 5..30_usize,
        sharing in prop::bool::weighted(0.9),
    ) {
        let mut world = World {
            blocks: Blocks::new(count, sharing),
            running: Vec::new(),
            memory: vec![Vec::new(); count],
        };
        for event in &events {
            world.apply(event);
        }
        for sequence in std::mem::take(&mut world.running) {
            world.blocks.give_back(&sequence.taken.blocks);
        }
        assert_eq!(world.blocks.used(), 0);
        assert!(world.blocks.take(&[1], count * BLOCK_TOKENS).is_some());
    }
}
