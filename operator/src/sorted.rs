//! One order of keys in everything that is written, whichever other crates are built alongside:
//! serde_json keeps the order of insertion where some crate asks for that.
use serde_json::Value;

/// `value` with the keys of all its objects in alphabetical order.
pub(crate) fn sorted(mut value: Value) -> Value {
    value.sort_all_objects();
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_written_in_alphabetical_order_at_every_depth() {
        let value = sorted(json!({"b": [{"d": 1, "c": 2}], "a": 0}));
        assert_eq!(value.to_string(), r#"{"a":0,"b":[{"c":2,"d":1}]}"#);
    }
}
