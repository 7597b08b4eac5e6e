//! A tiny model with arbitrary weights: packed, chunked and alone it computes the same, and the
//! same as the tensor library's own one-sequence implementation.
use super::*;
use crate::engine::SequenceId;
use candle_core::quantized::{
    GgmlDType, QTensor,
    gguf_file::{Content, Value, write},
};
use candle_transformers::models::quantized_llama::ModelWeights;
use std::fs::File;
use tempfile::NamedTempFile;

const VOCABULARY: usize = 96;
const HIDDEN: usize = 64;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const FEED_FORWARD: usize = 96;
const LAYERS: u32 = 3;

fn tiny_model() -> NamedTempFile {
    let kv_width = HIDDEN / HEADS * KV_HEADS;
    let mut seed = 0;
    let mut tensors = Vec::new();
    let mut add = |name: String, dimensions: &[usize], spread: f32, middle: f32| {
        seed += 1;
        let count: usize = dimensions.iter().product();
        let values: Vec<f32> = (0..count as u64)
            .map(|index| arbitrary(index, seed) * spread + middle)
            .collect();
        let tensor = Tensor::from_vec(values, dimensions, &Device::Cpu).unwrap();
        tensors.push((name, QTensor::quantize(&tensor, GgmlDType::F32).unwrap()));
    };
    add("token_embd.weight".into(), &[VOCABULARY, HIDDEN], 1.0, 0.0);
    add("output_norm.weight".into(), &[HIDDEN], 0.1, 1.0);
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        add(name("attn_norm"), &[HIDDEN], 0.1, 1.0);
        add(name("attn_q"), &[HIDDEN, HIDDEN], 0.3, 0.0);
        add(name("attn_k"), &[kv_width, HIDDEN], 0.3, 0.0);
        add(name("attn_v"), &[kv_width, HIDDEN], 0.3, 0.0);
        add(name("attn_output"), &[HIDDEN, HIDDEN], 0.3, 0.0);
        add(name("ffn_norm"), &[HIDDEN], 0.1, 1.0);
        add(name("ffn_gate"), &[FEED_FORWARD, HIDDEN], 0.3, 0.0);
        add(name("ffn_up"), &[FEED_FORWARD, HIDDEN], 0.3, 0.0);
        add(name("ffn_down"), &[HIDDEN, FEED_FORWARD], 0.3, 0.0);
    }
    let number = |value: usize| Value::U32(u32::try_from(value).unwrap());
    let metadata = [
        ("general.architecture", Value::String("llama".into())),
        ("llama.block_count", Value::U32(LAYERS)),
        ("llama.embedding_length", number(HIDDEN)),
        ("llama.attention.head_count", number(HEADS)),
        ("llama.attention.head_count_kv", number(KV_HEADS)),
        ("llama.rope.dimension_count", number(HIDDEN / HEADS)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
        ("llama.context_length", Value::U32(128)),
    ];
    let file = NamedTempFile::new().unwrap();
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    write(&mut file.as_file(), &metadata, &tensors).unwrap();
    file
}

/// A number between -0.5 and 0.5 that looks random.
fn arbitrary(index: u64, seed: u64) -> f32 {
    let mixed = (index + seed * 1_000_003).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
}

fn load(file: &NamedTempFile) -> Llama {
    let file = GgufFile::open(file.path()).unwrap();
    let shape = ModelShape::of(&file).unwrap();
    Llama::load(&file, &shape, 128, 32, &Device::Cpu, &|_| {}).unwrap()
}

fn prompt(length: usize, seed: usize) -> Vec<u32> {
    (0..length)
        .map(|index| u32::try_from((index * 31 + seed * 17) % VOCABULARY).unwrap())
        .collect()
}

/// Logits after `tokens` alone, in steps of `chunk` tokens.
fn alone(model: &mut Llama, tokens: &[u32], chunk: usize) -> Vec<f32> {
    let id = SequenceId(1000);
    let mut logits = Vec::new();
    for (index, part) in tokens.chunks(chunk).enumerate() {
        let start = index * chunk;
        let mut batch = Batch::default();
        batch.push(
            id,
            part,
            u32::try_from(start).unwrap(),
            start + part.len() == tokens.len(),
            // Blocks that do not lie in order.
            &[30, 7, 12, 1],
        );
        logits = model.step(&batch).unwrap();
    }
    logits.remove(0)
}

#[track_caller]
fn assert_close(got: &[f32], wanted: &[f32]) {
    assert_eq!(got.len(), wanted.len());
    for (index, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!(
            (got - wanted).abs() < 1e-3,
            "logit {index}: {got} instead of {wanted}"
        );
    }
}

#[test]
fn the_logits_equal_those_of_the_librarys_own_implementation() {
    let file = tiny_model();
    let mut reader = File::open(file.path()).unwrap();
    let content = Content::read(&mut reader).unwrap();
    let mut reference = ModelWeights::from_gguf(content, &mut reader, &Device::Cpu).unwrap();
    let tokens = prompt(19, 1);
    let input = Tensor::new(tokens.as_slice(), &Device::Cpu)
        .unwrap()
        .unsqueeze(0)
        .unwrap();
    let wanted: Vec<f32> = reference
        .forward(&input, 0)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();
    assert_close(&alone(&mut load(&file), &tokens, 19), &wanted);
}

#[test]
fn a_prompt_in_chunks_gives_the_logits_of_the_whole() {
    let mut model = load(&tiny_model());
    let tokens = prompt(23, 2);
    let whole = alone(&mut model, &tokens, 23);
    for chunk in [1, 5, 22] {
        assert_close(&alone(&mut model, &tokens, chunk), &whole);
    }
}

#[test]
fn sequences_of_different_lengths_share_a_step_without_touching_each_other() {
    let mut model = load(&tiny_model());
    let prompts = [prompt(7, 3), prompt(1, 4), prompt(30, 5)];
    let wanted: Vec<_> = prompts
        .iter()
        .map(|tokens| alone(&mut model, tokens, 64))
        .collect();
    // The first and the last have begun before: one decodes, one goes on with its prompt.
    let ids = [SequenceId(1), SequenceId(2), SequenceId(3)];
    let begun = [6, 0, 11];
    let blocks = [[3, 1], [4, 5], [2, 0]];
    for (((id, tokens), begun), blocks) in ids.iter().zip(&prompts).zip(begun).zip(&blocks) {
        if begun > 0 {
            let mut batch = Batch::default();
            batch.push(*id, &tokens[..begun], 0, false, blocks);
            assert!(
                model.step(&batch).unwrap().is_empty(),
                "nobody asked for logits"
            );
        }
    }
    let mut batch = Batch::default();
    for (((id, tokens), begun), blocks) in ids.iter().zip(&prompts).zip(begun).zip(&blocks) {
        let start = u32::try_from(begun).unwrap();
        batch.push(*id, &tokens[begun..], start, true, blocks);
    }
    let logits = model.step(&batch).unwrap();
    assert_eq!(logits.len(), 3);
    for (got, wanted) in logits.iter().zip(&wanted) {
        assert_close(got, wanted);
    }
}

#[test]
fn rows_without_kv_cache_are_refused() {
    let mut model = load(&tiny_model());
    for (start, blocks) in [(0, &[][..]), (32, &[1]), (0, &[32])] {
        let mut batch = Batch::default();
        batch.push(SequenceId(9), &[1], start, true, blocks);
        let refused = model.step(&batch);
        assert!(matches!(refused, Err(EngineError::Blocks(SequenceId(9)))));
    }
}
