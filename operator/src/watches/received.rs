//! An object on its way from a watch into a cache.
use super::Kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{DynamicResourceScope, PartialObjectMeta},
    runtime::watcher::Event,
};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Value, json};
use std::borrow::Cow;

/// What a cache keeps of an object.
pub(crate) trait Kept: Sized {
    /// What is kept of `object`, which has no managed fields any more.
    ///
    /// # Errors
    /// Where the object does not have its kind's form, in words.
    fn of(object: Value) -> Result<Self, String>;
}

/// An object as a watch has received it.
#[derive(Clone, Debug)]
pub(crate) struct Received<T> {
    /// What the watch itself reads: which object, and its version.
    metadata: ObjectMeta,
    kept: T,
}

impl<'de, T: Kept> Deserialize<'de> for Received<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        let text = |field: &str| {
            let found = object.pointer(field).and_then(Value::as_str);
            found.map(str::to_owned)
        };
        let metadata = ObjectMeta {
            name: text("/metadata/name"),
            namespace: text("/metadata/namespace"),
            resource_version: text("/metadata/resourceVersion"),
            ..ObjectMeta::default()
        };
        // Nobody reads these, and they are half of an object.
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        Ok(Self {
            metadata,
            kept: T::of(object).map_err(D::Error::custom)?,
        })
    }
}

/// What a watch shows of an object.
pub(crate) trait Shown<T> {
    /// What is kept of it.
    ///
    /// # Errors
    /// Where that cannot be read, in words.
    fn kept(self) -> Result<T, String>;
}

impl<T> Shown<T> for Received<T> {
    fn kept(self) -> Result<T, String> {
        Ok(self.kept)
    }
}

/// Of which only the metadata is asked for.
impl<T: Kept> Shown<T> for PartialObjectMeta<Received<T>> {
    fn kept(self) -> Result<T, String> {
        let mut metadata = self.metadata;
        metadata.managed_fields = None;
        T::of(json!({"metadata": metadata}))
    }
}

/// The same event of what is kept.
pub(super) fn event<T, R: Shown<T>>(event: Event<R>) -> Result<Event<T>, String> {
    use Event::{Apply, Delete, Init, InitApply, InitDone};
    Ok(match event {
        Apply(object) => Apply(object.kept()?),
        Delete(object) => Delete(object.kept()?),
        InitApply(object) => InitApply(object.kept()?),
        Init => Init,
        InitDone => InitDone,
    })
}

impl<T> Resource for Received<T> {
    type DynamicType = Kind;
    type Scope = DynamicResourceScope;

    fn kind(kind: &Kind) -> Cow<'_, str> {
        kind.name()
    }

    fn group(kind: &Kind) -> Cow<'_, str> {
        kind.group()
    }

    fn version(kind: &Kind) -> Cow<'_, str> {
        kind.version()
    }

    fn plural(kind: &Kind) -> Cow<'_, str> {
        kind.plural()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
