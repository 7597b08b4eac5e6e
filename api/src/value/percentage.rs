//! Shares as people write them: `90%`, `0.5%`.
use super::text::{InvalidValue, serde_as_text};
use std::{fmt, str::FromStr};

/// A share between 0% and 100%; text form `90%` or `0.5%`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percentage(f64);

const CURE: &str = "write a percentage between 0% and 100%, such as 90%";

impl Percentage {
    /// The share of `percent` in a hundred. Values outside 0–100 are clamped.
    pub const fn of_hundred(percent: f64) -> Self {
        Self(percent.clamp(0.0, 100.0))
    }

    /// As a fraction between 0 and 1.
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl FromStr for Percentage {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidValue::new(text, CURE);
        let percent: f64 = text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok())
            .ok_or_else(invalid)?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(invalid());
        }
        Ok(Self(percent))
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

serde_as_text!(Percentage);

#[cfg(feature = "kubernetes")]
super::schema::text_schema!(Percentage, "^(100|[0-9]{1,2}([.][0-9]+)?)%$", CURE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_read_and_print_in_the_same_form() {
        for text in ["90%", "0.5%", "0%", "100%"] {
            assert_eq!(text.parse::<Percentage>().unwrap().to_string(), text);
        }
        assert!(("90%".parse::<Percentage>().unwrap().fraction() - 0.9).abs() < 1e-12);
    }

    #[test]
    fn a_missing_sign_or_an_impossible_share_says_what_to_write() {
        for text in ["90", "0.9", "101%", "-1%", "%", "NaN%"] {
            let message = text.parse::<Percentage>().unwrap_err().to_string();
            assert!(message.contains("write a percentage"), "{text}: {message}");
        }
    }
}
