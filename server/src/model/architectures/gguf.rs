//! What GGUF's key-value pairs say about a decoder, for all architectures alike.
use super::Refusal;
use crate::{
    load::{LoadError, WeightSource, formats::widen, gguf::Metadata},
    model::{
        rope::{Frequencies, Yarn, yarn_magnitude},
        spec::{
            Activation, AttentionSpec, DecoderSpec, LongRope, NormSpec, RopePairs, RopeSpec,
            check_head,
        },
    },
};
use std::collections::HashMap;

/// Vectors that stretch the rotary embedding; they are stored as tensors.
const FACTORS: [&str; 3] = [
    "rope_freqs.weight",
    "rope_factors_short.weight",
    "rope_factors_long.weight",
];

/// The metadata of one architecture.
pub(in crate::model) struct GgufFields<'a> {
    pub(super) architecture: &'a str,
    metadata: &'a Metadata,
    vocabulary: Option<usize>,
    own_output: bool,
    factors: HashMap<&'static str, Vec<f32>>,
}

impl<'a> GgufFields<'a> {
    pub(super) fn new(
        architecture: &'a str,
        metadata: &'a Metadata,
        source: &dyn WeightSource,
    ) -> Result<Self, Refusal> {
        let damaged = |error: LoadError| Refusal::Damaged(error.to_string());
        let embeddings = source.tensor("token_embd.weight").map_err(damaged)?;
        let mut factors = HashMap::new();
        for name in FACTORS {
            if let Some(tensor) = source.tensor(name).map_err(damaged)? {
                factors.insert(name, widen(tensor.bytes, tensor.format));
            }
        }
        Ok(Self {
            architecture,
            metadata,
            vocabulary: embeddings.and_then(|tensor| Some(tensor.matrix()?.0)),
            own_output: source.tensor("output.weight").map_err(damaged)?.is_some(),
            factors,
        })
    }

    /// A whole number under `architecture.name`.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        let number = self.metadata.unsigned(&self.key(name))?;
        Some(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// A whole number that has to be there.
    pub(super) fn required(&self, name: &str) -> Result<usize, Refusal> {
        self.number(name)
            .ok_or_else(|| Refusal::Damaged(format!("{} is missing", self.key(name))))
    }

    /// A number under `architecture.name` that may have a fraction.
    pub(super) fn float(&self, name: &str) -> Option<f64> {
        self.metadata.float(&self.key(name))
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// A decoder like Llama, with the dimensions of this file and pairs of `pairs`. Architectures
    /// change what is different about them.
    pub(super) fn decoder(&self, pairs: RopePairs) -> Result<DecoderSpec, Refusal> {
        let heads = self.required("attention.head_count")?.max(1);
        let hidden = self.required("embedding_length")?;
        let layers = self.required("block_count")?;
        let head_dim = self
            .number("attention.key_length")
            .unwrap_or(hidden / heads);
        let head_dim = check_head(head_dim).map_err(Refusal::Damaged)?;
        if self
            .number("attention.value_length")
            .is_some_and(|width| width != head_dim)
        {
            return Err(self.unsupported("values of another width than keys"));
        }
        if self.number("expert_count").is_some_and(|count| count > 0) {
            return Err(self.unsupported("experts"));
        }
        let missing = || Refusal::Damaged("the tensor token_embd.weight is missing".to_owned());
        // More layers than any model has are refused later; a list of them is not to be made first.
        let window = self
            .number("attention.sliding_window")
            .filter(|&window| window > 0);
        let windows = vec![window; layers.min(1 << 16)];
        Ok(DecoderSpec {
            architecture: self.architecture.to_owned(),
            layers,
            hidden,
            heads,
            kv_heads: self.number("attention.head_count_kv").unwrap_or(heads),
            head_dim,
            feed_forward: self.required("feed_forward_length")?,
            vocabulary: self.vocabulary.ok_or_else(missing)?,
            context_length: self.required("context_length")?,
            embedding_scale: 1.0,
            norms: NormSpec {
                epsilon: self
                    .float("attention.layer_norm_rms_epsilon")
                    .unwrap_or(1e-5),
                stored_less_one: false,
                after: false,
                per_head: false,
            },
            attention: AttentionSpec {
                scale: 1.0 / (head_dim as f64).sqrt(),
                soft_cap: None,
                biases: false,
                windows,
            },
            rope: self.rope(pairs, head_dim)?,
            local_rope: None,
            activation: Activation::Silu,
            tied_output: !self.own_output,
            output_soft_cap: None,
        })
    }

    fn rope(&self, pairs: RopePairs, head_dim: usize) -> Result<RopeSpec, Refusal> {
        let dimensions = self.number("rope.dimension_count").unwrap_or(head_dim);
        if dimensions > head_dim {
            return Err(Refusal::Damaged(format!(
                "{dimensions} of a head's {head_dim} dimensions cannot be rotated"
            )));
        }
        let base = self.float("rope.freq_base").unwrap_or(10_000.0);
        let plain = Frequencies::new(base, dimensions);
        let factors = |name: &str| self.factors.get(name).map(Vec::as_slice);
        let plain = plain.divided_by(factors("rope_freqs.weight").unwrap_or_default());
        let factor = self.float("rope.scaling.factor").unwrap_or(1.0);
        let original = self.number("rope.scaling.original_context_length");
        let mut rope = RopeSpec {
            pairs,
            frequencies: Vec::new(),
            long: None,
            magnitude: self.float("rope.scaling.attn_factor").unwrap_or(1.0),
        };
        if let (Some(short), Some(long)) = (
            factors("rope_factors_short.weight"),
            factors("rope_factors_long.weight"),
        ) {
            let Some(above) = original else {
                let problem = "rope.scaling.original_context_length is missing";
                return Err(Refusal::Damaged(problem.to_owned()));
            };
            let frequencies = plain.clone().divided_by(long).into_vec();
            rope.long = Some(LongRope { above, frequencies });
            rope.frequencies = plain.divided_by(short).into_vec();
            return Ok(rope);
        }
        let kind = self.metadata.text(&self.key("rope.scaling.type"));
        let stretched = match kind.unwrap_or("none") {
            // What files from before there were several types say.
            "none" => plain.linear(self.float("rope.scale_linear").unwrap_or(1.0)),
            "linear" => plain.linear(factor),
            "yarn" => {
                rope.magnitude *= yarn_magnitude(factor);
                plain.yarn(Yarn {
                    factor,
                    beta_fast: self.float("rope.scaling.yarn_beta_fast").unwrap_or(32.0),
                    beta_slow: self.float("rope.scaling.yarn_beta_slow").unwrap_or(1.0),
                    original_context: original
                        .ok_or_else(|| self.unsupported("yarn without its original context"))?
                        as f64,
                })
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

/// Whether `tensor` was read into the specification.
pub(in crate::model) fn is_factors(tensor: &str) -> bool {
    FACTORS.contains(&tensor)
}
