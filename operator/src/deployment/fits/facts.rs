//! What is learnt of a model before it is scheduled: the dimensions that its memory depends on.
use candlepower_api::Precision;
use serde_json::Value;

/// No published model comes near; larger numbers are damage.
const MOST_LAYERS: u64 = 1 << 12;
const MOST_HEADS: u64 = 1 << 16;
const WIDEST_HEAD: u64 = 1 << 14;
const LONGEST_CONTEXT: u64 = 1 << 24;

/// What a model's own files say about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Facts {
    pub(super) shape: Shape,
    pub(super) stored: Stored,
    /// Bytes of the weights as they are stored, at least.
    pub(super) bytes: u64,
}

/// How weights are stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stored {
    /// As floats, which the server converts where it is to.
    Floats(Precision),
    /// In blocks, which stay what they are.
    Blocks,
}

/// The dimensions of a decoder that its KV cache depends on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Shape {
    pub(super) layers: u64,
    pub(super) kv_heads: u64,
    /// Width of a head.
    pub(super) head_dim: u64,
    /// Longest sequence that the model was made for, in tokens.
    pub(super) context_length: u64,
}

impl Shape {
    /// The same, where the numbers are possible.
    pub(super) fn checked(self) -> Result<Self, String> {
        for (name, number, most) in [
            ("layers", self.layers, MOST_LAYERS),
            ("KV heads", self.kv_heads, MOST_HEADS),
            ("head width", self.head_dim, WIDEST_HEAD),
            ("context length", self.context_length, LONGEST_CONTEXT),
        ] {
            if number == 0 || number > most {
                return Err(format!("the {name} cannot be {number}"));
            }
        }
        Ok(self)
    }

    /// Bytes at least of KV cache for one token: keys and values in half precision.
    pub(super) const fn kv_bytes_per_token(self) -> u64 {
        2 * 2 * self.layers * self.kv_heads * self.head_dim
    }

    /// What a `config.json` says.
    pub(super) fn from_config(config: &Value) -> Result<Self, String> {
        let number = |name: &str| config.get(name).and_then(Value::as_u64);
        let needed =
            |name: &str| number(name).ok_or_else(|| format!("its config.json does not say {name}"));
        let heads = needed("num_attention_heads")?;
        let shape = Self {
            layers: needed("num_hidden_layers")?,
            kv_heads: number("num_key_value_heads").unwrap_or(heads),
            head_dim: match number("head_dim") {
                Some(width) => width,
                None => needed("hidden_size")? / heads.max(1),
            },
            context_length: needed("max_position_embeddings")?,
        };
        shape.checked()
    }
}

/// The format of most tensors that the beginning of a safetensors file names.
pub(super) fn most_tensors(beginning: &[u8]) -> Result<Stored, String> {
    let text = String::from_utf8_lossy(beginning);
    let formats = [
        ("BF16", Precision::Bf16),
        ("F16", Precision::F16),
        ("F32", Precision::F32),
    ];
    let count = |name: &str| text.matches(&format!("\"dtype\":\"{name}\"")).count();
    formats
        .into_iter()
        .map(|(name, precision)| (count(name), precision))
        .filter(|(count, _)| *count > 0)
        .max_by_key(|(count, _)| *count)
        .map(|(_, precision)| Stored::Floats(precision))
        .ok_or_else(|| "its weights are in no format that the server reads".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_config_says_the_dimensions_with_or_without_a_width_of_the_heads() {
        let mut config = json!({
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
            "hidden_size": 4096, "max_position_embeddings": 131_072,
        });
        let shape = Shape::from_config(&config).unwrap();
        assert_eq!(shape.kv_bytes_per_token(), 128 * 1024, "Llama 3.1 8B");
        config["head_dim"] = json!(256);
        assert_eq!(Shape::from_config(&config).unwrap().head_dim, 256);
        config["num_key_value_heads"] = json!(null);
        assert_eq!(Shape::from_config(&config).unwrap().kv_heads, 32);
    }

    #[test]
    fn what_a_config_does_not_say_or_cannot_mean_is_named() {
        let message = Shape::from_config(&json!([])).unwrap_err();
        assert!(message.contains("num_attention_heads"), "{message}");
        for (layers, heads) in [(0, 1), (u64::MAX, 1), (1, 0)] {
            let config = json!({
                "num_hidden_layers": layers, "num_attention_heads": heads,
                "hidden_size": 64, "max_position_embeddings": 64,
            });
            let message = Shape::from_config(&config).unwrap_err();
            assert!(message.contains("cannot be"), "{message}");
        }
    }

    #[test]
    fn norms_in_full_precision_do_not_hide_the_format_of_the_matrices() {
        let header = r#"{"a":{"dtype":"F32"},"b":{"dtype":"BF16"},"c":{"dtype":"BF16"},"d":{"dty"#;
        assert_eq!(
            most_tensors(header.as_bytes()),
            Ok(Stored::Floats(Precision::Bf16))
        );
        assert!(most_tensors(br#"{"a":{"dtype":"I8"}}"#).is_err());
        assert!(most_tensors(&[0xff; 8]).is_err());
    }
}
