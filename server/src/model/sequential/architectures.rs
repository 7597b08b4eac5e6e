//! The architectures by name: the library's model, what their `config.json` may leave out, and what
//! the library would compute wrongly.
use super::engine::{Restartable, SequenceModel};
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{mixtral, olmo, olmo2, phi, qwen2_moe, qwen3_moe, starcoder2};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// One architecture.
pub(super) struct Architecture {
    /// `model_type` in `config.json`.
    pub(super) name: &'static str,
    /// Makes the library's model of a configuration and weights.
    pub(super) load: fn(Value, VarBuilder) -> Result<Box<dyn SequenceModel>>,
    /// Whether its mask is right for several tokens in the middle of a sequence.
    pub(super) takes_chunks: bool,
    /// What the library takes from the configuration, where a configuration may lack it.
    defaults: fn() -> Value,
    /// Fields that the library does not read, or reads wrongly, and the one value at which that makes
    /// no difference.
    neutral: fn() -> Value,
}

/// All of them.
pub(super) const ALL: &[Architecture] = &[
    Architecture {
        name: "phi",
        load: |config, weights| {
            let forward = |model: &mut phi::Model, tokens: &Tensor, _| model.forward(tokens);
            load(config, weights, phi::Model::new, forward)
        },
        takes_chunks: false,
        defaults: || {
            json!({
                "hidden_act": "gelu_new", "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.5,
                "qk_layernorm": false,
            })
        },
        neutral: || json!({"tie_word_embeddings": false, "qk_layernorm": false}),
    },
    Architecture {
        name: "starcoder2",
        load: |config, weights| {
            load(
                config,
                weights,
                starcoder2::Model::new,
                starcoder2::Model::forward,
            )
        },
        takes_chunks: true,
        defaults: || json!({"hidden_act": "gelu_pytorch_tanh", "norm_epsilon": 1e-5, "use_bias": true}),
        neutral: || json!({"tie_word_embeddings": true}),
    },
    Architecture {
        name: "olmo",
        load: |config, weights| load(config, weights, olmo::Model::new, olmo::Model::forward),
        takes_chunks: true,
        defaults: || json!({"hidden_act": "silu", "attention_bias": false}),
        neutral: || json!({}),
    },
    Architecture {
        name: "olmo2",
        load: |config, weights| load(config, weights, olmo2::Model::new, olmo2::Model::forward),
        takes_chunks: true,
        defaults: || json!({"hidden_act": "silu", "attention_bias": false, "rms_norm_eps": 1e-5}),
        neutral: || json!({}),
    },
    Architecture {
        name: "mixtral",
        load: |config, weights| {
            load(
                config,
                weights,
                mixtral::Model::new,
                mixtral::Model::forward,
            )
        },
        takes_chunks: true,
        defaults: || {
            json!({
                "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 1e6,
                "num_experts_per_tok": 2, "num_local_experts": 8, "use_flash_attn": false,
            })
        },
        neutral: || json!({"tie_word_embeddings": false, "head_dim": null}),
    },
    Architecture {
        name: "qwen2_moe",
        load: |config, weights| {
            load(
                config,
                weights,
                qwen2_moe::Model::new,
                qwen2_moe::Model::forward,
            )
        },
        takes_chunks: true,
        defaults: || {
            json!({
                "hidden_act": "silu", "rms_norm_eps": 1e-6, "max_window_layers": 28,
                "decoder_sparse_step": 1, "norm_topk_prob": false, "use_sliding_window": false,
            })
        },
        neutral: || json!({"tie_word_embeddings": false, "mlp_only_layers": [], "use_sliding_window": false}),
    },
    Architecture {
        name: "qwen3_moe",
        load: |config, weights| {
            let new = qwen3_moe::ModelForCausalLM::new;
            load(config, weights, new, qwen3_moe::ModelForCausalLM::forward)
        },
        takes_chunks: true,
        defaults: || {
            json!({
                "hidden_act": "silu", "rms_norm_eps": 1e-6, "max_window_layers": 0,
                "decoder_sparse_step": 1, "norm_topk_prob": false, "use_sliding_window": false,
                "attention_bias": false,
            })
        },
        neutral: || json!({"mlp_only_layers": [], "use_sliding_window": false}),
    },
];

impl Architecture {
    /// The first feature of `config` that the library would leave out in silence, or fail at.
    pub(super) fn unknown_feature(&self, config: &Map<String, Value>) -> Option<String> {
        let everywhere = json!({"rope_scaling": null, "quantization_config": null});
        let neutral = (self.neutral)();
        let fields = [everywhere, neutral];
        let mut fields = fields.iter().filter_map(Value::as_object).flatten();
        let unread = fields.find(|(name, harmless)| {
            let value = config.get(*name);
            value.is_some_and(|value| value != *harmless && !value.is_null())
        });
        let Some((name, _)) = unread else {
            return Self::stretched(config);
        };
        Some(format!(
            "{name} {}",
            config.get(name).unwrap_or(&Value::Null)
        ))
    }

    /// What the rotary embedding is stretched by, in the form of Transformers 5.
    fn stretched(config: &Map<String, Value>) -> Option<String> {
        let kind = config.get("rope_parameters")?.get("rope_type")?.as_str()?;
        (kind != "default").then(|| format!("the rotary embedding {kind}"))
    }

    /// `config` as the library reads it.
    pub(super) fn completed(&self, config: &Map<String, Value>) -> Map<String, Value> {
        let mut completed = config.clone();
        // Transformers 5 writes the base of the rotary embedding into an object.
        let base = config
            .get("rope_parameters")
            .and_then(|rope| rope.get("rope_theta"));
        let context = config.get("max_position_embeddings").cloned();
        let heads = config.get("num_attention_heads").cloned();
        let everywhere = json!({
            "rope_theta": base.cloned().unwrap_or_else(|| json!(1e4)),
            "num_key_value_heads": heads.unwrap_or_default(),
            // The library has no word for "none" in some architectures.
            "sliding_window": context.unwrap_or_default(),
            "tie_word_embeddings": false,
        });
        let defaults = (self.defaults)();
        for (name, default) in [defaults, everywhere]
            .iter()
            .filter_map(Value::as_object)
            .flatten()
        {
            let field = completed.entry(name).or_insert(Value::Null);
            if field.is_null() {
                *field = default.clone();
            }
        }
        completed
    }
}

fn load<C: DeserializeOwned, M: Clone + Send + 'static>(
    config: Value,
    weights: VarBuilder,
    new: fn(&C, VarBuilder) -> Result<M>,
    forward: fn(&mut M, &Tensor, usize) -> Result<Tensor>,
) -> Result<Box<dyn SequenceModel>> {
    let config = serde_json::from_value(config).map_err(candle_core::Error::wrap)?;
    Ok(Box::new(Restartable::new(new(&config, weights)?, forward)))
}
