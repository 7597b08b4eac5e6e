//! What the API server's schema cannot check: turns a resource into one that can be served, or
//! says why not.
use super::{
    context::ServerDefaults,
    source::{self, ModelSource},
};
use crate::children;
use candlepower_api::{
    deployment::{Device, LLMDeployment, LLMDeploymentSpec, LLMDeploymentStatus},
    names::{conditions, labels},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

/// A resource that can be served; children are built from nothing else.
#[derive(Debug)]
pub(super) struct Valid<'a> {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) owner: OwnerReference,
    pub(super) spec: &'a LLMDeploymentSpec,
    /// Number of pods; an autoscaler's takes the place of the specification's.
    pub(super) replicas: i32,
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
    let incomplete = || Rejection::invalid("the resource has no namespace or uid");
    Ok(Valid {
        name: resource.name_any(),
        namespace: resource.namespace().ok_or_else(incomplete)?,
        owner: children::owner_reference(resource).ok_or_else(incomplete)?,
        spec,
        replicas: spec.desired_replicas(),
        server: ServerDefaults {
            image: image(resource, previous, defaults)?,
            ..defaults.clone()
        },
        model: source::of(spec)?,
        is_copy: resource.labels().contains_key(labels::LLM_BENCHMARK),
    })
}

/// The server's image, for the device that the resource asks for.
fn image(
    resource: &LLMDeployment,
    previous: &LLMDeploymentStatus,
    defaults: &ServerDefaults,
) -> Result<String, Rejection> {
    let device = resource.spec.resources.device();
    let of_target = resource.annotations().get(labels::SERVER_IMAGE);
    let chosen = pinned_image(previous, device).or(of_target.map(String::as_str));
    let default = match device {
        Device::Cpu => Some(&*defaults.image),
        Device::Cuda => defaults.cuda_image.as_deref(),
    };
    chosen.or(default).map(str::to_owned).ok_or_else(|| {
        let (field, other) = if resource.spec.resources.claims.is_empty() {
            ("gpus", "write gpus: 0")
        } else {
            ("claims", "remove the claims")
        };
        Rejection {
            reason: conditions::CUDA_IMAGE_NOT_SET,
            message: format!("spec.resources.{field}: the operator has no image of the server for GPUs: set the chart's server.cudaImage (the operator's --server-image-cuda), or {other}"),
        }
    })
}

/// The image stays, so that a new operator restarts no model; but one that never arrived on a node
/// runs nowhere, and gives way to the operator's corrected flag.
fn pinned_image(previous: &LLMDeploymentStatus, device: Device) -> Option<&str> {
    let never_arrived = previous.ready_replicas == 0
        && previous.conditions.iter().any(|condition| {
            condition.type_ == conditions::READY
                && condition.reason == conditions::IMAGE_PULL_FAILED
        });
    let fits = previous.image_device == device && !never_arrived;
    previous.image.as_deref().filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::{Value, json};

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
        assert_eq!(pinned_image(&previous(0), Device::Cpu), None);
        assert_eq!(pinned_image(&previous(1), Device::Cpu), Some("typo"));
    }

    #[test]
    fn gpus_get_the_image_for_gpus_whatever_was_pinned_for_the_processor() {
        let image = |gpus: i32, previous: Value| {
            let resource = testing::resource(json!({"resources": {"gpus": gpus}}));
            let previous = serde_json::from_value(previous).unwrap();
            validate(&resource, &previous, &testing::server())
                .unwrap()
                .server
                .image
        };
        let cpu = json!({"image": "old"});
        let cuda = json!({"image": "old-cuda", "imageDevice": "cuda"});
        assert_eq!(image(1, json!({})), "candlepower/server-cuda:test");
        assert_eq!(image(1, cpu.clone()), "candlepower/server-cuda:test");
        assert_eq!(image(2, cuda.clone()), "old-cuda");
        assert_eq!(image(0, cpu), "old");
        assert_eq!(image(0, cuda), "candlepower/server:test");
    }

    #[test]
    fn device_claims_get_the_image_for_gpus() {
        let claims = json!([{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]);
        let resource = testing::resource(json!({"resources": {"claims": claims}}));
        let image = testing::valid(&resource).server.image;
        assert_eq!(image, "candlepower/server-cuda:test");
    }

    #[test]
    fn gpus_without_an_image_for_them_are_refused_with_the_cure() {
        let resource = testing::resource(json!({"resources": {"gpus": 1}}));
        let defaults = ServerDefaults {
            cuda_image: None,
            ..testing::server()
        };
        let rejection =
            validate(&resource, &LLMDeploymentStatus::default(), &defaults).unwrap_err();
        assert_eq!(rejection.reason, "CudaImageNotSet");
        assert!(
            rejection.message.contains("server.cudaImage"),
            "{rejection:?}"
        );
    }
}
