//! Our own kernels against Transformers and against the candle backend, and their promise that a
//! row's logits depend on nothing beside it.
use super::*;
use crate::{
    load::{ModelFiles, precision::FormatPlan},
    model::{
        DecoderWeights,
        testing::{
            drive::{alone, assert_close, relative_error, together},
            fixture::{self, NAMES},
            random,
        },
    },
};

const BLOCKS: usize = 32;
/// Of logits up to about 10, with a KV cache in half precision; candle's, in single, is 1e-3.
const TOLERANCE: f32 = 5e-2;
/// Of logits from weights and rows of 8 bits, beside the logits' own size.
const EIGHT_BITS: f32 = 0.2;

fn load(files: &ModelFiles, context: usize, plan: FormatPlan, threads: usize) -> CpuDecoder {
    let weights = DecoderWeights::find(files.description(), files.weights()).unwrap();
    let weights = weights.reading(plan, &|_| {});
    assert!(supports(weights.spec()));
    CpuDecoder::load(&weights, context, BLOCKS, threads).unwrap()
}

#[test]
fn the_logits_are_those_of_transformers() {
    for name in NAMES {
        let files = fixture::files(name);
        for case in fixture::cases(name) {
            let mut model = load(&files, case.context, FormatPlan::AsStored, 2);
            for row in &case.rows {
                let prompt = &case.tokens[..=row.position];
                let logits = alone(&mut model, prompt, prompt.len());
                let what = format!("{name} at {}", row.position);
                assert_close(&logits, &row.logits, TOLERANCE, &what);
            }
        }
    }
}

#[test]
fn weights_of_eight_bits_stay_close_to_transformers() {
    for name in NAMES {
        let files = fixture::files(name);
        for case in fixture::cases(name) {
            let plan = FormatPlan::Into(GgmlDType::Q8_0);
            let mut model = load(&files, case.context, plan, 2);
            for row in &case.rows {
                let prompt = &case.tokens[..=row.position];
                let logits = alone(&mut model, prompt, prompt.len());
                let off = relative_error(&logits, &row.logits);
                assert!(off < EIGHT_BITS, "{name} at {}: {off} off", row.position);
            }
        }
    }
}

#[test]
fn a_sequence_has_the_same_logits_to_the_bit_alone_in_chunks_and_in_company() {
    for name in NAMES {
        let files = fixture::files(name);
        for case in fixture::cases(name) {
            for plan in [FormatPlan::AsStored, FormatPlan::Into(GgmlDType::Q8_0)] {
                let mut model = load(&files, case.context, plan, 2);
                let prompts: Vec<_> = case
                    .rows
                    .iter()
                    .map(|row| &case.tokens[..=row.position])
                    .collect();
                let wanted: Vec<_> = prompts
                    .iter()
                    .map(|prompt| alone(&mut model, prompt, prompt.len()))
                    .collect();
                for (prompt, wanted) in prompts.iter().zip(&wanted) {
                    for chunk in [1, 5, 16, 33] {
                        let logits = alone(&mut model, prompt, chunk);
                        assert!(logits == *wanted, "{name} {plan:?} in chunks of {chunk}");
                    }
                    let mut other = load(&files, case.context, plan, 3);
                    let logits = alone(&mut other, prompt, prompt.len());
                    assert!(logits == *wanted, "{name} {plan:?} on three threads");
                }
                let begun: Vec<_> = prompts.iter().map(|prompt| prompt.len() / 3).collect();
                let logits = together(&mut model, &prompts, &begun);
                assert!(logits == wanted, "{name} {plan:?} in company");
            }
        }
    }
}

#[test]
fn a_prompt_that_goes_on_in_another_sequences_blocks_has_the_same_logits_to_the_bit() {
    use crate::engine::{BLOCK_TOKENS, Batch, Engine, SequenceId};
    let file = random::llama(GgmlDType::F32, None);
    let files = ModelFiles::open(file.path()).unwrap();
    let tokens = random::prompt(50);
    let mut model = load(&files, 128, FormatPlan::Into(GgmlDType::Q8_0), 2);
    let mut step = |id, tokens: &[u32], start, blocks: &[u32]| {
        let mut batch = Batch::default();
        batch.push(SequenceId(id), tokens, start, true, blocks);
        model.step(&batch).unwrap().remove(0)
    };
    let alone = step(1, &tokens, 0, &[4, 9]);
    let shared = step(2, &tokens[BLOCK_TOKENS..], 32, &[4, 6]);
    assert!(alone == shared);
}

#[test]
fn every_precision_stays_close_to_full_precision() {
    let file = random::llama(GgmlDType::F32, None);
    let files = ModelFiles::open(file.path()).unwrap();
    let tokens = random::prompt(40);
    let logits = |plan| alone(&mut load(&files, 128, plan, 2), &tokens, 40);
    let wanted = logits(FormatPlan::AsStored);
    for (format, tolerance) in [
        (GgmlDType::F16, 0.01),
        (GgmlDType::BF16, 0.05),
        (GgmlDType::Q8_0, 0.1),
        (GgmlDType::Q6K, 0.2),
        (GgmlDType::Q5K, 0.3),
        (GgmlDType::Q4K, 0.5),
        (GgmlDType::Q4_0, 0.5),
        (GgmlDType::Q4_1, 0.5),
    ] {
        let off = relative_error(&logits(FormatPlan::Into(format)), &wanted);
        assert!(off < tolerance, "{format:?}: {off} off");
    }
}

#[test]
fn tokens_and_positions_that_do_not_exist_are_errors() {
    use crate::engine::{Batch, Engine, SequenceId};
    let file = random::llama(GgmlDType::F32, None);
    let files = ModelFiles::open(file.path()).unwrap();
    let mut model = load(&files, 64, FormatPlan::AsStored, 1);
    for (token, start, blocks) in [
        (1 << 20, 0, &[0][..]),
        (1, 64, &[0, 1, 2]),
        (1, 0, &[99]),
        (1, 0, &[]),
    ] {
        let mut batch = Batch::default();
        batch.push(SequenceId(1), &[token], start, true, blocks);
        assert!(
            model.step(&batch).is_err(),
            "{token} at {start} in {blocks:?}"
        );
    }
}
