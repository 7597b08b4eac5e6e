//! Computes sequences on an engine in the ways that a scheduler would.
use crate::engine::{Batch, Engine, SequenceId};

/// A block table that is in no order, for sequences of up to 160 tokens.
pub(crate) const SCATTERED: [u32; 5] = [30, 7, 12, 1, 29];

fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap()
}

/// Logits after `tokens` alone, in steps of `chunk` tokens.
pub(crate) fn alone(model: &mut dyn Engine, tokens: &[u32], chunk: usize) -> Vec<f32> {
    let mut logits = Vec::new();
    for (index, part) in tokens.chunks(chunk).enumerate() {
        let start = index * chunk;
        let last = start + part.len() == tokens.len();
        let mut batch = Batch::default();
        batch.push(SequenceId(1000), part, number(start), last, &SCATTERED);
        logits = model.step(&batch).unwrap();
    }
    logits.remove(0)
}

/// Logits after each of `prompts`, which share one step after `begun` tokens of each have been
/// computed in steps before. Their blocks of KV cache alternate.
pub(crate) fn together(
    model: &mut dyn Engine,
    prompts: &[&[u32]],
    begun: &[usize],
) -> Vec<Vec<f32>> {
    let tables: Vec<Vec<u32>> = (0..prompts.len())
        .map(|sequence| {
            (0..4)
                .rev()
                .map(|block| number(block * prompts.len() + sequence))
                .collect()
        })
        .collect();
    let mut mixed = Batch::default();
    for (index, (tokens, &begun)) in prompts.iter().zip(begun).enumerate() {
        let id = SequenceId(index as u64);
        let blocks = &tables[index];
        if begun > 0 {
            let mut batch = Batch::default();
            batch.push(id, &tokens[..begun], 0, false, blocks);
            let nothing = model.step(&batch).unwrap();
            assert!(nothing.is_empty(), "nobody asked for logits");
        }
        mixed.push(id, &tokens[begun..], number(begun), true, blocks);
    }
    model.step(&mixed).unwrap()
}

/// The largest difference between two rows of logits.
pub(crate) fn difference(got: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(got.len(), wanted.len());
    let pairs = got.iter().zip(wanted);
    pairs.fold(0.0, |largest, (got, wanted)| {
        let difference = (got - wanted).abs();
        assert!(difference.is_finite(), "{got} instead of {wanted}");
        largest.max(difference)
    })
}

/// How large the differences are beside the logits, both as root mean squares.
pub(crate) fn relative_error(got: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(got.len(), wanted.len());
    let pairs = got.iter().zip(wanted);
    let off: f32 = pairs.map(|(got, wanted)| (got - wanted).powi(2)).sum();
    let whole: f32 = wanted.iter().map(|wanted| wanted.powi(2)).sum();
    (off / whole).sqrt()
}

#[track_caller]
pub(crate) fn assert_close(got: &[f32], wanted: &[f32], tolerance: f32, what: &str) {
    let difference = difference(got, wanted);
    assert!(difference < tolerance, "{what}: {difference} off");
}
