//! Whose an object is.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, api::ObjectMeta};

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
pub(super) fn is_left_over(object: &ObjectMeta, owner: &OwnerReference) -> bool {
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
}
