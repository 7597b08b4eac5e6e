//! Whether an object holds what is wanted of it.
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A short name for what is wanted of an object.
pub(super) fn hash(wanted: &Value) -> String {
    // Keys are sorted, so equal wishes have equal hashes, also in the next process.
    let digest = Sha256::digest(wanted.to_string());
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(first))
}

/// Whether `live` holds everything in `wanted`; the API server adds defaults of its own.
pub(super) fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| live.get(key).is_some_and(|live| contains(live, wanted))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(live, wanted)| contains(live, wanted))
        }
        _ => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_of_the_api_server_are_no_difference() {
        let wanted = json!({"spec": {"ports": [{"port": 8080}], "volumes": [{"emptyDir": {}}]}});
        let live = json!({
            "spec": {"ports": [{"port": 8080, "nodePort": 3}], "volumes": [{"emptyDir": {}}],
                     "clusterIP": "10.0.0.1"},
            "status": {},
        });
        assert!(contains(&live, &wanted));
    }

    #[test]
    fn a_changed_or_missing_value_is_a_difference() {
        let wanted = json!({"a": {"b": [1, 2]}});
        for live in [
            json!({}),
            json!({"a": {"b": [1]}}),
            json!({"a": {"b": [1, 3]}}),
            json!({"a": null}),
        ] {
            assert!(!contains(&live, &wanted), "{live}");
        }
    }
}
