//! What all quantities share: the error, and reading a string or a bare integer.
use serde::de::{self, Deserializer, Visitor};
use std::{fmt, marker::PhantomData, str::FromStr};

/// A quantity that cannot be understood; the message says what to write.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot read \"{text}\": {cure}")]
pub struct InvalidValue {
    text: String,
    cure: &'static str,
}

impl InvalidValue {
    pub(super) fn new(text: &str, cure: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            cure,
        }
    }
}

/// Splits `"12.5Gi"` into the number and its unit.
pub(super) fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Deserialises a type from its text form, or from a bare integer (`cpu: 4`).
pub(super) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = InvalidValue>,
{
    struct TextOrInteger<T>(PhantomData<T>);

    impl<T: FromStr<Err = InvalidValue>> Visitor<'_> for TextOrInteger<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a quantity as text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }

    deserializer.deserialize_any(TextOrInteger(PhantomData))
}

/// Implements serde (by way of `Display` and `FromStr`) for a quantity.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::value::text::deserialize(deserializer)
            }
        }
    };
}
pub(super) use serde_as_text;
