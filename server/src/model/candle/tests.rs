//! The decoder against Transformers, and against itself in every precision.
use super::*;
use crate::{
    engine::{Batch, Engine, EngineError, SequenceId},
    load::{ModelFiles, precision::FormatPlan},
    model::{
        DecoderSpec, DecoderWeights,
        rope::Frequencies,
        spec::{Activation, RopePairs},
        testing::{
            drive::{alone, assert_close, difference, relative_error, together},
            fixture::{self, NAMES},
            gguf, random,
        },
    },
};
use candle_core::{Device, quantized::GgmlDType};

/// Of logits in 32 bits, which are up to about 10 in the tiny models.
const TOLERANCE: f32 = 1e-3;
/// Of logits from weights and rows of 8 bits, beside the logits' own size; 0.098 is the largest
/// measured. Random weights make much of little: those of a trained model change less.
const EIGHT_BITS: f32 = 0.12;
/// Of logits from weights, keys and values in half precision, beside the logits' own size.
const HALF: f32 = 0.02;
const BLOCKS: usize = 32;

fn load(files: &ModelFiles, context: usize, plan: FormatPlan) -> CandleDecoder {
    let weights = DecoderWeights::find(files.description(), files.weights()).unwrap();
    let weights = weights.reading(plan, &|_| {});
    CandleDecoder::load(&weights, context, BLOCKS, &Device::Cpu).unwrap()
}

/// Computes the rows of every case whose positions `sees` accepts, whole and in chunks, and in a
/// batch with the other rows.
fn check(name: &str, files: &ModelFiles, sees: impl Fn(usize) -> bool) {
    for case in fixture::cases(name) {
        let mut model = load(files, case.context, FormatPlan::AsStored);
        let rows: Vec<_> = case.rows.iter().filter(|row| sees(row.position)).collect();
        let prompts: Vec<_> = rows
            .iter()
            .map(|row| &case.tokens[..=row.position])
            .collect();
        for (row, prompt) in rows.iter().zip(&prompts) {
            for chunk in [prompt.len(), 1, 5, 16, 33] {
                let what = format!("{name} at {} in chunks of {chunk}", row.position);
                let logits = alone(&mut model, prompt, chunk);
                assert_close(&logits, &row.logits, TOLERANCE, &what);
            }
        }
        // Some have begun before: they decode, or go on with their prompt.
        for begun in [
            |_| 0,
            |length: usize| length - 1,
            |length: usize| length / 3,
        ] {
            let begun: Vec<_> = prompts.iter().map(|prompt| begun(prompt.len())).collect();
            let logits = together(&mut model, &prompts, &begun);
            for (row, logits) in rows.iter().zip(&logits) {
                let what = format!("{name} at {} after {begun:?}", row.position);
                assert_close(logits, &row.logits, TOLERANCE, &what);
            }
        }
    }
}

#[test]
fn the_logits_are_those_of_transformers() {
    for name in NAMES {
        check(name, &fixture::files(name), |_| true);
    }
}

#[test]
fn the_logits_from_gguf_are_those_of_transformers() {
    for name in NAMES {
        let file = gguf::write_fixture(name);
        let files = ModelFiles::open(file.path()).unwrap();
        // GGUF does not say that Mistral and Qwen have sliding windows.
        let window = match name {
            "mistral" => 12,
            "qwen2" => 14,
            _ => usize::MAX,
        };
        check(name, &files, |position| position < window);
    }
}

#[test]
fn weights_of_eight_bits_stay_close_to_transformers() {
    for name in NAMES {
        let files = fixture::files(name);
        for case in fixture::cases(name) {
            let plan = FormatPlan::Into(GgmlDType::Q8_0);
            let mut model = load(&files, case.context, plan);
            for row in &case.rows {
                let prompt = &case.tokens[..=row.position];
                let logits = alone(&mut model, prompt, prompt.len());
                let off = relative_error(&logits, &row.logits);
                assert!(off < EIGHT_BITS, "{name} at {}: {off} off", row.position);
            }
        }
    }
}

/// Everything that a GPU is given, except that tensors compute the attention: 16-bit weights as they
/// are, and keys and values in half precision.
#[test]
fn what_a_gpu_holds_stays_close_to_transformers() {
    for name in NAMES {
        let files = fixture::files(name);
        for case in fixture::cases(name) {
            let weights = DecoderWeights::find(files.description(), files.weights()).unwrap();
            let device = Device::Cpu;
            let loaded =
                CandleDecoder::load_as(&weights, case.context, BLOCKS, Target::Cuda, &device);
            let mut model = loaded.unwrap();
            let prompts: Vec<_> = case
                .rows
                .iter()
                .map(|row| &case.tokens[..=row.position])
                .collect();
            let begun: Vec<_> = prompts.iter().map(|prompt| prompt.len() / 3).collect();
            let logits = together(&mut model, &prompts, &begun);
            for (row, logits) in case.rows.iter().zip(&logits) {
                let off = relative_error(logits, &row.logits);
                assert!(off < HALF, "{name} at {}: {off} off", row.position);
            }
        }
    }
}

#[test]
fn every_precision_stays_close_to_full_precision() {
    let file = random::llama(GgmlDType::F32, None);
    let files = ModelFiles::open(file.path()).unwrap();
    let tokens = random::prompt(40);
    let logits = |plan| {
        let mut model = load(&files, 128, plan);
        let ends = [1, 2, 5, 10, 20, 30, 40];
        ends.map(|end| alone(&mut model, &tokens[..end], 40))
            .concat()
    };
    let wanted = logits(FormatPlan::AsStored);
    // A third more than measured.
    for (format, tolerance) in [
        (GgmlDType::F16, 0.002),
        (GgmlDType::BF16, 0.02),
        (GgmlDType::Q8_0, 0.06),
        (GgmlDType::Q6K, 0.14),
        (GgmlDType::Q5K, 0.25),
        (GgmlDType::Q4K, 0.42),
        (GgmlDType::Q4_1, 0.4),
        (GgmlDType::Q4_0, 0.47),
    ] {
        let off = relative_error(&logits(FormatPlan::Into(format)), &wanted);
        assert!(off < tolerance, "{format:?}: {off} off");
    }
}

/// If the tiny models did not notice that a feature is gone, their logits would prove nothing
/// about it.
#[test]
fn the_tiny_models_depend_on_every_feature_of_their_architecture() {
    type Change = fn(&mut DecoderSpec);
    let see_everything: Change = |spec| spec.attention.windows.fill(None);
    let no_magnitude: Change = |spec| spec.rope.magnitude = 1.0;
    let no_head_norms: Change = |spec| spec.norms.per_head = false;
    let changes: [(&str, &str, Change); 19] = [
        ("llama", "frequencies", |spec| {
            spec.rope.frequencies = Frequencies::new(500_000.0, 16).into_vec();
        }),
        ("llama", "epsilon", |spec| spec.norms.epsilon = 1e-1),
        ("mistral", "window", see_everything),
        ("qwen2", "window", see_everything),
        ("qwen2", "biases", |spec| spec.attention.biases = false),
        ("qwen3", "head norms", no_head_norms),
        ("qwen3", "magnitude", no_magnitude),
        ("qwen3", "pairs", |spec| {
            spec.rope.pairs = RopePairs::Adjacent;
        }),
        ("phi3", "window", see_everything),
        ("phi3", "magnitude", no_magnitude),
        ("phi3", "long frequencies", |spec| spec.rope.long = None),
        ("gemma2", "window", see_everything),
        ("gemma2", "attention's soft cap", |spec| {
            spec.attention.soft_cap = None;
        }),
        ("gemma2", "output's soft cap", |spec| {
            spec.output_soft_cap = None;
        }),
        ("gemma2", "norms after", |spec| spec.norms.after = false),
        ("gemma2", "norms' one", |spec| {
            spec.norms.stored_less_one = false;
        }),
        ("gemma2", "activation", |spec| {
            spec.activation = Activation::Silu;
        }),
        ("gemma3", "head norms", no_head_norms),
        ("gemma3", "local frequencies", |spec| spec.local_rope = None),
    ];
    for (name, feature, change) in changes {
        let files = fixture::files(name);
        let weights = DecoderWeights::find(files.description(), files.weights()).unwrap();
        let weights = weights.changed(change);
        let mut model = CandleDecoder::load(&weights, 128, BLOCKS, &Device::Cpu).unwrap();
        let case = fixture::cases(name).remove(0);
        let last = case.rows.last().unwrap();
        let off = difference(&alone(&mut model, &case.tokens, 40), &last.logits);
        assert!(
            off > 20.0 * TOLERANCE,
            "{name} without its {feature}: only {off} off"
        );
    }
}

#[test]
fn weights_quantised_on_load_are_those_of_a_quantised_file() {
    let tokens = random::prompt(20);
    let full = random::llama(GgmlDType::F32, None);
    let full = ModelFiles::open(full.path()).unwrap();
    let stored = random::llama(GgmlDType::Q8_0, None);
    let stored = ModelFiles::open(stored.path()).unwrap();
    let plan = FormatPlan::Into(GgmlDType::Q8_0);
    assert_eq!(
        alone(&mut load(&full, 128, plan), &tokens, 20),
        alone(&mut load(&stored, 128, FormatPlan::AsStored), &tokens, 20),
    );
}

#[test]
fn rows_without_kv_cache_are_refused() {
    let mut model = load(&fixture::files("llama"), 128, FormatPlan::AsStored);
    for (start, blocks) in [(0, &[][..]), (32, &[1]), (0, &[32])] {
        let mut batch = Batch::default();
        batch.push(SequenceId(9), &[1], start, true, blocks);
        let refused = model.step(&batch);
        assert!(matches!(refused, Err(EngineError::Blocks(SequenceId(9)))));
    }
}
