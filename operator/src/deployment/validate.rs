//! What the API server's schema cannot check: turns a resource into one that can be served, or
//! says why not.
use super::context::ServerDefaults;
use crate::children;
use candlepower_api::{
    deployment::{Device, LLMDeployment, LLMDeploymentSpec, LLMDeploymentStatus, Model},
    names::{conditions, labels, paths},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use std::path::{Component, Path, PathBuf};

/// A resource that can be served; children are built from nothing else.
#[derive(Debug)]
pub(super) struct Valid<'a> {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) owner: OwnerReference,
    pub(super) spec: &'a LLMDeploymentSpec,
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
    let incomplete = || Rejection::invalid("the resource has no namespace or uid");
    Ok(Valid {
        name: resource.name_any(),
        namespace: resource.namespace().ok_or_else(incomplete)?,
        owner: children::owner_reference(resource).ok_or_else(incomplete)?,
        spec,
        server: ServerDefaults {
            image: image(resource, previous, defaults)?,
            ..defaults.clone()
        },
        model: mount(&spec.model)?,
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
    chosen.or(default).map(str::to_owned).ok_or_else(|| Rejection {
        reason: conditions::CUDA_IMAGE_NOT_SET,
        message: "spec.resources.gpus: the operator has no image of the server for GPUs: set the chart's server.cudaImage (the operator's --server-image-cuda), or write gpus: 0".to_owned(),
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
