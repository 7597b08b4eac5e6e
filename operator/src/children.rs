//! Writes the children of a resource by server-side apply: only those that differ, and never over an
//! object that somebody else made.
use crate::{error::Error, metrics::ControllerMetrics, watches::as_cached};
use candlepower_api::names::labels;
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        let name = desired.name_any();
        let wanted = match self.difference(desired, observed).await? {
            Difference::None(live) => return Ok(K::clone(live)),
            Difference::Some(wanted) => wanted,
        };
        let written = self
            .api::<K>()
            .patch(&name, &as_operator(), &Patch::Apply(&wanted))
            .await
            .map_err(|error| failure::<K>("applying", &name, error))?;
        self.note_write::<K>();
        Ok(written)
    }

    /// The same for an object that need not be looked at afterwards: the API server does not send it back, which is most
    /// of the cost where it is large.
    pub(crate) async fn put<K>(&self, desired: &K, observed: &[Arc<K>]) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        let name = desired.name_any();
        let Difference::Some(wanted) = self.difference(desired, observed).await? else {
            return Ok(());
        };
        self.api::<K>()
            .patch_metadata(&name, &as_operator(), &Patch::Apply(&wanted))
            .await
            .map_err(|error| failure::<K>("applying", &name, error))?;
        self.note_write::<K>();
        Ok(())
    }

    /// What is to be written so that the cluster holds `desired`.
    async fn difference<'o, K>(
        &self,
        desired: &K,
        observed: &'o [Arc<K>],
    ) -> Result<Difference<'o, K>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        let name = desired.name_any();
        let live = observed.iter().find(|live| live.name_any() == name);
        let mut wanted = json(desired)?;
        let hash = hash(&wanted);
        if let Some(live) = live {
            self.is_ours(&**live, &name)?;
            let unchanged = live.annotations().get(labels::APPLIED_HASH) == Some(&hash);
            if unchanged && contains(&json(&**live)?, &as_cached(&wanted)) {
                return Ok(Difference::None(live));
            }
        } else {
            self.is_free::<K>(&name).await?;
        }
        wanted["metadata"]["annotations"][labels::APPLIED_HASH] = hash.into();
        Ok(Difference::Some(wanted))
    }

    /// Writes `desired` where it is wanted, and deletes what is there where it is not.
    pub(crate) async fn apply_optional<K>(
        &self,
        desired: Option<&K>,
        observed: &[Arc<K>],
    ) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        if let Some(desired) = desired {
            self.put(desired, observed).await?;
        }
        let wanted: Vec<_> = desired.map(ResourceExt::name_any).into_iter().collect();
        self.delete_orphans(observed, &wanted).await
    }

    /// An apply would take over an object of the same name that somebody else made, and the
    /// garbage collector would delete it with the resource. One that is missing in the cache, for
    /// want of our label, is therefore asked for by name first.
    async fn is_free<K>(&self, name: &str) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        let existing = self
            .api::<K>()
            .get_metadata_opt(name)
            .await
            .map_err(|error| failure::<K>("reading", name, error))?;
        existing.map_or(Ok(()), |existing| self.is_ours(&existing, name))
    }

    fn is_ours<K: Resource<DynamicType = ()>>(
        &self,
        existing: &K,
        name: &str,
    ) -> Result<(), Failure> {
        if is_controlled_by(existing, &self.owner.uid) {
            return Ok(());
        }
        if is_left_over(existing, self.owner) {
            return Err(Failure::Error(Error::LeftOver {
                kind: K::kind(&()).into_owned(),
                name: name.to_owned(),
            }));
        }
        Err(Failure::Refused(Refusal {
            kind: K::kind(&()).into_owned(),
            name: name.to_owned(),
            message: "an object of this name exists already and does not belong to this resource: delete it, or give the resource another name".to_owned(),
        }))
    }

    /// Deletes children that carry the resource's label but are no longer asked for.
    pub(crate) async fn delete_orphans<K>(
        &self,
        observed: &[Arc<K>],
        wanted: &[String],
    ) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        let orphans = observed.iter().filter(|child| {
            !wanted.contains(&child.name_any())
                && child.meta().deletion_timestamp.is_none()
                && is_controlled_by(&***child, &self.owner.uid)
        });
        for orphan in orphans {
            let name = orphan.name_any();
            let params = DeleteParams {
                propagation_policy: Some(self.deletion.clone()),
                ..DeleteParams::default()
            };
            let params = params.preconditions(Preconditions {
                uid: orphan.uid(),
                resource_version: None,
            });
            match self.api::<K>().delete(&name, &params).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(failure::<K>("deleting", &name, error)),
                Ok(_) => self.note_write::<K>(),
            }
        }
        Ok(())
    }

    fn note_write<K: Resource<DynamicType = ()>>(&self) {
        self.has_written.store(true, Ordering::Relaxed);
        self.metrics.wrote(&K::kind(&()));
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), self.namespace)
    }
}

/// What the cluster lacks of an object.
enum Difference<'o, K> {
    /// Nothing: it holds this.
    None(&'o K),
    Some(Value),
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
fn failure<K: Resource<DynamicType = ()>>(
    verb: &'static str,
    name: &str,
    error: kube::Error,
) -> Failure {
    let kind = K::kind(&()).into_owned();
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
pub(crate) fn is_controlled_by<K: Resource>(object: &K, owner_uid: &str) -> bool {
    object
        .meta()
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.controller == Some(true) && owner.uid == owner_uid)
}

/// The object is on its way out: it is being deleted, or was a child of an earlier owner of the same name, which the
/// garbage collector has yet to see.
fn is_left_over<K: Resource>(object: &K, owner: &OwnerReference) -> bool {
    let mut owners = object.meta().owner_references.iter().flatten();
    object.meta().deletion_timestamp.is_some()
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
        let left = |owner, deleted| is_left_over(&child(owner, deleted), &mine);
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
            failure::<Service>("applying", "a", kube::Error::Api(Box::new(status)))
        };
        for code in [400, 403, 422] {
            assert!(matches!(answer(code), Failure::Refused(_)), "{code}");
        }
        for code in [404, 409, 429, 500, 503] {
            assert!(matches!(answer(code), Failure::Error(_)), "{code}");
        }
    }
}
