//! The library's models against Transformers, as the scheduler drives them.
use super::*;
use crate::{
    engine::{Batch, SequenceId},
    load::ModelFiles,
    model::testing::{
        drive::{alone, assert_close},
        fixture,
    },
};

const TOLERANCE: f32 = 1e-3;

fn model(files: &ModelFiles) -> SequentialModel<'_> {
    let found = SequentialModel::find(files.description(), files.weights());
    found.unwrap().unwrap()
}

/// The model of `files` with another value of one field in its `config.json`.
fn changed(files: &ModelFiles, field: &str, value: Value) -> Result<(), LoadError> {
    let Description::Config(config) = files.description() else {
        panic!("it has no config.json");
    };
    let mut config = config.clone();
    config.insert(field.to_owned(), value);
    SequentialModel::find(Description::Config(&config), files.weights()).map(|_| ())
}

fn engine(files: &ModelFiles, context: usize) -> Box<dyn Engine> {
    model(files).load(context, &Device::Cpu, &|_| {}).unwrap()
}

/// Whole prompts, chunks, and one token after the other; the model is used again each time.
#[test]
fn the_logits_are_those_of_transformers() {
    for name in supported() {
        let files = fixture::files(name);
        for case in fixture::cases(name) {
            let mut engine = engine(&files, case.context);
            for row in &case.rows {
                let prompt = &case.tokens[..=row.position];
                for chunk in [prompt.len(), 1, 7] {
                    let what = format!("{name} at {} in chunks of {chunk}", row.position);
                    let logits = alone(engine.as_mut(), prompt, chunk);
                    assert_close(&logits, &row.logits, TOLERANCE, &what);
                }
            }
        }
    }
}

#[test]
fn two_sequences_in_a_step_are_refused_and_so_is_one_that_lost_its_cache() {
    let files = fixture::files("phi");
    let mut engine = engine(&files, 128);
    let mut step = |parts: &[(u64, &[u32], u32)]| {
        let mut batch = Batch::default();
        for &(id, tokens, start) in parts {
            batch.push(SequenceId(id), tokens, start, true, &[0]);
        }
        engine.step(&batch).map(|logits| logits.len())
    };
    assert!(step(&[(1, &[5], 0), (2, &[6], 0)]).is_err());
    assert_eq!(step(&[(1, &[5, 6], 0)]).unwrap(), 1);
    assert_eq!(step(&[(2, &[5], 0)]).unwrap(), 1);
    assert!(
        step(&[(1, &[7], 2)]).is_err(),
        "the second one's keys are in the cache"
    );
    assert!(step(&[(2, &[7], 2)]).is_err(), "a token is missing");
    assert_eq!(step(&[(2, &[7], 1)]).unwrap(), 1);
}

#[test]
fn a_feature_that_the_library_leaves_out_is_refused_by_name() {
    for (name, field, value) in [
        (
            "phi",
            "rope_scaling",
            serde_json::json!({"type": "dynamic", "factor": 2.0}),
        ),
        ("phi", "qk_layernorm", serde_json::json!(true)),
        ("mixtral", "head_dim", serde_json::json!(64)),
        ("qwen2_moe", "mlp_only_layers", serde_json::json!([1])),
        ("qwen3_moe", "use_sliding_window", serde_json::json!(true)),
        (
            "starcoder2",
            "tie_word_embeddings",
            serde_json::json!(false),
        ),
    ] {
        let files = fixture::files(name);
        let refused = changed(&files, field, value);
        let message = refused.err().unwrap().to_string();
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn contexts_end_where_a_window_would_matter() {
    let files = fixture::files("starcoder2");
    assert_eq!(model(&files).context_length(), 64);
    let files = fixture::files("mixtral");
    assert_eq!(model(&files).context_length(), 128);
}

#[test]
fn memory_is_that_of_the_floats_it_computes_with() {
    let files = fixture::files("phi");
    let model = model(&files);
    // Two layers of two KV heads of eight numbers, keys and values.
    assert_eq!(model.kv_bytes_per_token(), 2 * 2 * 2 * 8 * 4);
    let stored: usize = files
        .weights()
        .names()
        .map(|name| files.weights().tensor(name).unwrap().unwrap().bytes.len())
        .sum();
    assert_eq!(model.weights_bytes().unwrap(), 2 * stored as u64);
    // Four heads: scores of a hundred rows three times, and a key and a value of eight numbers.
    assert_eq!(
        model.attention_bytes_per_token(100),
        4 * (3 * 100 + 2 * 8) * 4
    );
}

/// The library would make tables and lists of these lengths before it sees that the file has no
/// such weights.
#[test]
fn numbers_that_no_model_has_are_refused_by_name() {
    for (name, field, value) in [
        ("phi", "num_hidden_layers", serde_json::json!(100_000)),
        ("phi", "partial_rotary_factor", serde_json::json!(1e300)),
        ("phi", "num_attention_heads", serde_json::json!(0)),
        (
            "olmo",
            "max_position_embeddings",
            serde_json::json!(1_u64 << 40),
        ),
        (
            "mixtral",
            "num_local_experts",
            serde_json::json!(1_u64 << 40),
        ),
        ("qwen3_moe", "num_experts", serde_json::json!(-1)),
        ("qwen3_moe", "head_dim", serde_json::json!(1 << 20)),
        ("starcoder2", "num_key_value_heads", serde_json::json!("2")),
    ] {
        let files = fixture::files(name);
        let refused = changed(&files, field, value);
        let message = refused.err().unwrap().to_string();
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn progress_ends_at_a_hundred() {
    let files = fixture::files("olmo");
    let last = std::sync::atomic::AtomicU8::new(0);
    let progress = |percent| last.store(percent, std::sync::atomic::Ordering::Relaxed);
    model(&files).load(64, &Device::Cpu, &progress).unwrap();
    assert_eq!(last.into_inner(), 100);
}
