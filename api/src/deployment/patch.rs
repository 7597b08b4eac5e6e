//! A change of a deployment's spec, as variants and recommendations bring it, checked as far as that can be
//! done without an API server: by the types, and by the limits of the schema. CEL rules are left to it.
use super::{LLMDeployment, LLMDeploymentSpec};
use crate::value::read_json;
use kube::CustomResourceExt;
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, sync::OnceLock};

/// Why a patch makes no deployment.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// A value is not of its field's kind.
    #[error("the patch makes no spec: {0}")]
    NoSpec(String),
    /// What is not understood would otherwise be taken for done.
    #[error("there is no field {0}; see kubectl explain llm.spec --recursive")]
    Unknown(String),
    /// A number is too small or too large.
    #[error("{field} is {value}; write {limit}")]
    Limit {
        /// The field's path.
        field: String,
        /// What the patch says.
        value: f64,
        /// What it may be.
        limit: String,
    },
}

impl LLMDeploymentSpec {
    /// The spec with a JSON merge patch (RFC 7386), where null brings a default back. Numbers' limits are
    /// left to the API server.
    pub fn patched(&self, patch: &BTreeMap<String, Value>) -> Result<Self, PatchError> {
        let patch = json(patch)?;
        let mut whole = json(self)?;
        merge(&mut whole, &patch);
        let changed: Self = read_json(&whole).map_err(PatchError::NoSpec)?;
        let written = json(&changed)?;
        match unknown(&written, &patch, "spec") {
            Some(field) => Err(PatchError::Unknown(field)),
            None => Ok(changed),
        }
    }

    /// [`Self::patched`], where numbers keep the limits of the schema: for those who ask no API server.
    pub fn patched_within_limits(
        &self,
        patch: &BTreeMap<String, Value>,
    ) -> Result<Self, PatchError> {
        let changed = self.patched(patch)?;
        match beyond(schema(), &json(patch)?, "spec") {
            Some(limit) => Err(limit),
            None => Ok(changed),
        }
    }
}

fn json<T: Serialize>(value: &T) -> Result<Value, PatchError> {
    serde_json::to_value(value).map_err(|error| PatchError::NoSpec(error.to_string()))
}

fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(into) = value {
        for (key, change) in fields {
            if change.is_null() {
                into.remove(key);
            } else {
                merge(into.entry(key).or_insert(Value::Null), change);
            }
        }
    }
}

/// A field of the patch that the resource does not have.
fn unknown(written: &Value, patch: &Value, field: &str) -> Option<String> {
    let fields = patch.as_object()?.iter();
    let says_something = |change: &Value| match change {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    let mut told = fields.filter(|(_, change)| says_something(change));
    told.find_map(|(key, change)| {
        let field = format!("{field}.{key}");
        match written.get(key) {
            // Maps of the user's own keys, quantities and lists have forms of their own.
            Some(inner @ Value::Object(_)) => unknown(inner, change, &field),
            Some(_) => None,
            None => Some(field),
        }
    })
}

/// The schema of `spec`, which takes a while to make.
fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        // Without a schema nothing is beyond it; a test sees that there is one.
        let crd = serde_json::to_value(LLMDeployment::crd()).unwrap_or_default();
        let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        crd.pointer(schema).cloned().unwrap_or_default()
    })
}

/// The first number of the patch that is beyond its field's limits.
fn beyond(schema: &Value, patch: &Value, field: &str) -> Option<PatchError> {
    if let Some(fields) = patch.as_object() {
        let mut known = fields
            .iter()
            .filter_map(|(key, value)| Some((key, value, schema["properties"].get(key)?)));
        return known
            .find_map(|(key, value, inner)| beyond(inner, value, &format!("{field}.{key}")));
    }
    let value = patch.as_f64()?;
    let bound = |name: &str| schema[name].as_f64();
    let limit = match (bound("minimum"), bound("maximum")) {
        (Some(least), _) if value < least => format!("{least} or more"),
        (_, Some(most)) if value > most => format!("{most} or less"),
        _ => return None,
    };
    Some(PatchError::Limit {
        field: field.to_owned(),
        value,
        limit,
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::needless_pass_by_value,
        reason = "literals read better without a reference"
    )]
    use super::*;
    use serde_json::json;

    fn patched(patch: Value) -> Result<LLMDeploymentSpec, String> {
        let spec = json!({
            "model": {"source": "pvc://models/a.gguf"},
            "engine": {"maxQueueDepth": 7, "maxBatchSize": 8},
            "resources": {"cpu": "4"},
        });
        let spec: LLMDeploymentSpec = serde_json::from_value(spec).unwrap();
        let patch: BTreeMap<String, Value> = serde_json::from_value(patch).unwrap();
        spec.patched_within_limits(&patch)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_patch_changes_what_it_names_and_null_brings_the_default_back() {
        let spec = patched(json!({"engine": {"maxBatchSize": 1}, "resources": null})).unwrap();
        assert_eq!(
            (spec.engine.max_batch_size, spec.engine.max_queue_depth),
            (1, 7)
        );
        assert_eq!(spec.resources.cpu.to_string(), "2");
    }

    #[test]
    fn what_the_resource_does_not_have_is_not_taken_for_done() {
        for (patch, path) in [
            (json!({"precison": "q8_0"}), "spec.precison"),
            (json!({"engine": {"batch": 1}}), "spec.engine.batch"),
            (json!({"precision": "q7"}), "makes no spec"),
            (json!({"engine": {"maxBatchWait": "soon"}}), "makes no spec"),
        ] {
            let error = patched(patch).unwrap_err();
            assert!(error.contains(path), "{error}");
        }
        assert!(patched(json!({"pod": {"nodeSelector": {"a": "b"}}})).is_ok());
    }

    #[test]
    fn numbers_have_the_limits_of_the_schema() {
        for (patch, message) in [
            (
                json!({"engine": {"maxBatchSize": 2048}}),
                "spec.engine.maxBatchSize is 2048; write 1024 or less",
            ),
            (
                json!({"engine": {"prefillChunk": 0}}),
                "spec.engine.prefillChunk is 0; write 1 or more",
            ),
            (
                json!({"replicas": 1001}),
                "spec.replicas is 1001; write 1000 or less",
            ),
        ] {
            assert_eq!(patched(patch).unwrap_err(), message);
        }
        assert!(patched(json!({"engine": {"maxBatchSize": 1024}})).is_ok());
    }
}
