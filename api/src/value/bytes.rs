//! Amounts of memory or disk as Kubernetes writes them: `16Gi`, `512Mi`, `1G`.
use super::text::{InvalidValue, serde_as_text, split_unit};
use std::{fmt, str::FromStr};

/// A number of bytes; text form `512Mi`, `16Gi`, `1G` or plain bytes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(u64);

const CURE: &str = "write a size with its unit, such as 512Mi, 16Gi or 1G";
const UNITS: [(&str, u64); 9] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
    ("", 1),
];

impl ByteSize {
    /// The size of `bytes` bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size of `mebibytes` MiB.
    pub const fn mebibytes(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    /// The size of `gibibytes` GiB.
    pub const fn gibibytes(gibibytes: u64) -> Self {
        Self(gibibytes << 30)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// For messages to people: MiB or GiB with one digit after the point, such as `1.4 GiB`.
    pub fn human(self) -> String {
        let mebibytes = self.0 as f64 / f64::from(1 << 20);
        if mebibytes < 1024.0 {
            format!("{mebibytes:.1} MiB")
        } else {
            format!("{:.1} GiB", mebibytes / 1024.0)
        }
    }
}

impl FromStr for ByteSize {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidValue::new(text, CURE);
        let (number, unit) = split_unit(text);
        let &(_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(invalid)?;
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(invalid);
        }
        let bytes = number.parse::<f64>().map_err(|_| invalid())? * factor as f64;
        if !(0.0..1.8e19).contains(&bytes) {
            return Err(invalid());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was just checked"
        )]
        Ok(Self(bytes.round() as u64))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .into_iter()
            .filter(|(unit, _)| unit.is_empty() || unit.ends_with('i'))
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(("", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

serde_as_text!(ByteSize);

#[cfg(feature = "kubernetes")]
super::schema::integer_or_text_schema!(
    ByteSize,
    // A small number without a unit is a unit forgotten: nobody serves a model in 4 bytes.
    "^([1-9][0-9]{6,17}|[0-9]{1,7}([.][0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T))$",
    CURE
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_in_binary_and_decimal_units() {
        let bytes = |text: &str| text.parse::<ByteSize>().unwrap().bytes();
        assert_eq!(bytes("16Gi"), 16 << 30);
        assert_eq!(bytes("1.5Gi"), 3 << 29);
        assert_eq!(bytes("1G"), 1_000_000_000);
        assert_eq!(bytes("12"), 12);
    }

    #[test]
    fn sizes_print_in_the_largest_exact_unit() {
        for text in ["16Gi", "1536Mi", "1Ki", "1000", "0"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bare_integer_is_a_number_of_bytes() {
        assert_eq!(
            serde_json::from_str::<ByteSize>("1024")
                .unwrap()
                .to_string(),
            "1Ki"
        );
    }

    #[test]
    fn a_wrong_unit_or_a_huge_number_says_what_to_write() {
        for text in ["", "16GB", "16 Gi", "-1Gi", "Gi", "99999999999999Ti"] {
            let message = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(
                message.contains("write a size with its unit, such as"),
                "{text}: {message}"
            );
        }
    }
}
