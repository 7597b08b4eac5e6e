//! Who an object is, and whose.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, api::ObjectMeta};

/// Who an object is, and whose: as much of its metadata as is ever asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Identity {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) uid: Box<str>,
    /// Of its specification.
    pub(crate) generation: Option<i64>,
    /// Whether it is being deleted.
    pub(crate) is_ending: bool,
    pub(crate) controller: Option<Box<Controller>>,
}

/// The owner that looks after an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Controller {
    pub(crate) kind: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) uid: Box<str>,
}

impl Identity {
    /// What `metadata` says of it.
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        let text = |found: &Option<String>| found.as_deref().unwrap_or_default().into();
        Self {
            namespace: text(&metadata.namespace),
            name: text(&metadata.name),
            uid: text(&metadata.uid),
            generation: metadata.generation,
            is_ending: metadata.deletion_timestamp.is_some(),
            controller: controller_of(metadata).map(|owner| {
                Box::new(Controller {
                    kind: owner.kind.as_str().into(),
                    name: owner.name.as_str().into(),
                    uid: owner.uid.as_str().into(),
                })
            }),
        }
    }

    /// The controller reference of the object names this owner.
    pub(crate) fn is_controlled_by(&self, owner_uid: &str) -> bool {
        let controller = self.controller.as_ref();
        controller.is_some_and(|owner| *owner.uid == *owner_uid)
    }

    /// The object is on its way out: it is being deleted, or was a child of an earlier owner of the same name, which the
    /// garbage collector has yet to see.
    pub(super) fn is_left_over(&self, owner: &OwnerReference) -> bool {
        let is_earlier = |earlier: &Controller| {
            *earlier.kind == *owner.kind
                && *earlier.name == *owner.name
                && *earlier.uid != *owner.uid
        };
        self.is_ending || self.controller.as_deref().is_some_and(is_earlier)
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
    controller_of(object).is_some_and(|owner| owner.uid == owner_uid)
}

fn controller_of(object: &ObjectMeta) -> Option<&OwnerReference> {
    let mut owners = object.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
        let left = |owner: Option<OwnerReference>, deleted: bool| {
            let mut metadata = ObjectMeta {
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            };
            if deleted {
                metadata.deletion_timestamp =
                    Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
            }
            Identity::of(&metadata).is_left_over(&mine)
        };
        assert!(left(Some(owner("LLMDeployment", "a", "old")), false));
        assert!(left(None, true), "somebody deletes it");
        assert!(!left(None, false), "somebody made it by hand");
        assert!(!left(Some(owner("LLMDeployment", "b", "other")), false));
        assert!(!left(Some(owner("Other", "a", "other")), false));
    }

    #[test]
    fn of_several_owners_the_controller_counts() {
        let owner = |uid: &str, controller| OwnerReference {
            uid: uid.into(),
            controller,
            ..OwnerReference::default()
        };
        let metadata = ObjectMeta {
            owner_references: Some(vec![owner("a", None), owner("b", Some(true))]),
            ..ObjectMeta::default()
        };
        let identity = Identity::of(&metadata);
        for (uid, controls) in [("a", false), ("b", true)] {
            assert_eq!(identity.is_controlled_by(uid), controls);
            assert_eq!(is_controlled_by(&metadata, uid), controls);
        }
    }
}
