//! What a source says: the address of one file, a repository, a bucket's key or an artifact.
use super::error::FetchError;
use candlepower_api::oci::Artifact;
use url::Url;

/// A source, taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Address {
    /// One file on a web server.
    Web(Url),
    /// A repository on the Hugging Face hub or its mirror: `owner/name`.
    Hub(String),
    /// An object, or all objects whose keys begin with a folder's name and `/`.
    Bucket {
        /// Its name.
        bucket: String,
        /// Of an object, or a folder.
        key: String,
    },
    /// An artifact in a container registry.
    Registry {
        /// Host, perhaps with a port.
        host: String,
        /// What may have several parts.
        repository: String,
        /// A tag, or a digest such as `sha256:…`.
        reference: String,
    },
}

impl Address {
    /// Reads `source`. The errors say what to write.
    pub(super) fn parse(source: &str) -> Result<Self, FetchError> {
        let invalid = |cure: &str| FetchError::Invalid(format!("the source {source}: {cure}"));
        let (scheme, rest) = source.split_once("://").unwrap_or(("", source));
        match scheme {
            "http" | "https" => {
                let url = Url::parse(source)
                    .map_err(|error| invalid(&format!("this is no address ({error})")))?;
                if !url.username().is_empty() || url.password().is_some() {
                    return Err(invalid(
                        "a password does not belong here, where everybody reads it: write it into the Secret of model.credentials",
                    ));
                }
                Ok(Self::Web(url))
            }
            "hf" => match rest.trim_end_matches('/').split('/').collect::<Vec<_>>()[..] {
                [owner, name] if is_name(owner) && is_name(name) => {
                    Ok(Self::Hub(format!("{owner}/{name}")))
                }
                _ => Err(invalid(
                    "write hf://OWNER/NAME; a file of it goes into model.file, and a revision into model.revision",
                )),
            },
            "s3" => match rest.split_once('/') {
                Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok(Self::Bucket {
                    bucket: bucket.to_owned(),
                    key: key.to_owned(),
                }),
                _ => Err(invalid("write s3://BUCKET/KEY")),
            },
            "oci" => registry(rest)
                .ok_or_else(|| invalid("write oci://REGISTRY/REPOSITORY:TAG or …@sha256:DIGEST")),
            _ => Err(invalid("start with hf://, https://, s3:// or oci://")),
        }
    }

    /// The name by which requests call the model, where nobody gave another.
    pub(super) fn model_name(&self) -> String {
        let path = match self {
            Self::Web(url) => url.path(),
            Self::Hub(repository) | Self::Registry { repository, .. } => repository,
            Self::Bucket { key, .. } => key,
        };
        let name = last(path);
        let stem = [".gguf", ".safetensors"]
            .iter()
            .find_map(|extension| name.strip_suffix(extension));
        stem.unwrap_or(name).to_owned()
    }
}

/// What stands behind the last `/`.
pub(super) fn last(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit_once('/').map_or(path, |(_, last)| last)
}

/// Whether the hub could have given this name.
fn is_name(part: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !part.is_empty() && part != ".." && part != "." && part.bytes().all(fits)
}

fn registry(rest: &str) -> Option<Address> {
    let artifact = Artifact::parse(rest)?;
    Some(Address::Registry {
        host: artifact.host.to_owned(),
        repository: artifact.repository.to_owned(),
        reference: artifact.reference.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_source_is_taken_apart() {
        let registry = |host: &str, repository: &str, reference: &str| Address::Registry {
            host: host.into(),
            repository: repository.into(),
            reference: reference.into(),
        };
        for (source, address) in [
            ("hf://owner/name", Address::Hub("owner/name".into())),
            (
                "https://host/a.gguf",
                Address::Web(Url::parse("https://host/a.gguf").unwrap()),
            ),
            (
                "s3://bucket/folder/a.gguf",
                Address::Bucket {
                    bucket: "bucket".into(),
                    key: "folder/a.gguf".into(),
                },
            ),
            ("oci://r:5000/a/b:1", registry("r:5000", "a/b", "1")),
            ("oci://r/a", registry("r", "a", "latest")),
            ("oci://r/a@sha256:00", registry("r", "a", "sha256:00")),
        ] {
            assert_eq!(Address::parse(source).unwrap(), address, "{source}");
        }
    }

    #[test]
    fn what_is_no_source_says_what_to_write() {
        for (source, cure) in [
            ("hf://name", "hf://OWNER/NAME"),
            ("hf://a/b/c.gguf", "model.file"),
            ("hf://../a", "hf://OWNER/NAME"),
            ("s3://bucket", "s3://BUCKET/KEY"),
            ("oci://registry", "oci://REGISTRY/REPOSITORY:TAG"),
            (
                "https://me:secret@host/a",
                "the Secret of model.credentials",
            ),
            ("ftp://host/a", "start with hf://"),
        ] {
            let message = Address::parse(source).unwrap_err().to_string();
            assert!(message.contains(cure), "{message}");
        }
    }

    #[test]
    fn a_model_is_called_by_the_last_part_of_its_source() {
        for (source, name) in [
            ("hf://owner/Model-1.5B", "Model-1.5B"),
            ("https://host/x/a.Q4_1.gguf?key=1", "a.Q4_1"),
            ("s3://bucket/models/small/", "small"),
            ("oci://r/models/tiny:1", "tiny"),
        ] {
            assert_eq!(Address::parse(source).unwrap().model_name(), name);
        }
    }
}
