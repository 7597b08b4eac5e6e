//! Where the model comes from: a volume that is mounted, or a source that the server fetches into a
//! cache.
use super::validate::Rejection;
use candlepower_api::{
    deployment::{Cache, CacheAccessMode, LLMDeploymentSpec},
    names::paths,
    value::ByteSize,
};
use std::path::{Component, Path, PathBuf};

/// Where the model comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ModelSource {
    /// Its files are on a volume.
    Mounted(MountedModel),
    /// The server fetches them.
    Fetched(FetchedModel),
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

/// What the server fetches, and where it keeps that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct FetchedModel {
    pub(super) source: String,
    pub(super) tokenizer: Option<String>,
    pub(super) cache: CacheVolume,
}

/// The volume that keeps what was fetched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum CacheVolume {
    /// A claim that belongs to the resource.
    New {
        size: ByteSize,
        storage_class_name: Option<String>,
        access_mode: CacheAccessMode,
    },
    /// A claim of somebody else's.
    Existing {
        claim: String,
        access_mode: CacheAccessMode,
    },
    /// A folder that ends with the pod.
    Pod,
}

impl CacheVolume {
    /// Whether a second pod may have to wait until the first one lets go of it.
    pub(super) const fn is_for_one_node(&self) -> bool {
        match self {
            Self::New { access_mode, .. } | Self::Existing { access_mode, .. } => {
                matches!(access_mode, CacheAccessMode::ReadWriteOnce)
            }
            Self::Pod => false,
        }
    }
}

/// Whether the server has to fetch this source.
pub(super) fn is_fetched(source: &str) -> bool {
    ["hf://", "https://", "s3://", "oci://"]
        .iter()
        .any(|scheme| source.starts_with(scheme))
}

/// Where the model of `spec` comes from.
pub(super) fn of(spec: &LLMDeploymentSpec) -> Result<ModelSource, Rejection> {
    let model = &spec.model;
    let tokenizer = model.tokenizer.as_deref();
    if !is_fetched(&model.source) {
        return mount(&model.source, tokenizer).map(ModelSource::Mounted);
    }
    if tokenizer.is_some_and(|tokenizer| !is_fetched(tokenizer)) {
        return Err(Rejection::invalid(
            "spec.model.tokenizer: the model is fetched, so no volume is mounted: name the tokenizer by hf://, https://, s3:// or oci://",
        ));
    }
    Ok(ModelSource::Fetched(FetchedModel {
        source: model.source.clone(),
        tokenizer: model.tokenizer.clone(),
        cache: cache(spec.cache.as_ref()),
    }))
}

fn cache(cache: Option<&Cache>) -> CacheVolume {
    let Some(cache) = cache else {
        return CacheVolume::Pod;
    };
    let access_mode = cache.access_mode;
    match (&cache.existing_claim, cache.size) {
        (Some(claim), _) => CacheVolume::Existing {
            claim: claim.clone(),
            access_mode,
        },
        (None, Some(size)) => CacheVolume::New {
            size,
            storage_class_name: cache.storage_class_name.clone(),
            access_mode,
        },
        // The schema wants one of them.
        (None, None) => CacheVolume::Pod,
    }
}

fn mount(source: &str, tokenizer: Option<&str>) -> Result<MountedModel, Rejection> {
    let (volume, file) = locate("model.source", source)?;
    let beside = |tokenizer: &str| {
        let (tokenizer_volume, file) = locate("model.tokenizer", tokenizer)?;
        if tokenizer_volume == volume {
            Ok(file)
        } else {
            Err(Rejection::invalid(format!(
                "spec.model.tokenizer: put the file beside the weights ({source}), because one volume is mounted for both"
            )))
        }
    };
    let tokenizer = tokenizer.map(beside).transpose()?;
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
        _ => Err(Rejection::invalid(format!(
            "spec.{field}: the model is on a volume, so write pvc://CLAIM/PATH or file:///PATH here, too"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::{Value, json};

    fn source(spec: Value) -> Result<ModelSource, Rejection> {
        of(&testing::resource(spec).spec)
    }

    fn mounted(model: &Value) -> MountedModel {
        match source(json!({"model": model})).unwrap() {
            ModelSource::Mounted(model) => model,
            ModelSource::Fetched(model) => panic!("{model:?}"),
        }
    }

    fn cache(cache: &Value) -> CacheVolume {
        match source(json!({"model": {"source": "hf://a/b"}, "cache": cache})).unwrap() {
            ModelSource::Fetched(model) => model.cache,
            ModelSource::Mounted(model) => panic!("{model:?}"),
        }
    }

    #[test]
    fn a_claim_is_mounted_and_the_path_continues_in_it() {
        let mounted = mounted(&json!({
            "source": "pvc://models/small/a.gguf", "tokenizer": "pvc://models/small/tokenizer.json"
        }));
        assert_eq!(mounted.volume, ModelVolume::Claim("models".into()));
        assert_eq!(mounted.path, Path::new("/models/small/a.gguf"));
        assert_eq!(
            mounted.tokenizer.unwrap(),
            Path::new("/models/small/tokenizer.json")
        );
    }

    #[test]
    fn a_file_on_the_node_brings_its_folder() {
        let mounted = mounted(&json!({"source": "file:///srv/models/a.gguf"}));
        assert_eq!(
            mounted.volume,
            ModelVolume::HostFolder("/srv/models".into())
        );
        assert_eq!(mounted.path, Path::new("/models/a.gguf"));
    }

    #[test]
    fn what_is_on_no_volume_is_fetched() {
        for source in [
            "hf://owner/name",
            "https://host/a.gguf",
            "s3://bucket/a",
            "oci://r/a:1",
        ] {
            let found = self::source(json!({"model": {"source": source}})).unwrap();
            let ModelSource::Fetched(found) = found else {
                panic!("{source}")
            };
            assert_eq!(found.source, source);
            assert_eq!(found.cache, CacheVolume::Pod);
        }
    }

    #[test]
    fn a_cache_is_a_claim_of_our_own_or_of_somebody_elses() {
        let new = cache(&json!({"size": "5Gi"}));
        assert!(matches!(new, CacheVolume::New { .. }) && new.is_for_one_node());
        let shared = cache(&json!({"size": "5Gi", "accessMode": "ReadWriteMany"}));
        assert!(!shared.is_for_one_node());
        let existing = cache(&json!({"existingClaim": "weights"}));
        assert!(existing.is_for_one_node(), "as long as nobody says more");
        assert!(matches!(existing, CacheVolume::Existing { claim, .. } if claim == "weights"));
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
            (
                json!({"source": "pvc://a/b.gguf", "tokenizer": "hf://a/b"}),
                "pvc://CLAIM/PATH",
            ),
            (
                json!({"source": "hf://a/b", "tokenizer": "pvc://a/t.json"}),
                "by hf://",
            ),
        ];
        for (model, cure) in cases {
            let rejection = source(json!({"model": model})).unwrap_err();
            assert_eq!(rejection.reason, "InvalidSpec");
            assert!(rejection.message.contains(cure), "{rejection:?}");
        }
    }
}
