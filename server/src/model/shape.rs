//! The dimensions of a model, as its file declares them.
use crate::load::{
    LoadError,
    gguf::{GgufFile, Metadata},
};

/// Architectures that can be served.
pub const ARCHITECTURES: [&str; 1] = ["llama"];

/// The dimensions of a decoder-only transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelShape {
    /// The architecture's name in GGUF.
    pub architecture: String,
    /// Transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Base of the rotary embedding's frequencies.
    pub rope_base: f64,
    /// Positions are divided by this before they are rotated.
    pub rope_scale: f64,
    /// Added to the mean square before its root is taken.
    pub norm_epsilon: f64,
    /// Longest sequence that the model was made for, in tokens.
    pub context_length: usize,
}

/// Bytes of one element of the KV cache (32-bit float).
const KV_ELEMENT_BYTES: u64 = 4;

/// No published model comes near; larger numbers are damage.
const MOST: u64 = 1 << 24;

impl ModelShape {
    /// Reads and checks the dimensions.
    pub fn of(file: &GgufFile) -> Result<Self, LoadError> {
        let shape = Self::from_metadata(file.metadata()).map_err(|problem| match problem {
            Problem::Architecture(found) => LoadError::UnsupportedArchitecture {
                found,
                supported: ARCHITECTURES.join(", "),
            },
            Problem::Damaged(problem) => LoadError::Corrupt {
                path: file.path().to_owned(),
                problem,
            },
        })?;
        // The same name in the header covers variants with other tensors, which would be computed
        // wrongly in silence.
        for (tensor, variant) in [
            ("blk.0.attn_q.bias", "llama with attention biases"),
            ("blk.0.ffn_gate_inp.weight", "llama with experts"),
        ] {
            if file.has(tensor) {
                return Err(LoadError::UnsupportedArchitecture {
                    found: variant.to_owned(),
                    supported: ARCHITECTURES.join(", "),
                });
            }
        }
        Ok(shape)
    }

    fn from_metadata(metadata: &Metadata) -> Result<Self, Problem> {
        let architecture = metadata
            .text("general.architecture")
            .ok_or_else(|| Problem::Damaged("general.architecture is missing".to_owned()))?;
        if !ARCHITECTURES.contains(&architecture) {
            return Err(Problem::Architecture(architecture.to_owned()));
        }
        let key = |name: &str| format!("{architecture}.{name}");
        let optional = |name: &str| -> Result<Option<usize>, Problem> {
            match metadata.unsigned(&key(name)) {
                None => Ok(None),
                Some(number @ 1..=MOST) => Ok(usize::try_from(number).ok()),
                Some(number) => Err(Problem::Damaged(format!("{} is {number}", key(name)))),
            }
        };
        let required = |name: &str| {
            optional(name)?.ok_or_else(|| Problem::Damaged(format!("{} is missing", key(name))))
        };
        let heads = required("attention.head_count")?;
        let hidden = required("embedding_length")?;
        let shape = Self {
            architecture: architecture.to_owned(),
            layers: required("block_count")?,
            hidden,
            heads,
            kv_heads: optional("attention.head_count_kv")?.unwrap_or(heads),
            head_dim: optional("attention.key_length")?.unwrap_or(hidden / heads),
            rope_base: metadata.float(&key("rope.freq_base")).unwrap_or(10_000.0),
            rope_scale: rope_scale(metadata, architecture)?,
            norm_epsilon: metadata
                .float(&key("attention.layer_norm_rms_epsilon"))
                .unwrap_or(1e-5),
            context_length: required("context_length")?,
        };
        shape.check(optional("rope.dimension_count")?)?;
        Ok(shape)
    }

    fn check(&self, rope_dimensions: Option<usize>) -> Result<(), Problem> {
        if !self.heads.is_multiple_of(self.kv_heads) {
            let (heads, kv_heads) = (self.heads, self.kv_heads);
            return Err(Problem::Damaged(format!(
                "{heads} heads are not a multiple of {kv_heads} KV heads"
            )));
        }
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            return Err(Problem::Damaged(format!(
                "a head has {} dimensions",
                self.head_dim
            )));
        }
        if rope_dimensions.is_some_and(|dimensions| dimensions != self.head_dim) {
            return Err(Problem::Architecture(format!(
                "{} with partial rotary embedding",
                self.architecture
            )));
        }
        Ok(())
    }

    /// Bytes of KV cache for one token.
    pub const fn kv_bytes_per_token(&self) -> u64 {
        2 * KV_ELEMENT_BYTES * (self.layers * self.kv_heads * self.head_dim) as u64
    }
}

fn rope_scale(metadata: &Metadata, architecture: &str) -> Result<f64, Problem> {
    match metadata.text(&format!("{architecture}.rope.scaling.type")) {
        None | Some("none") => Ok(1.0),
        Some("linear") => Ok(metadata
            .float(&format!("{architecture}.rope.scaling.factor"))
            .unwrap_or(1.0)),
        Some(other) => Err(Problem::Architecture(format!(
            "{architecture} with {other} rope scaling"
        ))),
    }
}

enum Problem {
    Architecture(String),
    Damaged(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::gguf_file::Value;

    fn metadata(changes: &[(&str, Value)]) -> Metadata {
        let base = [
            ("general.architecture", Value::String("llama".into())),
            ("llama.block_count", Value::U32(30)),
            ("llama.embedding_length", Value::U32(576)),
            ("llama.attention.head_count", Value::U32(9)),
            ("llama.attention.head_count_kv", Value::U32(3)),
            ("llama.context_length", Value::U32(8192)),
        ];
        base.into_iter()
            .chain(changes.iter().cloned())
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    fn problem(changes: &[(&str, Value)]) -> String {
        match ModelShape::from_metadata(&metadata(changes)) {
            Err(Problem::Architecture(problem) | Problem::Damaged(problem)) => problem,
            Ok(shape) => panic!("accepted: {shape:?}"),
        }
    }

    #[test]
    fn the_dimensions_come_from_the_metadata() {
        let Ok(shape) = ModelShape::from_metadata(&metadata(&[])) else {
            panic!("refused")
        };
        assert_eq!((shape.layers, shape.head_dim, shape.kv_heads), (30, 64, 3));
        assert_eq!(shape.kv_bytes_per_token(), 2 * 4 * 30 * 3 * 64);
    }

    #[test]
    fn another_architecture_is_named() {
        assert_eq!(
            problem(&[("general.architecture", Value::String("mamba".into()))]),
            "mamba"
        );
    }

    #[test]
    fn impossible_dimensions_are_refused() {
        assert!(problem(&[("llama.block_count", Value::U32(0))]).contains("block_count is 0"));
        assert!(problem(&[("llama.block_count", Value::U64(u64::MAX))]).contains("block_count"));
        assert!(
            problem(&[("llama.attention.head_count_kv", Value::U32(2))]).contains("not a multiple")
        );
        assert!(problem(&[("llama.embedding_length", Value::U32(4))]).contains("0 dimensions"));
        let yarn = Value::String("yarn".into());
        assert!(problem(&[("llama.rope.scaling.type", yarn)]).contains("yarn"));
    }
}
