//! The number formats that weights can be served in.
use serde::{Deserialize, Serialize};

/// How the weights are stored in memory; the names are GGML's block types.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "kubernetes", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// The server chooses: the precision of the file where it is quantised already.
    #[default]
    Auto,
    /// 32-bit float.
    F32,
    /// 16-bit IEEE float.
    F16,
    /// bfloat16.
    Bf16,
    /// 8-bit blocks of 32 with one scale.
    #[serde(rename = "q8_0")]
    Q8_0,
    /// 4-bit blocks of 32 with one scale.
    #[serde(rename = "q4_0")]
    Q4_0,
    /// 4-bit blocks of 32 with a scale and a minimum.
    #[serde(rename = "q4_1")]
    Q4_1,
    /// 4-bit super-blocks of 256.
    #[serde(rename = "q4_k")]
    Q4K,
    /// 5-bit super-blocks of 256.
    #[serde(rename = "q5_k")]
    Q5K,
    /// 6-bit super-blocks of 256.
    #[serde(rename = "q6_k")]
    Q6K,
}

impl Precision {
    /// Every precision, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Auto,
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// The name used in resources, metrics and command lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
        }
    }

    /// How many numbers a block holds, and its bytes; nothing where the server chooses.
    pub const fn block(self) -> Option<(u64, u64)> {
        Some(match self {
            Self::Auto => return None,
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        })
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A precision that does not exist.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "unknown precision \"{0}\": write auto, f32, f16, bf16, q8_0, q4_0, q4_1, q4_k, q5_k or q6_k"
)]
pub struct UnknownPrecision(String);

impl std::str::FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.as_str() == text)
            .ok_or_else(|| UnknownPrecision(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_on_the_wire_is_the_name_in_the_documentation() {
        for precision in Precision::ALL {
            let wire = serde_json::to_string(&precision).unwrap();
            assert_eq!(wire, format!("\"{precision}\""));
            assert_eq!(precision.as_str().parse(), Ok(precision));
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = "q9".parse::<Precision>().unwrap_err().to_string();
        for precision in Precision::ALL {
            assert!(
                message.contains(precision.as_str()),
                "{message} lacks {precision}"
            );
        }
    }
}
