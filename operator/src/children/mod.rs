//! Writes the children of a resource: only those that differ, and never over an object that somebody else made.
mod cached;
mod compare;
mod ownership;
mod workload;
mod write;

pub(crate) use cached::Cached;
pub(crate) use ownership::{Identity, is_controlled_by, owner_reference};
pub(crate) use workload::{REPLICA_FAILURE, Workload};

use crate::{error::Error, metrics::ControllerMetrics};
use cached::is_immutable;
use candlepower_api::names::labels;
use compare::{contains, hash};
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Client, Resource, ResourceExt,
    api::{ApiResource, PropagationPolicy},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    borrow::Cow,
    sync::{Arc, atomic::AtomicBool},
};
use write::{Answer, Child, Way};

/// A child that the API server did not accept.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the {kind} {name} was refused: {message}")]
pub(crate) struct Refusal {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) message: String,
}

/// Why one child could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
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

/// An object as it is known to be in the cluster.
pub(crate) trait Live {
    /// Who it is.
    fn identity(&self) -> Cow<'_, Identity>;

    /// The hash in its annotation: of what was wanted of it when it was written last.
    fn applied(&self) -> Option<&str>;

    /// Whether it says all that is wanted of it.
    fn says(&self, wanted: &Value) -> serde_json::Result<bool>;
}

impl Live for Cached {
    fn identity(&self) -> Cow<'_, Identity> {
        Cow::Borrowed(&self.identity)
    }

    fn applied(&self) -> Option<&str> {
        self.applied.as_deref()
    }

    fn says(&self, wanted: &Value) -> serde_json::Result<bool> {
        Self::says(self, wanted)
    }
}

/// Few are of a kind that is cached whole.
impl<K: Resource + Serialize> Live for K {
    fn identity(&self) -> Cow<'_, Identity> {
        Cow::Owned(Identity::of(self.meta()))
    }

    fn applied(&self) -> Option<&str> {
        let hash = self.annotations().get(labels::APPLIED_HASH);
        hash.map(String::as_str)
    }

    fn says(&self, wanted: &Value) -> serde_json::Result<bool> {
        Ok(contains(&serde_json::to_value(self)?, wanted))
    }
}

impl Writer<'_> {
    /// Writes `desired` unless the cluster holds it already, and gives back what it holds then.
    pub(crate) async fn apply<K, L>(&self, desired: &K, observed: &[Arc<L>]) -> Result<L, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize,
        L: Live + Clone + DeserializeOwned,
    {
        let live = find(observed, desired);
        match self.difference(desired, live)? {
            None => live
                .map(|live| L::clone(live))
                .ok_or(Failure::Error(Error::Incomplete("copy in the cache"))),
            Some(child) => {
                let written = self.write(&child, Answer::Whole).await?;
                serde_json::from_str(&written).map_err(|error| Failure::Error(error.into()))
            }
        }
    }

    /// The same for an object that need not be looked at afterwards.
    pub(crate) async fn put<K, L>(&self, desired: &K, observed: &[Arc<L>]) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize,
        L: Live,
    {
        let live = find(observed, desired);
        match self.difference(desired, live)? {
            None => Ok(()),
            Some(child) => self.write(&child, Answer::Metadata).await.map(|_| ()),
        }
    }

    /// The same for an object of which nothing is known: it is there already, or it is made.
    pub(crate) async fn make<K>(&self, desired: &K) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize,
    {
        let observed: &[Arc<Cached>] = &[];
        self.put(desired, observed).await
    }

    /// Writes `desired` where it is wanted, and deletes what is there where it is not.
    pub(crate) async fn apply_optional<K>(
        &self,
        desired: Option<&K>,
        observed: &[Arc<Cached>],
    ) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize,
    {
        if let Some(desired) = desired {
            self.put(desired, observed).await?;
        }
        let wanted: Vec<_> = desired.map(ResourceExt::name_any).into_iter().collect();
        self.delete_orphans::<K, _>(observed, &wanted).await
    }

    /// Deletes children of kind `K` that carry the resource's label but are no longer asked for.
    pub(crate) async fn delete_orphans<K, L>(
        &self,
        observed: &[Arc<L>],
        wanted: &[String],
    ) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        L: Live,
    {
        let orphans: Vec<_> = observed
            .iter()
            .map(|child| child.identity())
            .filter(|child| {
                !wanted.iter().any(|name| **name == *child.name)
                    && !child.is_ending
                    && child.is_controlled_by(&self.owner.uid)
            })
            .collect();
        if orphans.is_empty() {
            return Ok(());
        }
        self.delete(&ApiResource::erase::<K>(&()), &orphans).await
    }

    /// What is to be written so that the cluster holds `desired`; nothing where `live` is like it.
    fn difference<K, L>(&self, desired: &K, live: Option<&Arc<L>>) -> Result<Option<Child>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize,
        L: Live,
    {
        let wanted = json(desired)?;
        let child = Child {
            kind: ApiResource::erase::<K>(&()),
            name: desired.name_any(),
            hash: hash(&wanted),
            wanted,
            way: Way::Create,
        };
        match live {
            Some(live) => self.compare(child, &**live),
            None => Ok(Some(mark(child))),
        }
    }

    // From here on no kind has code of its own, of which the binary would hold a copy for each.

    fn compare(&self, child: Child, live: &dyn Live) -> Result<Option<Child>, Failure> {
        self.is_ours(&live.identity(), &child.kind, &child.name)?;
        let known = Known::of(live.applied());
        let is_known = known.hash == Some(&child.hash);
        let says = |live: &dyn Live| live.says(&child.wanted);
        if is_known && says(live).map_err(|error| Failure::Error(error.into()))? {
            return Ok(None);
        }
        let way = if is_immutable(&child.wanted) {
            Way::Replace
        } else {
            known.way
        };
        Ok(Some(mark(Child { way, ..child })))
    }
}

/// What stands before the hash of an object that was created and never applied.
const CREATED: &str = "created-";

/// What an object's annotation says of the last time that it was written.
struct Known<'a> {
    /// Of what was wanted then.
    hash: Option<&'a str>,
    /// How it is to be written next.
    way: Way,
}

impl<'a> Known<'a> {
    fn of(annotation: Option<&'a str>) -> Self {
        match annotation {
            Some(text) => text.strip_prefix(CREATED).map_or(
                Self {
                    hash: Some(text),
                    way: Way::Apply,
                },
                |hash| Self {
                    hash: Some(hash),
                    way: Way::Adopt,
                },
            ),
            // Somebody has removed it, perhaps before the first apply.
            None => Self {
                hash: None,
                way: Way::Adopt,
            },
        }
    }
}

/// Notes in the annotation what is written, and how.
fn mark(mut child: Child) -> Child {
    let note = match child.way {
        Way::Create | Way::Replace => format!("{CREATED}{}", child.hash),
        Way::Adopt | Way::Apply => child.hash.clone(),
    };
    child.wanted["metadata"]["annotations"][labels::APPLIED_HASH] = note.into();
    child
}

fn find<'o, L: Live>(observed: &'o [Arc<L>], desired: &impl Resource) -> Option<&'o Arc<L>> {
    let name = desired.meta().name.as_deref()?;
    observed.iter().find(|live| *live.identity().name == *name)
}

fn json<K: Serialize>(object: &K) -> Result<Value, Failure> {
    serde_json::to_value(object).map_err(|error| Failure::Error(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    fn child(way: Way) -> Child {
        let wanted = json!({"metadata": {"name": "a"}});
        Child {
            kind: ApiResource::erase::<Service>(&()),
            name: "a".into(),
            hash: hash(&wanted),
            wanted,
            way,
        }
    }

    fn written(way: Way) -> Cached {
        serde_json::from_value(mark(child(way)).wanted).unwrap()
    }

    #[test]
    fn what_was_created_is_adopted_before_its_first_apply_and_never_again() {
        let hash = hash(&child(Way::Create).wanted);
        for (way, next) in [
            (Way::Create, Way::Adopt),
            (Way::Adopt, Way::Apply),
            (Way::Apply, Way::Apply),
        ] {
            let live = written(way);
            let known = Known::of(live.applied());
            assert_eq!(known.hash, Some(hash.as_str()), "{way:?}");
            assert_eq!(known.way, next, "{way:?}");
        }
    }

    #[test]
    fn an_object_whose_annotation_was_removed_is_adopted() {
        let known = Known::of(None);
        assert_eq!((known.hash, known.way), (None, Way::Adopt));
    }
}
