//! JSON schemas of the quantities, with CEL rules whose messages say what to write.

/// Longest text of a quantity; bounds the cost of its CEL rule.
pub(super) const MAX_LENGTH: u32 = 32;

/// Implements `JsonSchema` for a quantity that is always text.
macro_rules! text_schema {
    ($type:ty, $pattern:literal, $cure:expr) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "maxLength": $crate::value::schema::MAX_LENGTH,
                    "x-kubernetes-validations": [
                        {"rule": concat!("self.matches('", $pattern, "')"), "message": $cure}
                    ],
                })
            }
        }
    };
}
pub(super) use text_schema;

/// Implements `JsonSchema` for a quantity that may also be a bare integer (`cpu: 4`).
macro_rules! integer_or_text_schema {
    ($type:ty, $pattern:literal, $cure:expr) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "x-kubernetes-int-or-string": true,
                    "anyOf": [{"type": "integer"}, {"type": "string"}],
                    "maxLength": $crate::value::schema::MAX_LENGTH,
                    "x-kubernetes-validations": [{
                        "rule": concat!("string(self).matches('", $pattern, "')"),
                        "message": $cure
                    }],
                })
            }
        }
    };
}
pub(super) use integer_or_text_schema;
