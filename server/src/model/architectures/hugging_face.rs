//! What Hugging Face's `config.json` says about a decoder, for all architectures alike.
use super::Refusal;
use crate::model::{
    rope::{Frequencies, Llama3, Yarn, long_rope_magnitude, yarn_magnitude},
    spec::{
        Activation, AttentionSpec, DecoderSpec, LongRope, NormSpec, RopePairs, RopeSpec, check_head,
    },
};
use serde_json::{Map, Value};

/// The configuration of one model.
pub(in crate::model) struct ConfigFields<'a> {
    pub(super) architecture: &'a str,
    config: &'a Map<String, Value>,
}

/// What the rotary embedding of a model is made of.
pub(super) struct RopeFields<'a> {
    /// The object that says how it is stretched, where one does.
    pub(super) scaling: Option<&'a Map<String, Value>>,
    pub(super) base: f64,
    /// Rotated numbers of a head.
    pub(super) dimensions: usize,
    pub(super) context_length: usize,
}

impl<'a> ConfigFields<'a> {
    pub(super) fn new(architecture: &'a str, config: &'a Map<String, Value>) -> Self {
        Self {
            architecture,
            config,
        }
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        let number = self.config.get(name)?.as_u64()?;
        Some(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// A whole number that has to be there.
    pub(super) fn required(&self, name: &str) -> Result<usize, Refusal> {
        self.number(name)
            .ok_or_else(|| Refusal::Damaged(format!("{name} is missing in config.json")))
    }

    /// A number that may have a fraction.
    pub(super) fn float(&self, name: &str) -> Option<f64> {
        self.config.get(name)?.as_f64()
    }

    /// Whether `name` is true; `otherwise` where it is not said.
    pub(super) fn flag(&self, name: &str, otherwise: bool) -> bool {
        let flag = self.config.get(name).and_then(Value::as_bool);
        flag.unwrap_or(otherwise)
    }

    /// A decoder like Llama, with the dimensions of this model. Architectures change what is
    /// different about them.
    pub(super) fn decoder(&self) -> Result<DecoderSpec, Refusal> {
        let heads = self.required("num_attention_heads")?.max(1);
        let hidden = self.required("hidden_size")?;
        let layers = self.required("num_hidden_layers")?;
        let head_dim = self.number("head_dim").unwrap_or(hidden / heads);
        let head_dim = check_head(head_dim).map_err(Refusal::Damaged)?;
        if self
            .config
            .get("quantization_config")
            .is_some_and(Value::is_object)
        {
            return Err(self.unsupported("weights quantised by another tool"));
        }
        for flag in ["attention_bias", "mlp_bias"] {
            if self.flag(flag, false) {
                return Err(self.unsupported(flag));
            }
        }
        let context_length = self.required("max_position_embeddings")?;
        let rope = self.rope_fields(head_dim, context_length);
        Ok(DecoderSpec {
            architecture: self.architecture.to_owned(),
            layers,
            hidden,
            heads,
            kv_heads: self.number("num_key_value_heads").unwrap_or(heads),
            head_dim,
            feed_forward: self.required("intermediate_size")?,
            vocabulary: self.required("vocab_size")?,
            context_length,
            embedding_scale: 1.0,
            norms: NormSpec {
                epsilon: self.float("rms_norm_eps").unwrap_or(1e-6),
                stored_less_one: false,
                after: false,
                per_head: false,
            },
            attention: AttentionSpec {
                scale: 1.0 / (head_dim as f64).sqrt(),
                soft_cap: None,
                biases: false,
                windows: everything(layers),
            },
            rope: self.rope(&rope)?,
            local_rope: None,
            activation: self.activation()?,
            tied_output: self.flag("tie_word_embeddings", false),
            output_soft_cap: None,
        })
    }

    /// The windows of `layers`: `layer_types` decides where it is there, and `sliding` where not.
    pub(super) fn windows(
        &self,
        layers: usize,
        sliding: impl Fn(usize) -> bool,
    ) -> Result<Vec<Option<usize>>, Refusal> {
        let window = self.number("sliding_window");
        let mut windows = everything(layers);
        let kinds = self.config.get("layer_types").and_then(Value::as_array);
        for (layer, slot) in windows.iter_mut().enumerate() {
            let kind = kinds.map(|kinds| kinds.get(layer).and_then(Value::as_str));
            let slides = match kind {
                None => sliding(layer),
                Some(Some("sliding_attention")) => true,
                Some(Some("full_attention")) => false,
                Some(other) => {
                    let kind = other.unwrap_or("missing");
                    return Err(self.unsupported(&format!("layers of the type \"{kind}\"")));
                }
            };
            *slot = window.filter(|_| slides);
        }
        Ok(windows)
    }

    fn activation(&self) -> Result<Activation, Refusal> {
        let name = ["hidden_activation", "hidden_act"]
            .iter()
            .find_map(|key| self.config.get(*key).and_then(Value::as_str));
        match name {
            None | Some("silu") => Ok(Activation::Silu),
            Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
            Some(other) => Err(self.unsupported(&format!("the activation {other}"))),
        }
    }

    pub(super) fn rope_fields(&self, head_dim: usize, context_length: usize) -> RopeFields<'a> {
        // Transformers 5 writes `rope_parameters`, with the base in it.
        let scaling = ["rope_scaling", "rope_parameters"]
            .iter()
            .find_map(|key| self.config.get(*key).and_then(Value::as_object));
        // Gemma 3 has one for each kind of layer.
        let scaling = scaling.map(|scaling| {
            let whole = scaling.get("full_attention").and_then(Value::as_object);
            whole.unwrap_or(scaling)
        });
        let inside = |name: &str| scaling.and_then(|scaling| scaling.get(name)?.as_f64());
        let share = self
            .float("partial_rotary_factor")
            .or_else(|| inside("partial_rotary_factor"))
            .unwrap_or(1.0)
            .clamp(0.0, 1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a small number, rounded down as Transformers does"
        )]
        let dimensions = (head_dim as f64 * share) as usize;
        RopeFields {
            scaling,
            base: self
                .float("rope_theta")
                .or_else(|| inside("rope_theta"))
                .unwrap_or(10_000.0),
            dimensions,
            context_length,
        }
    }

    /// The base of the rotary embedding of layers with a sliding window, where it is another.
    pub(super) fn local_rope_base(&self) -> Option<f64> {
        self.float("rope_local_base_freq").or_else(|| {
            let local = self
                .config
                .get("rope_parameters")?
                .get("sliding_attention")?;
            local.get("rope_theta")?.as_f64()
        })
    }

    /// The rotary embedding that `fields` describe.
    pub(super) fn rope(&self, fields: &RopeFields) -> Result<RopeSpec, Refusal> {
        let plain = Frequencies::new(fields.base, fields.dimensions);
        let kind = ["rope_type", "type"]
            .iter()
            .find_map(|key| fields.scaling?.get(*key)?.as_str())
            .unwrap_or("default");
        let optional = |name: &str| {
            fields
                .scaling
                .and_then(|scaling| scaling.get(name)?.as_f64())
        };
        let number = |name: &str| {
            optional(name).ok_or_else(|| {
                Refusal::Damaged(format!("rope_scaling.{name} is missing in config.json"))
            })
        };
        let mut rope = RopeSpec {
            pairs: RopePairs::Halves,
            frequencies: Vec::new(),
            long: None,
            magnitude: 1.0,
        };
        let original = optional("original_max_position_embeddings");
        let original = original.or_else(|| self.float("original_max_position_embeddings"));
        let stretched = match kind {
            "default" => plain,
            "linear" => plain.linear(number("factor")?),
            "llama3" => plain.llama3(Llama3 {
                factor: number("factor")?,
                low_frequency_factor: number("low_freq_factor")?,
                high_frequency_factor: number("high_freq_factor")?,
                original_context: number("original_max_position_embeddings")?,
            }),
            "yarn" => {
                if optional("mscale").is_some() || optional("truncate").is_some() {
                    return Err(self.unsupported("a variant of yarn rope scaling"));
                }
                let factor = number("factor")?;
                let magnitude = optional("attention_factor");
                rope.magnitude = magnitude.unwrap_or_else(|| yarn_magnitude(factor));
                plain.yarn(Yarn {
                    factor,
                    beta_fast: optional("beta_fast").unwrap_or(32.0),
                    beta_slow: optional("beta_slow").unwrap_or(1.0),
                    original_context: original.unwrap_or(fields.context_length as f64),
                })
            }
            "longrope" | "su" => {
                let factor = match original {
                    Some(original) => fields.context_length as f64 / original,
                    None => number("factor")?,
                };
                let original = original.unwrap_or(fields.context_length as f64);
                let magnitude = optional("attention_factor");
                rope.magnitude = magnitude.unwrap_or_else(|| long_rope_magnitude(factor, original));
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a number of tokens"
                )]
                let above = original as usize;
                let long = factors(fields, "long_factor")?;
                let frequencies = plain.clone().divided_by(&long).into_vec();
                rope.long = Some(LongRope { above, frequencies });
                plain.divided_by(&factors(fields, "short_factor")?)
            }
            other => return Err(self.unsupported(&format!("{other} rope scaling"))),
        };
        rope.frequencies = stretched.into_vec();
        Ok(rope)
    }

    /// A variant of the architecture, by what it is with.
    pub(super) fn unsupported(&self, with: &str) -> Refusal {
        Refusal::Unsupported(format!("{} with {with}", self.architecture))
    }
}

/// Windows of layers that see everything.
pub(super) fn everything(layers: usize) -> Vec<Option<usize>> {
    // More layers than any model has are refused later; a list of them is not to be made first.
    vec![None; layers.min(1 << 16)]
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "angles are computed in 32 bits"
)]
fn factors(fields: &RopeFields, name: &str) -> Result<Vec<f32>, Refusal> {
    let list = fields
        .scaling
        .and_then(|scaling| scaling.get(name)?.as_array());
    let numbers: Option<Vec<f32>> = list.and_then(|list| {
        list.iter()
            .map(|number| Some(number.as_f64()? as f32))
            .collect()
    });
    numbers
        .filter(|numbers| numbers.len() == fields.dimensions / 2)
        .ok_or_else(|| {
            Refusal::Damaged(format!(
                "rope_scaling.{name} does not fit the rotated dimensions"
            ))
        })
}
