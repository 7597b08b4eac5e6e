//! Writes the tiny models as GGUF, by the names and conventions of llama.cpp's
//! `convert_hf_to_gguf.py`.
use super::fixture;
use crate::load::{ModelFiles, StoredTensor, formats::widen};
use candle_core::{
    Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        gguf_file::{Value, write},
    },
};
use serde_json::{Map, Value as Json};
use std::f64::consts::PI;
use tempfile::NamedTempFile;

/// The tiny model `name` as a GGUF file.
pub(crate) fn write_fixture(name: &str) -> NamedTempFile {
    let ModelFiles::HuggingFace(weights, folder) = fixture::files(name) else {
        panic!("{name} is not a folder");
    };
    let weights: &dyn crate::load::WeightSource = &weights;
    let converter = Converter {
        config: folder.config(),
        gemma: name.starts_with("gemma"),
    };
    let mut tensors = converter.factors();
    for source in weights.names() {
        let stored = weights.tensor(source).unwrap().unwrap();
        tensors.push(converter.tensor(source, &stored));
    }
    let file = NamedTempFile::new().unwrap();
    let metadata = converter.metadata();
    let metadata: Vec<_> = metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    write(&mut file.as_file(), &metadata, &tensors).unwrap();
    file
}

struct Converter<'a> {
    config: &'a Map<String, Json>,
    gemma: bool,
}

impl Converter<'_> {
    fn number(&self, key: &str) -> usize {
        let number = self.config.get(key).and_then(Json::as_u64);
        usize::try_from(number.unwrap_or_else(|| panic!("{key}"))).unwrap()
    }

    fn architecture(&self) -> &str {
        match self.config["model_type"].as_str().unwrap() {
            "mistral" => "llama",
            "gemma3_text" => "gemma3",
            other => other,
        }
    }

    fn head_dim(&self) -> usize {
        let own = self.config.get("head_dim").and_then(Json::as_u64);
        own.map_or_else(
            || self.number("hidden_size") / self.number("num_attention_heads"),
            |width| usize::try_from(width).unwrap(),
        )
    }

    fn scaling(&self) -> Option<&Map<String, Json>> {
        self.config.get("rope_scaling")?.as_object()
    }

    fn metadata(&self) -> Vec<(String, Value)> {
        let architecture = self.architecture();
        let number = |value: usize| Value::U32(u32::try_from(value).unwrap());
        #[expect(clippy::cast_possible_truncation, reason = "as GGUF stores it")]
        let float = |value: &Json| Value::F32(value.as_f64().unwrap() as f32);
        let name = Value::String(architecture.to_owned());
        let mut metadata = vec![("general.architecture".to_owned(), name)];
        let mut add = |key: &str, value| metadata.push((format!("{architecture}.{key}"), value));
        for (key, from) in [
            ("block_count", "num_hidden_layers"),
            ("embedding_length", "hidden_size"),
            ("feed_forward_length", "intermediate_size"),
            ("attention.head_count", "num_attention_heads"),
            ("attention.head_count_kv", "num_key_value_heads"),
            ("context_length", "max_position_embeddings"),
        ] {
            add(key, number(self.number(from)));
        }
        add("attention.key_length", number(self.head_dim()));
        add("attention.value_length", number(self.head_dim()));
        add(
            "attention.layer_norm_rms_epsilon",
            float(&self.config["rms_norm_eps"]),
        );
        add(
            "rope.freq_base",
            float(
                self.config
                    .get("rope_theta")
                    .unwrap_or(&Json::from(10_000.0)),
            ),
        );
        // The converter leaves the windows of Mistral and Qwen out.
        if self.gemma || architecture == "phi3" {
            add(
                "attention.sliding_window",
                number(self.number("sliding_window")),
            );
        }
        match architecture {
            "gemma2" => {
                for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
                    add(key, float(&self.config[key]));
                }
            }
            "gemma3" => {
                add("attention.sliding_window_pattern", number(3));
                add("rope.scaling.type", Value::String("linear".into()));
                add(
                    "rope.scaling.factor",
                    float(&self.scaling().unwrap()["factor"]),
                );
            }
            "phi3" => {
                let original = self.number("original_max_position_embeddings");
                let longer = self.number("max_position_embeddings") as f64 / original as f64;
                let magnitude = (1.0 + longer.ln() / (original as f64).ln()).sqrt();
                add("rope.dimension_count", number(self.head_dim() * 3 / 4));
                add("rope.scaling.original_context_length", number(original));
                add("rope.scaling.attn_factor", float(&Json::from(magnitude)));
            }
            "qwen3" => {
                let scaling = self.scaling().unwrap();
                let original = &scaling["original_max_position_embeddings"];
                let original = usize::try_from(original.as_u64().unwrap()).unwrap();
                add("rope.scaling.type", Value::String("yarn".into()));
                add("rope.scaling.factor", float(&scaling["factor"]));
                add("rope.scaling.original_context_length", number(original));
            }
            _ => {}
        }
        metadata
    }

    /// The vectors that stretch the rotary embedding.
    fn factors(&self) -> Vec<(String, QTensor)> {
        let Some(scaling) = self.scaling() else {
            return Vec::new();
        };
        let number = |key: &str| scaling[key].as_f64().unwrap();
        let kind = scaling.get("rope_type").or(scaling.get("type")).unwrap();
        match kind.as_str().unwrap() {
            "llama3" => {
                let width = self.head_dim();
                let base = self.config["rope_theta"].as_f64().unwrap();
                let original = number("original_max_position_embeddings");
                let (low, high) = (number("low_freq_factor"), number("high_freq_factor"));
                let factors = (0..width / 2).map(|pair| {
                    let turn = 2.0 * PI * base.powf(2.0 * pair as f64 / width as f64);
                    if turn < original / high {
                        1.0
                    } else if turn > original / low {
                        number("factor")
                    } else {
                        let smooth = (original / turn - low) / (high - low);
                        1.0 / ((1.0 - smooth) / number("factor") + smooth)
                    }
                });
                vec![vector("rope_freqs.weight", factors)]
            }
            "longrope" => ["short", "long"]
                .map(|length| {
                    let list = scaling[&format!("{length}_factor")].as_array().unwrap();
                    let numbers = list.iter().map(|number| number.as_f64().unwrap());
                    vector(&format!("rope_factors_{length}.weight"), numbers)
                })
                .into(),
            _ => Vec::new(),
        }
    }

    fn tensor(&self, source: &str, stored: &StoredTensor) -> (String, QTensor) {
        let name = self.name(source);
        let mut values = widen(stored.bytes, stored.format);
        if self.gemma && name.contains("norm") {
            for value in &mut values {
                *value += 1.0;
            }
        }
        let heads = match name
            .rsplit_once('.')
            .map(|(stem, _)| stem.rsplit('.').next())
        {
            Some(Some("attn_q")) => self.number("num_attention_heads"),
            Some(Some("attn_k")) => self.number("num_key_value_heads"),
            _ => 0,
        };
        if self.architecture() == "llama" && heads > 0 {
            values = permuted(&values, heads, stored.dimensions);
        }
        let format = if stored.dimensions.len() > 1 {
            GgmlDType::F16
        } else {
            GgmlDType::F32
        };
        let tensor = Tensor::from_vec(values, stored.dimensions, &Device::Cpu).unwrap();
        (name, QTensor::quantize(&tensor, format).unwrap())
    }

    fn name(&self, source: &str) -> String {
        let second = if self.gemma {
            ("post_attention_layernorm", "post_attention_norm")
        } else {
            ("post_attention_layernorm", "ffn_norm")
        };
        let mut name = source.to_owned();
        for (from, to) in [
            second,
            ("model.layers.", "blk."),
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
            ("input_layernorm", "attn_norm"),
            ("pre_feedforward_layernorm", "ffn_norm"),
            ("post_feedforward_layernorm", "post_ffw_norm"),
            ("self_attn.q_norm", "attn_q_norm"),
            ("self_attn.k_norm", "attn_k_norm"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("self_attn.qkv_proj", "attn_qkv"),
            ("mlp.gate_up_proj", "ffn_up"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ] {
            name = name.replace(from, to);
        }
        name
    }
}

fn vector(name: &str, numbers: impl Iterator<Item = f64>) -> (String, QTensor) {
    #[expect(clippy::cast_possible_truncation, reason = "as GGUF stores it")]
    let numbers: Vec<f32> = numbers.map(|number| number as f32).collect();
    let count = numbers.len();
    let tensor = Tensor::from_vec(numbers, count, &Device::Cpu).unwrap();
    (
        name.to_owned(),
        QTensor::quantize(&tensor, GgmlDType::F32).unwrap(),
    )
}

/// Rows of each head, from halves to adjacent pairs.
fn permuted(values: &[f32], heads: usize, dimensions: &[usize]) -> Vec<f32> {
    let columns = dimensions[1];
    let width = dimensions[0] / heads;
    let row = |row: usize| &values[row * columns..(row + 1) * columns];
    (0..heads)
        .flat_map(|head| (0..width).map(move |index| (head, index)))
        .flat_map(|(head, index)| row(head * width + index % 2 * (width / 2) + index / 2))
        .copied()
        .collect()
}
