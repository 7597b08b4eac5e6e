//! The Hugging Face hub, or a mirror of it.
use super::{
    environment::Environment,
    error::{Failure, FetchError},
    http::{Http, Wanted, check},
    listing::{Listing, RemoteFile},
};
use candlepower_api::names::fetching;
use hyper::header::HeaderValue;
use serde::Deserialize;
use url::Url;

/// Where the hub is.
const HUB: &str = "https://huggingface.co";
/// Where a repository's files are, unless told otherwise.
const MAIN: &str = "main";

/// A repository at a revision.
#[derive(Debug)]
pub(super) struct Hub {
    base: Url,
    repository: String,
    revision: String,
    pub(super) authorization: Option<HeaderValue>,
    cure: String,
}

/// What the hub tells of a repository.
#[derive(Deserialize)]
struct Repository {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Hub {
    pub(super) fn new(
        repository: String,
        revision: Option<&str>,
        environment: &Environment,
    ) -> Result<Self, FetchError> {
        let endpoint = environment.get(fetching::HF_ENDPOINT);
        let endpoint = endpoint.as_deref().unwrap_or(HUB);
        let base = Url::parse(endpoint)
            .ok()
            .filter(|base| !base.cannot_be_a_base())
            .ok_or_else(|| {
                FetchError::Invalid(format!(
                    "{} is {endpoint}, which is no address: write one such as {HUB}",
                    fetching::HF_ENDPOINT
                ))
            })?;
        let opens = environment.cure(&format!(
            "its key {} or {}",
            fetching::HF_TOKEN,
            fetching::TOKEN
        ));
        Ok(Self {
            cure: format!(
                "{opens}; where the model is gated, ask for access at {HUB}/{repository}; check the name, too, as the hub hides what does not exist"
            ),
            base,
            repository,
            revision: revision.unwrap_or(MAIN).to_owned(),
            authorization: environment.bearer(&[fetching::HF_TOKEN, fetching::TOKEN]),
        })
    }

    /// Asks for the repository's files, with sizes and checksums.
    pub(super) async fn list(&self, http: &Http) -> Result<Listing, Failure> {
        let url = self.address(&["api", "models"], &["revision", &self.revision]);
        let mut asked = url.clone();
        asked.set_query(Some("blobs=true"));
        let wanted = Wanted::new(asked, self.authorization.clone());
        let answer = check(http.get(&wanted).await?, &url, || self.cure())?;
        let text = http.text(answer).await?;
        let told: Repository = serde_json::from_str(&text).map_err(|error| {
            Failure::passing(format!("{url} does not answer as the hub does: {error}"))
        })?;
        Ok(listing(told))
    }

    /// The address of a file. The commit, once known, keeps all files of one kind together.
    pub(super) fn url(&self, file: &RemoteFile, version: Option<&str>) -> Url {
        let revision = version.unwrap_or(&self.revision);
        let mut behind = vec!["resolve", revision];
        behind.extend(file.name.split('/'));
        self.address(&[], &behind)
    }

    pub(super) fn cure(&self) -> String {
        self.cure.clone()
    }

    /// The mirror's address, then `before`, the repository, and `behind`. A `/` within a revision is
    /// written as `%2F`.
    fn address(&self, before: &[&str], behind: &[&str]) -> Url {
        let mut url = self.base.clone();
        // The address can have parts: that was seen to at the beginning.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts
                .pop_if_empty()
                .extend(before)
                .extend(self.repository.split('/'))
                .extend(behind);
        }
        url
    }
}

fn listing(told: Repository) -> Listing {
    let file = |sibling: Sibling| {
        let (sha256, size) = sibling
            .lfs
            .map_or((None, None), |large| (large.sha256, large.size));
        RemoteFile {
            size: size.or(sibling.size),
            sha256,
            ..RemoteFile::named(sibling.rfilename)
        }
    };
    Listing {
        files: told.siblings.into_iter().map(file).collect(),
        version: told.sha,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(endpoint: Option<&'static str>, revision: Option<&str>) -> Hub {
        let environment = Environment::new(move |name| {
            (name == "HF_ENDPOINT")
                .then_some(endpoint)
                .flatten()
                .map(str::to_owned)
        });
        Hub::new("owner/name".into(), revision, &environment).unwrap()
    }

    #[test]
    fn files_have_the_addresses_that_the_hub_gives_them() {
        let file = RemoteFile::named("q4/a b.gguf");
        assert_eq!(
            hub(None, None).url(&file, None).as_str(),
            "https://huggingface.co/owner/name/resolve/main/q4/a%20b.gguf"
        );
        assert_eq!(
            hub(Some("http://mirror:8080/hf/"), Some("refs/pr/1"))
                .url(&file, None)
                .as_str(),
            "http://mirror:8080/hf/owner/name/resolve/refs%2Fpr%2F1/q4/a%20b.gguf"
        );
        assert_eq!(
            hub(None, None)
                .address(&["api", "models"], &["revision", "v1"])
                .as_str(),
            "https://huggingface.co/api/models/owner/name/revision/v1"
        );
    }

    #[test]
    fn sizes_and_checksums_are_read_where_they_are_told() {
        let told = r#"{"sha":"c0","siblings":[{"rfilename":"config.json","size":3,"blobId":"x"},
            {"rfilename":"m.gguf","size":9,"lfs":{"sha256":"aa","size":9,"pointerSize":1}},{"rfilename":"plain"}]}"#;
        let listing = listing(serde_json::from_str(told).unwrap());
        assert_eq!(listing.version.as_deref(), Some("c0"));
        assert_eq!(listing.files[0].size, Some(3));
        assert_eq!(listing.files[0].sha256, None);
        assert_eq!(listing.files[1].sha256.as_deref(), Some("aa"));
        assert_eq!(listing.files[2].size, None);
    }

    #[test]
    fn an_endpoint_that_is_no_address_is_named() {
        let environment = Environment::new(|_| Some("mirror".into()));
        let message = Hub::new("a/b".into(), None, &environment).unwrap_err();
        assert!(message.to_string().contains("HF_ENDPOINT is mirror"));
    }
}
