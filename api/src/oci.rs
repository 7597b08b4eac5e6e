//! Artifacts in a container registry, whose layers are a model's files. The server fetches them; the operator asks how
//! large they are.

/// The kinds of manifest that are read.
pub const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
/// Annotations that hold a layer's file name.
const TITLES: [&str; 3] = [
    "org.opencontainers.image.title",
    "org.cncf.model.filepath",
    "org.cnai.model.filepath",
];

/// Where an artifact is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Artifact<'a> {
    /// Of the registry, perhaps with a port.
    pub host: &'a str,
    /// What may have several parts.
    pub repository: &'a str,
    /// A tag, or a digest such as `sha256:…`.
    pub reference: &'a str,
}

impl<'a> Artifact<'a> {
    /// Reads what stands behind `oci://`.
    pub fn parse(rest: &'a str) -> Option<Self> {
        let (host, path) = rest.split_once('/')?;
        let (repository, reference) = match path.split_once('@') {
            Some((repository, digest)) => (repository, digest),
            None => path.rsplit_once(':').unwrap_or((path, "latest")),
        };
        let is_complete = [host, repository, reference]
            .iter()
            .all(|part| !part.is_empty());
        is_complete.then_some(Self {
            host,
            repository,
            reference,
        })
    }
}

/// The name of the file that a layer of this kind is, where it is one by itself.
pub fn file_name<'a>(
    media_type: &str,
    annotation: impl Fn(&str) -> Option<&'a str>,
) -> Option<&'a str> {
    let title = TITLES.into_iter().find_map(annotation);
    title.or_else(|| media_type.contains("gguf").then_some("model.gguf"))
}

/// A value of a registry's challenge such as `Bearer realm="https://auth",service="registry"`.
pub fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let (_, list) = challenge.split_once(' ')?;
    let (_, value) = list.split_once(&format!("{name}=\""))?;
    Some(value.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_has_a_tag_or_a_digest_and_else_the_latest() {
        for (text, host, repository, reference) in [
            ("r:5000/a/b:1", "r:5000", "a/b", "1"),
            ("r/a", "r", "a", "latest"),
            ("r/a@sha256:00", "r", "a", "sha256:00"),
        ] {
            let artifact = Artifact {
                host,
                repository,
                reference,
            };
            assert_eq!(Artifact::parse(text), Some(artifact));
        }
        for text in ["r", "r/", "/a", "r/a:", "r/:1"] {
            assert_eq!(Artifact::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_layer_is_a_file_by_its_title_or_by_being_a_gguf() {
        let titled = |wanted: &'static str| move |name: &str| (name == wanted).then_some("w.gguf");
        for title in TITLES {
            assert_eq!(file_name("any", titled(title)), Some("w.gguf"));
        }
        let untitled = |_: &str| None::<&'static str>;
        let gguf = file_name("application/vnd.docker.ai.gguf.v3", untitled);
        assert_eq!(gguf, Some("model.gguf"));
        let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
        assert_eq!(file_name(tar, untitled), None);
    }

    #[test]
    fn a_challenge_says_where_tokens_are_given_out() {
        let challenge =
            r#"Bearer realm="https://auth/token",service="r",scope="repository:a:pull""#;
        assert_eq!(parameter(challenge, "realm"), Some("https://auth/token"));
        assert_eq!(parameter(challenge, "scope"), Some("repository:a:pull"));
        assert_eq!(parameter(challenge, "error"), None);
    }
}
