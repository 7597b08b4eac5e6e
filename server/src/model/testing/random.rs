//! Models with arbitrary weights, wide enough for blocks of 256.
use candle_core::{
    Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        gguf_file::{Value, write},
    },
};
use tempfile::NamedTempFile;

pub(crate) const VOCABULARY: usize = 64;
const HIDDEN: usize = 256;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const FEED_FORWARD: usize = 256;
const LAYERS: u32 = 2;

/// A Llama as a GGUF file with its matrices in `format`, and one more tensor of the name `surplus`.
pub(crate) fn llama(format: GgmlDType, surplus: Option<&str>) -> NamedTempFile {
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
        let format = if dimensions.len() > 1 {
            format
        } else {
            GgmlDType::F32
        };
        tensors.push((name, QTensor::quantize(&tensor, format).unwrap()));
    };
    add("token_embd.weight".into(), &[VOCABULARY, HIDDEN], 1.0, 0.0);
    add("output.weight".into(), &[VOCABULARY, HIDDEN], 0.5, 0.0);
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
    if let Some(surplus) = surplus {
        add(surplus.to_owned(), &[HIDDEN], 1.0, 0.0);
    }
    let number = |value: usize| Value::U32(u32::try_from(value).unwrap());
    let metadata = [
        ("general.architecture", Value::String("llama".into())),
        ("llama.block_count", Value::U32(LAYERS)),
        ("llama.embedding_length", number(HIDDEN)),
        ("llama.feed_forward_length", number(FEED_FORWARD)),
        ("llama.attention.head_count", number(HEADS)),
        ("llama.attention.head_count_kv", number(KV_HEADS)),
        ("llama.rope.dimension_count", number(HIDDEN / HEADS)),
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

/// Tokens that look random.
pub(crate) fn prompt(length: usize) -> Vec<u32> {
    (0..length)
        .map(|index| u32::try_from((index * 31 + 17) % VOCABULARY).unwrap())
        .collect()
}

/// A number between -0.5 and 0.5 that looks random (Steele et al., 2014, "SplitMix").
fn arbitrary(index: u64, seed: u64) -> f32 {
    let mut mixed = (index + seed * 1_000_003).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
}
