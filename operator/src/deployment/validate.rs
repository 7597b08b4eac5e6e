//! What the API server's schema cannot check: turns a resource into one that can be served, or
//! says why not.
use super::{
    context::ServerDefaults,
    source::{self, ModelSource},
};
use candlepower_api::{
    deployment::{LLMDeployment, LLMDeploymentSpec, LLMDeploymentStatus},
    names::{conditions, labels},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

/// A resource that can be served; children are built from nothing else.
#[derive(Debug)]
pub(super) struct Valid<'a> {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) owner: OwnerReference,
    pub(super) spec: &'a LLMDeploymentSpec,
    pub(super) server: ServerDefaults,
    pub(super) model: ModelSource,
    /// A benchmark's temporary copy: it is measured, and nobody is to be woken for it.
    pub(super) is_copy: bool,
}

/// Why a resource is not served; only a change of it can help.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Rejection {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Rejection {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self {
            reason: conditions::INVALID_SPEC,
            message: message.into(),
        }
    }
}

/// Checks `resource`. A server image that `previous` has pinned stays.
pub(super) fn validate<'a>(
    resource: &'a LLMDeployment,
    previous: &LLMDeploymentStatus,
    defaults: &ServerDefaults,
) -> Result<Valid<'a>, Rejection> {
    let spec = &resource.spec;
    refuse_open_doors(spec)?;
    let incomplete = || Rejection::invalid("the resource has no namespace or uid");
    Ok(Valid {
        name: resource.name_any(),
        namespace: resource.namespace().ok_or_else(incomplete)?,
        owner: resource.controller_owner_ref(&()).ok_or_else(incomplete)?,
        spec,
        server: ServerDefaults {
            image: pinned_image(previous)
                .or(resource
                    .annotations()
                    .get(labels::SERVER_IMAGE)
                    .map(String::as_str))
                .unwrap_or(&defaults.image)
                .to_owned(),
            pull_policy: defaults.pull_policy,
        },
        model: source::of(spec)?,
        is_copy: resource.labels().contains_key(labels::LLM_BENCHMARK),
    })
}

/// The image stays, so that a new operator restarts no model; but one that never arrived on a node
/// runs nowhere, and gives way to the operator's corrected flag.
fn pinned_image(previous: &LLMDeploymentStatus) -> Option<&str> {
    let never_arrived = previous.ready_replicas == 0
        && previous.conditions.iter().any(|condition| {
            condition.type_ == conditions::READY
                && condition.reason == conditions::IMAGE_PULL_FAILED
        });
    previous.image.as_deref().filter(|_| !never_arrived)
}

/// Most fields that have no effect yet are harmless to ignore; a lock that is not locked is not.
fn refuse_open_doors(spec: &LLMDeploymentSpec) -> Result<(), Rejection> {
    let refuse = |field: &str| {
        Err(Rejection {
            reason: conditions::NOT_YET_IMPLEMENTED,
            message: format!(
                "spec.access.{field} is not enforced by this version, so nothing is served: remove it, and limit access by other means"
            ),
        })
    };
    if spec.access.api_keys.is_some() {
        return refuse("apiKeys");
    }
    if !spec.access.network_policy.from.is_empty() {
        return refuse("networkPolicy.from");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::json;

    #[test]
    fn a_lock_that_is_not_locked_serves_nothing() {
        for access in [
            json!({"apiKeys": {"secretRef": {"name": "keys"}}}),
            json!({"networkPolicy": {"from": [{"podSelector": {}}]}}),
        ] {
            let resource = testing::resource(json!({"access": access}));
            let rejection = validate(
                &resource,
                &LLMDeploymentStatus::default(),
                &testing::server(),
            )
            .unwrap_err();
            assert_eq!(rejection.reason, "NotYetImplemented");
        }
    }

    #[test]
    fn a_new_operator_keeps_the_image_that_was_pinned() {
        let resource = testing::resource(json!({}));
        let image = |previous: &LLMDeploymentStatus| {
            validate(&resource, previous, &testing::server())
                .unwrap()
                .server
                .image
        };
        let pinned = LLMDeploymentStatus {
            image: Some("candlepower/server:0.0.9".into()),
            ..LLMDeploymentStatus::default()
        };
        assert_eq!(
            image(&LLMDeploymentStatus::default()),
            "candlepower/server:test"
        );
        assert_eq!(image(&pinned), "candlepower/server:0.0.9");
    }

    #[test]
    fn an_image_that_cannot_be_pulled_gives_way_to_a_corrected_one() {
        let previous = |ready_replicas| {
            serde_json::from_value::<LLMDeploymentStatus>(json!({
                "image": "typo",
                "readyReplicas": ready_replicas,
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": "ImagePullFailed",
                    "message": "", "lastTransitionTime": testing::NOW,
                }],
            }))
            .unwrap()
        };
        assert_eq!(pinned_image(&previous(0)), None);
        assert_eq!(pinned_image(&previous(1)), Some("typo"));
    }
}
