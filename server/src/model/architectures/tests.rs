//! What descriptions are understood, and which are refused.
use super::*;
use crate::{
    load::{StoredTensor, precision::FormatPlan},
    model::{
        spec::{Activation, RopePairs},
        testing::fixture,
        weights::DecoderWeights,
    },
};
use candle_core::quantized::{GgmlDType, gguf_file::Value as GgufValue};
use serde_json::json;
use std::path::Path;

/// Says that there are embeddings, which is all that a description is compared with.
struct Embeddings;

impl WeightSource for Embeddings {
    fn tensor(&self, name: &str) -> Result<Option<StoredTensor<'_>>, LoadError> {
        Ok((name == "token_embd.weight").then_some(StoredTensor {
            format: GgmlDType::F16,
            dimensions: &[96, 576],
            bytes: &[],
        }))
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(std::iter::empty())
    }

    fn path(&self) -> &Path {
        Path::new("model")
    }
}

fn from_gguf(changes: &[(&str, GgufValue)]) -> Result<DecoderSpec, String> {
    let base = [
        ("general.architecture", GgufValue::String("llama".into())),
        ("llama.block_count", GgufValue::U32(30)),
        ("llama.embedding_length", GgufValue::U32(576)),
        ("llama.feed_forward_length", GgufValue::U32(1536)),
        ("llama.attention.head_count", GgufValue::U32(9)),
        ("llama.attention.head_count_kv", GgufValue::U32(3)),
        ("llama.context_length", GgufValue::U32(8192)),
    ];
    let metadata: Metadata = base
        .into_iter()
        .chain(changes.iter().cloned())
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let decoder = describe(Description::Gguf(&metadata), &Embeddings);
    decoder
        .map(|decoder| decoder.spec)
        .map_err(|error| error.to_string())
}

fn from_config(changes: Value) -> Result<DecoderSpec, String> {
    let mut config = json!({
        "model_type": "llama",
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 96,
        "max_position_embeddings": 128,
    });
    let Value::Object(config) = &mut config else {
        unreachable!()
    };
    let Value::Object(mut changes) = changes else {
        panic!("changes are an object")
    };
    config.append(&mut changes);
    let decoder = describe(Description::Config(config), &Embeddings);
    decoder
        .map(|decoder| decoder.spec)
        .map_err(|error| error.to_string())
}

#[track_caller]
fn assert_refused(outcome: Result<DecoderSpec, String>, part: &str) {
    let message = outcome.unwrap_err();
    assert!(message.contains(part), "{message} lacks {part}");
}

#[test]
fn a_decoder_is_what_its_metadata_says() {
    let spec = from_gguf(&[]).unwrap();
    assert_eq!((spec.layers, spec.head_dim, spec.kv_heads), (30, 64, 3));
    assert_eq!((spec.vocabulary, spec.feed_forward), (96, 1536));
    assert_eq!(spec.kv_elements_per_token(), 2 * 30 * 3 * 64);
    assert_eq!(spec.rope.pairs, RopePairs::Adjacent);
    assert_eq!(spec.rope.frequencies.len(), 32);
    assert!(spec.tied_output, "there is no output.weight");
}

#[test]
fn a_decoder_is_what_its_configuration_says() {
    let spec = from_config(json!({"model_type": "mistral", "sliding_window": 12})).unwrap();
    assert_eq!(spec.attention.windows, [Some(12), Some(12)]);
    assert_eq!(spec.rope.pairs, RopePairs::Halves);
    assert_eq!(spec.activation, Activation::Silu);
    let without = from_config(json!({"model_type": "mistral", "sliding_window": null})).unwrap();
    assert_eq!(without.attention.windows, [None, None]);
}

#[test]
fn the_base_may_lie_where_transformers_5_puts_it() {
    let old = from_config(json!({"rope_theta": 500.0})).unwrap();
    let inside = json!({"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}});
    assert_eq!(from_config(inside).unwrap(), old);
    assert_ne!(from_config(json!({})).unwrap(), old);
}

#[test]
fn another_architecture_is_named_beside_those_that_can_be_served() {
    let mamba = GgufValue::String("mamba".into());
    let outcome = from_gguf(&[("general.architecture", mamba)]);
    assert_refused(outcome.clone(), "\"mamba\"");
    assert_refused(
        outcome,
        "llama, mistral, qwen2, qwen3, phi3, gemma2, gemma3",
    );
    assert_refused(from_config(json!({"model_type": "t5"})), "\"t5\"");
    assert_refused(from_config(json!({"model_type": null})), "does not name");
}

#[test]
fn impossible_dimensions_are_refused() {
    for (key, value, part) in [
        ("llama.block_count", GgufValue::U32(0), "layers cannot be 0"),
        ("llama.block_count", GgufValue::U64(u64::MAX), "layers"),
        ("llama.attention.head_count", GgufValue::U32(0), "heads"),
        (
            "llama.attention.head_count_kv",
            GgufValue::U32(2),
            "not a multiple",
        ),
        (
            "llama.attention.head_count_kv",
            GgufValue::U32(0),
            "KV heads cannot be 0",
        ),
        ("llama.embedding_length", GgufValue::U32(4), "head width"),
        (
            "llama.attention.key_length",
            GgufValue::U64(u64::MAX),
            "head width",
        ),
        ("llama.rope.dimension_count", GgufValue::U32(66), "rotated"),
        ("llama.rope.freq_base", GgufValue::F32(0.0), "not numbers"),
        ("llama.expert_count", GgufValue::U32(8), "experts"),
        (
            "llama.attention.value_length",
            GgufValue::U32(32),
            "values of another width",
        ),
    ] {
        assert_refused(from_gguf(&[(key, value)]), part);
    }
    assert_refused(
        from_config(json!({"hidden_size": -1})),
        "hidden_size is missing",
    );
    assert_refused(
        from_config(json!({"num_hidden_layers": u64::MAX})),
        "layers",
    );
    let empty = json!({"model_type": "mistral", "sliding_window": 0});
    assert_refused(from_config(empty), "window cannot be 0");
}

#[test]
fn variants_that_would_be_computed_wrongly_are_refused_by_name() {
    let kind = GgufValue::String("su".into());
    assert_refused(
        from_gguf(&[("llama.rope.scaling.type", kind)]),
        "llama with su rope scaling",
    );
    for (changes, part) in [
        (json!({"attention_bias": true}), "attention_bias"),
        (json!({"mlp_bias": true}), "mlp_bias"),
        (json!({"hidden_act": "relu"}), "the activation relu"),
        (
            json!({"quantization_config": {"quant_method": "gptq"}}),
            "another tool",
        ),
        (
            json!({"rope_scaling": {"rope_type": "dynamic"}}),
            "dynamic rope scaling",
        ),
        (
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0}}),
            "yarn",
        ),
        (
            json!({"model_type": "mistral", "layer_types": ["chunked_attention"]}),
            "chunked_attention",
        ),
    ] {
        assert_refused(from_config(changes), part);
    }
    let missing = json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}});
    assert_refused(from_config(missing), "low_freq_factor is missing");
    let short =
        json!({"rope_scaling": {"rope_type": "longrope", "factor": 2.0, "long_factor": [1.0]}});
    assert_refused(from_config(short), "long_factor does not fit");
}

#[test]
fn weights_of_one_tensor_are_its_rows() {
    let files = fixture::files("phi3");
    let weights = DecoderWeights::find(files.description(), files.weights()).unwrap();
    let fused = files
        .weights()
        .tensor("model.layers.1.self_attn.qkv_proj.weight");
    let fused = fused.unwrap().unwrap();
    let key = weights.matrix(Weight::Layer(1, crate::model::LayerWeight::Key));
    let key = key.unwrap();
    assert_eq!((key.rows, key.columns), (32, 64));
    assert_eq!(*key.bytes, *fused.rows(64..96).unwrap());
    assert!(
        matches!(key.bytes, std::borrow::Cow::Borrowed(_)),
        "no copy"
    );
    let role = weights.role(Weight::Output);
    assert_eq!(
        FormatPlan::AsStored.format(role, key.format, 64),
        GgmlDType::F16
    );
}
