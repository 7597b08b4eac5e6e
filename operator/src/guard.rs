//! An object that may be malformed: one of them must not stop the watch of all others.
//!
//! As `kube::core::DeserializeGuard`, but by way of the JSON value that the rest of the operator reads from, too: that one's
//! own kind of value costs the binary a megabyte.
use candlepower_api::value::read_json;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use serde_json::Value;
use std::borrow::Cow;

/// The object, or why it cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct Guard<K>(pub(crate) Result<K, Malformed>);

/// An object that does not have its kind's form.
#[derive(Clone, Debug)]
pub(crate) struct Malformed {
    /// What is wrong with it.
    pub(crate) error: String,
    metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guard<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        let metadata = object.get("metadata").cloned().unwrap_or_default();
        // Nobody here reads them, and they are half of the object.
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        match read_json(&object) {
            Ok(object) => Ok(Self(Ok(object))),
            Err(error) => Ok(Self(Err(Malformed {
                error,
                metadata: read_json(&metadata).map_err(D::Error::custom)?,
            }))),
        }
    }
}

impl<K: Resource> Resource for Guard<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(malformed) => &malformed.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(malformed) => &mut malformed.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn read(object: Value) -> Guard<Pod> {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_malformed_object_is_known_by_its_metadata() {
        let metadata = json!({"name": "a", "namespace": "team", "uid": "u"});
        let guarded = read(json!({"metadata": metadata, "spec": {"containers": "none"}}));
        assert_eq!(guarded.meta().name.as_deref(), Some("a"));
        assert_eq!(guarded.meta().uid.as_deref(), Some("u"));
        let malformed = guarded.0.unwrap_err();
        assert!(
            malformed.error.contains("expected a sequence"),
            "{}",
            malformed.error
        );
    }

    #[test]
    fn a_good_object_is_read_whole_but_for_who_wrote_what() {
        let metadata = json!({"name": "a", "labels": {"b": "c"}, "managedFields": [{}]});
        let guarded = read(json!({"metadata": metadata, "spec": {"containers": []}}));
        let pod = guarded.0.unwrap();
        assert_eq!(pod.metadata.labels.unwrap()["b"], "c");
        assert_eq!(pod.metadata.managed_fields, None);
        assert!(pod.spec.unwrap().containers.is_empty());
    }
}
