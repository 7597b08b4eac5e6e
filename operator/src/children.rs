//! Writes the children of a resource by server-side apply: only those that differ, and never over an
//! object that somebody else made.
use crate::{error::Error, metrics::ControllerMetrics, traces, watches::as_cached};
use candlepower_api::names::labels;
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, Preconditions,
        PropagationPolicy,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A child that the API server did not accept.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the {kind} {name} was refused: {message}")]
pub(crate) struct Refusal {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) message: String,
}

/// Why one child could not be written.
pub(crate) enum Failure {
    Refused(Refusal),
    Error(Error),
}

/// Writes the children of one owner.
pub(crate) struct Writer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) metrics: &'a ControllerMetrics,
    pub(crate) namespace: &'a str,
    pub(crate) owner: &'a OwnerReference,
    /// Whether what is deleted is gone before or after its own children are.
    pub(crate) deletion: PropagationPolicy,
    /// Whether anything had to be written.
    pub(crate) has_written: AtomicBool,
}

impl Writer<'_> {
    /// Writes `desired` unless the cluster holds it already, and gives back what it holds then.
    pub(crate) async fn apply<K>(&self, desired: &K, observed: &[Arc<K>]) -> Result<K, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + DeserializeOwned + Serialize,
    {
        let live = find(observed, desired);
        match self.difference(desired, live).await? {
            None => live
                .map(|live| K::clone(live))
                .ok_or(Failure::Error(Error::Incomplete("copy in the cache"))),
            Some(child) => {
                let written = self.write(&child).await?;
                let written = json(&written)?;
                serde_json::from_value(written).map_err(|error| Failure::Error(error.into()))
            }
        }
    }

    /// The same for an object that need not be looked at afterwards: the API server does not send it back, which is most
    /// of the cost where it is large.
    pub(crate) async fn put<K>(&self, desired: &K, observed: &[Arc<K>]) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize,
    {
        let live = find(observed, desired);
        match self.difference(desired, live).await? {
            None => Ok(()),
            Some(child) => self.write_unseen(&child).await,
        }
    }

    /// Writes `desired` where it is wanted, and deletes what is there where it is not.
    pub(crate) async fn apply_optional<K>(
        &self,
        desired: Option<&K>,
        observed: &[Arc<K>],
    ) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize,
    {
        if let Some(desired) = desired {
            self.put(desired, observed).await?;
        }
        let wanted: Vec<_> = desired.map(ResourceExt::name_any).into_iter().collect();
        self.delete_orphans(observed, &wanted).await
    }

    /// Deletes children that carry the resource's label but are no longer asked for.
    pub(crate) async fn delete_orphans<K>(
        &self,
        observed: &[Arc<K>],
        wanted: &[String],
    ) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let orphans: Vec<_> = observed
            .iter()
            .map(|child| child.meta())
            .filter(|child| {
                !child
                    .name
                    .as_ref()
                    .is_some_and(|name| wanted.contains(name))
                    && child.deletion_timestamp.is_none()
                    && is_controlled_by(child, &self.owner.uid)
            })
            .collect();
        if orphans.is_empty() {
            return Ok(());
        }
        self.delete(&ApiResource::erase::<K>(&()), &orphans).await
    }

    /// What is to be written so that the cluster holds `desired`; nothing where `live` is like it.
    async fn difference<K>(
        &self,
        desired: &K,
        live: Option<&Arc<K>>,
    ) -> Result<Option<Child>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize,
    {
        let child = Child {
            kind: ApiResource::erase::<K>(&()),
            name: desired.name_any(),
            wanted: json(desired)?,
        };
        match live {
            Some(live) => self.compare(child, live.meta(), || json(&**live)),
            None => self.free(child).await.map(Some),
        }
    }

    // From here on no kind has code of its own, of which the binary would hold a copy for each.

    fn compare(
        &self,
        child: Child,
        live: &ObjectMeta,
        content: impl FnOnce() -> Result<Value, Failure>,
    ) -> Result<Option<Child>, Failure> {
        self.is_ours(live, &child)?;
        let hash = hash(&child.wanted);
        let known = live.annotations.as_ref();
        let known = known.and_then(|known| known.get(labels::APPLIED_HASH));
        if known == Some(&hash) && contains(&content()?, &as_cached(&child.wanted)) {
            return Ok(None);
        }
        Ok(Some(child.with_hash(hash)))
    }

    /// An apply would take over an object of the same name that somebody else made, and the
    /// garbage collector would delete it with the resource. One that is missing in the cache, for
    /// want of our label, is therefore asked for by name first.
    async fn free(&self, child: Child) -> Result<Child, Failure> {
        let existing = self.api(&child.kind).get_metadata_opt(&child.name).await;
        if let Some(existing) =
            existing.map_err(|error| failure("reading", &child.kind, &child.name, error))?
        {
            self.is_ours(&existing.metadata, &child)?;
        }
        let hash = hash(&child.wanted);
        Ok(child.with_hash(hash))
    }

    fn is_ours(&self, existing: &ObjectMeta, child: &Child) -> Result<(), Failure> {
        let (kind, name) = (child.kind.kind.clone(), child.name.clone());
        if is_controlled_by(existing, &self.owner.uid) {
            return Ok(());
        }
        if is_left_over(existing, self.owner) {
            return Err(Failure::Error(Error::LeftOver { kind, name }));
        }
        Err(Failure::Refused(Refusal {
            kind,
            name,
            message: "an object of this name exists already and does not belong to this resource: delete it, or give the resource another name".to_owned(),
        }))
    }

    async fn write(&self, child: &Child) -> Result<DynamicObject, Failure> {
        let Child { kind, name, wanted } = child;
        let (api, params, wanted) = (self.api(kind), as_operator(), Patch::Apply(wanted));
        let writing = api.patch(name, &params, &wanted);
        let written = traces::within(traces::apply("patch", kind, name), writing)
            .await
            .map_err(|error| failure("applying", kind, name, error))?;
        self.note_write(kind);
        Ok(written)
    }

    async fn write_unseen(&self, child: &Child) -> Result<(), Failure> {
        let Child { kind, name, wanted } = child;
        let (api, params, wanted) = (self.api(kind), as_operator(), Patch::Apply(wanted));
        let writing = api.patch_metadata(name, &params, &wanted);
        traces::within(traces::apply("patch", kind, name), writing)
            .await
            .map_err(|error| failure("applying", kind, name, error))?;
        self.note_write(kind);
        Ok(())
    }

    async fn delete(&self, kind: &ApiResource, orphans: &[&ObjectMeta]) -> Result<(), Failure> {
        for orphan in orphans {
            let name = orphan.name.as_deref().unwrap_or_default();
            let params = DeleteParams {
                propagation_policy: Some(self.deletion.clone()),
                ..DeleteParams::default()
            };
            let params = params.preconditions(Preconditions {
                uid: orphan.uid.clone(),
                resource_version: None,
            });
            let api = self.api(kind);
            let deleting = api.delete(name, &params);
            match traces::within(traces::apply("delete", kind, name), deleting).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(failure("deleting", kind, name, error)),
                Ok(_) => self.note_write(kind),
            }
        }
        Ok(())
    }

    fn note_write(&self, kind: &ApiResource) {
        self.has_written.store(true, Ordering::Relaxed);
        self.metrics.wrote(&kind.kind);
    }

    fn api(&self, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.namespace, kind)
    }
}

/// An object to be written.
struct Child {
    kind: ApiResource,
    name: String,
    wanted: Value,
}

impl Child {
    fn with_hash(mut self, hash: String) -> Self {
        self.wanted["metadata"]["annotations"][labels::APPLIED_HASH] = hash.into();
        self
    }
}

fn find<'o, K: Resource>(observed: &'o [Arc<K>], desired: &K) -> Option<&'o Arc<K>> {
    let name = &desired.meta().name;
    observed.iter().find(|live| live.meta().name == *name)
}

fn as_operator() -> PatchParams {
    PatchParams::apply(labels::OPERATOR_NAME).force()
}

fn json<K: Serialize>(object: &K) -> Result<Value, Failure> {
    serde_json::to_value(object).map_err(|error| Failure::Error(error.into()))
}

fn hash(wanted: &Value) -> String {
    // Keys are sorted, so equal wishes have equal hashes, also in the next process.
    let digest = Sha256::digest(wanted.to_string());
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(first))
}

/// Whether `live` holds everything in `wanted`; the API server adds defaults of its own.
fn contains(live: &Value, wanted: &Value) -> bool {
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

/// An answer that speaks of the child itself belongs into the status.
fn failure(verb: &'static str, kind: &ApiResource, name: &str, error: kube::Error) -> Failure {
    let kind = kind.kind.clone();
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 413 | 422) => {
            Failure::Refused(Refusal {
                kind,
                name: name.to_owned(),
                message: status.message,
            })
        }
        source => Failure::Error(Error::Child {
            verb,
            kind,
            name: name.to_owned(),
            source: Box::new(source),
        }),
    }
}

/// The reference that a child of `owner` carries. Whoever waits for the owner to be gone (deletion in the foreground)
/// waits for the child, too: a benchmark's next round may not begin beside the pods of the last copy.
pub(crate) fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> Option<OwnerReference> {
    Some(OwnerReference {
        block_owner_deletion: Some(true),
        ..owner.controller_owner_ref(&())?
    })
}

/// The controller reference of an object names this owner.
pub(crate) fn is_controlled_by(object: &ObjectMeta, owner_uid: &str) -> bool {
    object
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.controller == Some(true) && owner.uid == owner_uid)
}

/// The object is on its way out: it is being deleted, or was a child of an earlier owner of the same name, which the
/// garbage collector has yet to see.
fn is_left_over(object: &ObjectMeta, owner: &OwnerReference) -> bool {
    let mut owners = object.owner_references.iter().flatten();
    object.deletion_timestamp.is_some()
        || owners.any(|earlier| {
            earlier.controller == Some(true)
                && earlier.kind == owner.kind
                && earlier.name == owner.name
                && earlier.uid != owner.uid
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use kube::core::Status;
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

    #[test]
    fn what_an_earlier_resource_of_the_name_left_is_waited_for_and_never_taken_over() {
        let owner = |kind: &str, name: &str, uid: &str| OwnerReference {
            kind: kind.into(),
            name: name.into(),
            uid: uid.into(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        let mine = owner("LLMDeployment", "a", "new");
        let child = |owner: Option<OwnerReference>, deleted: bool| {
            let mut child: Service =
                serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
            child.metadata.owner_references = owner.map(|owner| vec![owner]);
            if deleted {
                child.metadata.deletion_timestamp =
                    Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
            }
            child
        };
        let left = |owner, deleted| is_left_over(&child(owner, deleted).metadata, &mine);
        assert!(left(Some(owner("LLMDeployment", "a", "old")), false));
        assert!(left(None, true), "somebody deletes it");
        assert!(!left(None, false), "somebody made it by hand");
        assert!(!left(Some(owner("LLMDeployment", "b", "other")), false));
        assert!(!left(Some(owner("Other", "a", "other")), false));
    }

    #[test]
    fn an_answer_about_the_child_is_shown_and_one_about_the_server_is_retried() {
        let answer = |code| {
            let status = Status {
                code,
                message: "no".into(),
                ..Status::default()
            };
            let kind = ApiResource::erase::<Service>(&());
            failure("applying", &kind, "a", kube::Error::Api(Box::new(status)))
        };
        for code in [400, 403, 422] {
            assert!(matches!(answer(code), Failure::Refused(_)), "{code}");
        }
        for code in [404, 409, 429, 500, 503] {
            assert!(matches!(answer(code), Failure::Error(_)), "{code}");
        }
    }
}
