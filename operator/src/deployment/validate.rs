//! What the API server's schema cannot check: turns a resource into one that can be served, or
//! says why not.
use super::context::ServerDefaults;
use candlepower_api::{
    deployment::{LLMDeployment, LLMDeploymentSpec, LLMDeploymentStatus, Model},
    names::{conditions, labels, paths},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use std::path::{Component, Path, PathBuf};

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
    pub(super) model: MountedModel,
    /// A benchmark's temporary copy: it is measured, and nobody is to be woken for it.
    pub(super) is_copy: bool,
}

/// Where the model's files are inside the pod, and which volume brings them there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct MountedModel {
    pub(super) volume: ModelVolume,
    pub(super) path: PathBuf,
    pub(super) tokenizer: Option<PathBuf>,
}

/// The volume that holds the model.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ModelVolume {
    /// A PersistentVolumeClaim in the resource's namespace.
    Claim(String),
    /// A folder on the node.
    HostFolder(PathBuf),
}

/// Why a resource is not served; only a change of it can help.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Rejection {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Rejection {
    fn invalid(message: impl Into<String>) -> Self {
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
        replicas: spec.desired_replicas(),
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
        model: mount(&spec.model)?,
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

fn mount(model: &Model) -> Result<MountedModel, Rejection> {
    let (volume, file) = locate("model.source", &model.source)?;
    let tokenizer = model
        .tokenizer
        .as_deref()
        .map(|tokenizer| {
            let (tokenizer_volume, file) = locate("model.tokenizer", tokenizer)?;
            if tokenizer_volume == volume {
                Ok(file)
            } else {
                Err(Rejection::invalid(format!(
                    "spec.model.tokenizer: put the file beside the weights ({}), because one volume is mounted for both",
                    model.source
                )))
            }
        })
        .transpose()?;
    Ok(MountedModel {
        volume,
        path: file,
        tokenizer,
    })
}

/// The volume that a source names, and the file's path in the pod.
fn locate(field: &str, source: &str) -> Result<(ModelVolume, PathBuf), Rejection> {
    let (scheme, rest) = source.split_once("://").unwrap_or(("", source));
    if Path::new(rest)
        .components()
        .any(|part| part == Component::ParentDir)
    {
        return Err(Rejection::invalid(format!(
            "spec.{field}: the path may not contain '..'; write the path from the root of the source"
        )));
    }
    match scheme {
        "pvc" => {
            let (claim, file) = rest
                .split_once('/')
                .filter(|(claim, file)| !claim.is_empty() && !file.is_empty())
                .ok_or_else(|| {
                    Rejection::invalid(format!("spec.{field}: write pvc://CLAIM/PATH"))
                })?;
            let file = Path::new(paths::MODELS_DIR).join(file.trim_start_matches('/'));
            Ok((ModelVolume::Claim(claim.to_owned()), file))
        }
        "file" => {
            let file = Path::new(rest);
            let (folder, name) = file
                .parent()
                .filter(|folder| folder.is_absolute() && *folder != Path::new("/"))
                .zip(file.file_name())
                .ok_or_else(|| {
                    Rejection::invalid(format!(
                        "spec.{field}: write file:///FOLDER/NAME; the folder is mounted into the pod, and it may not be the node's root"
                    ))
                })?;
            let inside = Path::new(paths::MODELS_DIR).join(name);
            Ok((ModelVolume::HostFolder(folder.to_owned()), inside))
        }
        _ => Err(Rejection {
            reason: conditions::SOURCE_NOT_SUPPORTED,
            message: format!(
                "spec.{field}: this version does not fetch {scheme}:// sources: put the file on a PersistentVolumeClaim and write pvc://CLAIM/PATH"
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::{Value, json};

    fn model(value: Value) -> Result<MountedModel, Rejection> {
        mount(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_claim_is_mounted_and_the_path_continues_in_it() {
        let mounted = model(json!({
            "source": "pvc://models/small/a.gguf", "tokenizer": "pvc://models/small/tokenizer.json"
        }))
        .unwrap();
        assert_eq!(mounted.volume, ModelVolume::Claim("models".into()));
        assert_eq!(mounted.path, Path::new("/models/small/a.gguf"));
        assert_eq!(
            mounted.tokenizer.unwrap(),
            Path::new("/models/small/tokenizer.json")
        );
    }

    #[test]
    fn a_file_on_the_node_brings_its_folder() {
        let mounted = model(json!({"source": "file:///srv/models/a.gguf"})).unwrap();
        assert_eq!(
            mounted.volume,
            ModelVolume::HostFolder("/srv/models".into())
        );
        assert_eq!(mounted.path, Path::new("/models/a.gguf"));
    }

    #[test]
    fn a_source_that_would_have_to_be_fetched_says_what_to_do_instead() {
        for source in [
            "hf://owner/name",
            "https://host/a.gguf",
            "s3://bucket/a",
            "oci://r/a:1",
        ] {
            let rejection = model(json!({"source": source})).unwrap_err();
            assert_eq!(rejection.reason, "SourceNotSupported", "{source}");
            assert!(
                rejection.message.contains("pvc://CLAIM/PATH"),
                "{rejection:?}"
            );
        }
    }

    #[test]
    fn what_the_schema_lets_through_is_refused_with_a_cure() {
        let cases = [
            (json!({"source": "file:///a.gguf"}), "node's root"),
            (
                json!({"source": "pvc://a/b.gguf", "tokenizer": "pvc://c/t.json"}),
                "beside the weights",
            ),
            (
                json!({"source": "pvc://a/b.gguf", "tokenizer": "pvc://a/../../etc/passwd"}),
                "may not contain '..'",
            ),
        ];
        for (value, cure) in cases {
            let rejection = model(value).unwrap_err();
            assert_eq!(rejection.reason, "InvalidSpec");
            assert!(rejection.message.contains(cure), "{rejection:?}");
        }
    }

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
