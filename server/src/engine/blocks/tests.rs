//! What is shared, what is not, and that no block is ever lost or given to two.
use super::*;

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

/// Thousands of sequences come and go at random: no block has two writers, and none is lost.
#[test]
fn no_block_is_lost_or_written_by_two() {
    const BLOCKS: usize = 23;
    let mut state = 42_u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let mut blocks = Blocks::new(BLOCKS, true);
    let mut running: Vec<(Taken, Vec<u32>)> = Vec::new();
    for _ in 0..20_000 {
        if random(2) == 0 && !running.is_empty() {
            let index = usize::try_from(random(running.len() as u64)).unwrap();
            let (taken, _) = running.swap_remove(index);
            blocks.give_back(&taken.blocks);
        } else {
            let length = usize::try_from(random(150)).unwrap() + 1;
            let prompt = prompt(u32::try_from(random(3)).unwrap(), length);
            if let Some(taken) = blocks.take(&prompt, length + 20) {
                for (own, _) in &running {
                    let written = &taken.blocks[taken.cached / BLOCK_TOKENS..];
                    assert!(written.iter().all(|block| !own.blocks.contains(block)));
                }
                let computed = usize::try_from(random(length as u64 + 1)).unwrap();
                blocks.remember(&taken.blocks, &prompt, computed.max(taken.cached));
                running.push((taken, prompt));
            }
        }
        let mut held: Vec<_> = running
            .iter()
            .flat_map(|(taken, _)| &taken.blocks)
            .collect();
        held.sort_unstable();
        held.dedup();
        assert_eq!(blocks.used(), held.len());
    }
    for (taken, _) in running {
        blocks.give_back(&taken.blocks);
    }
    assert_eq!(blocks.used(), 0);
    assert!(blocks.take(&[1], BLOCKS * BLOCK_TOKENS).is_some());
}
