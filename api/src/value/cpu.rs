//! CPU amounts as Kubernetes writes them: `4`, `1.5`, `500m`.
use super::text::{InvalidValue, serde_as_text};
use std::{fmt, str::FromStr};

/// An amount of CPU in thousandths of a core; text form `4`, `1.5` or `500m`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CpuQuantity(u32);

const CURE: &str = "write a number of cores such as 4, 1.5 or 500m";
const MAX_CORES: f64 = 10_000.0;

impl CpuQuantity {
    /// The amount of `millicores` thousandths of a core.
    pub const fn from_millicores(millicores: u32) -> Self {
        Self(millicores)
    }

    /// In thousandths of a core.
    pub const fn millicores(self) -> u32 {
        self.0
    }

    /// Threads that can run at once under this limit: whole cores, at least one.
    pub const fn threads(self) -> usize {
        let cores = (self.0 / 1000) as usize;
        if cores == 0 { 1 } else { cores }
    }
}

impl FromStr for CpuQuantity {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidValue::new(text, CURE);
        let (number, per_core) = match text.strip_suffix('m') {
            Some(millicores) => (millicores, 1.0),
            None => (text, 1000.0),
        };
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(invalid());
        }
        let millicores = (number.parse::<f64>().map_err(|_| invalid())? * per_core).round();
        if !(1.0..=MAX_CORES * 1000.0).contains(&millicores) {
            return Err(invalid());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was just checked"
        )]
        Ok(Self(millicores as u32))
    }
}

impl fmt::Display for CpuQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(f, "{}", self.0 / 1000)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}

serde_as_text!(CpuQuantity);

#[cfg(feature = "kubernetes")]
super::schema::integer_or_text_schema!(
    CpuQuantity,
    "^(0[.]0{0,2}[1-9][0-9]{0,2}|[1-9][0-9]{0,3}([.][0-9]{1,3})?|[1-9][0-9]{0,6}m)$",
    CURE
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_and_millicores_mean_the_same() {
        let cpu = |text: &str| text.parse::<CpuQuantity>().unwrap();
        assert_eq!(cpu("1.5"), cpu("1500m"));
        assert_eq!(cpu("4").to_string(), "4");
        assert_eq!(cpu("0.5").to_string(), "500m");
        assert_eq!(serde_json::from_str::<CpuQuantity>("4").unwrap(), cpu("4"));
    }

    #[test]
    fn threads_are_whole_cores_and_never_none() {
        let threads = |text: &str| text.parse::<CpuQuantity>().unwrap().threads();
        assert_eq!((threads("250m"), threads("1500m"), threads("4")), (1, 1, 4));
    }

    #[test]
    fn nonsense_says_what_to_write() {
        for text in ["", "0", "four", "-1", "1e9", "50000", "m"] {
            let message = text.parse::<CpuQuantity>().unwrap_err().to_string();
            assert!(
                message.contains("write a number of cores"),
                "{text}: {message}"
            );
        }
    }
}
