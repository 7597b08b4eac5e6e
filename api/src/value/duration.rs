//! Durations as Kubernetes writes them: `500ms`, `2s`, `1m30s`.
use super::text::{InvalidValue, serde_as_text, split_unit};
use std::{fmt, str::FromStr, time};

/// A length of time; text form `500ms`, `2s`, `1m30s`, `1h`. Resolution: 1 ms.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Duration(time::Duration);

const CURE: &str = "write a duration such as 500ms, 2s or 1m30s";
/// Longer than any deadline that makes sense, short enough never to overflow a sum of milliseconds.
const MAX_MILLIS: f64 = 1e17;

impl Duration {
    /// The duration of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(time::Duration::from_millis(millis))
    }

    /// The duration of `seconds` seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// As the standard library's type.
    pub const fn as_std(self) -> time::Duration {
        self.0
    }
}

impl FromStr for Duration {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidValue::new(text, CURE);
        let mut millis = 0.0;
        let mut rest = text;
        if text == "0" {
            return Ok(Self::default());
        }
        if text.is_empty() {
            return Err(invalid());
        }
        while !rest.is_empty() {
            let (number, tail) = split_unit(rest);
            let number: f64 = number.parse().map_err(|_| invalid())?;
            // `ms` before `m`: the longer unit wins.
            let (unit, after) = ["ms", "s", "m", "h"]
                .into_iter()
                .find_map(|unit| tail.strip_prefix(unit).map(|after| (unit, after)))
                .ok_or_else(invalid)?;
            millis += number
                * match unit {
                    "ms" => 1.0,
                    "s" => 1e3,
                    "m" => 60e3,
                    _ => 3600e3,
                };
            rest = after;
        }
        if millis > MAX_MILLIS {
            return Err(invalid());
        }
        Ok(Self(time::Duration::from_secs_f64(
            (millis / 1e3 * 1e3).round() / 1e3,
        )))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_millis();
        if total == 0 {
            return f.write_str("0s");
        }
        for (amount, unit) in [
            (total / 3_600_000, "h"),
            (total / 60_000 % 60, "m"),
            (total / 1000 % 60, "s"),
            (total % 1000, "ms"),
        ] {
            if amount > 0 {
                write!(f, "{amount}{unit}")?;
            }
        }
        Ok(())
    }
}

serde_as_text!(Duration);

#[cfg(feature = "kubernetes")]
super::schema::text_schema!(
    Duration,
    "^(0|([0-9]{1,9}([.][0-9]{1,9})?(ms|s|m|h))+)$",
    CURE
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_in_the_same_form() {
        for text in ["500ms", "2s", "1m30s", "1h", "2m10s", "1s500ms"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
        assert_eq!(
            "0.5s".parse::<Duration>().unwrap(),
            Duration::from_millis(500)
        );
        assert_eq!("0".parse::<Duration>().unwrap().to_string(), "0s");
    }

    #[test]
    fn a_duration_without_a_unit_or_with_a_wrong_one_says_what_to_write() {
        for text in [
            "",
            "5",
            "5 s",
            "-1s",
            "5d",
            "s",
            "1..5s",
            "99999999999999999h",
        ] {
            let message = text.parse::<Duration>().unwrap_err().to_string();
            assert!(
                message.contains("write a duration such as"),
                "{text}: {message}"
            );
        }
    }
}
