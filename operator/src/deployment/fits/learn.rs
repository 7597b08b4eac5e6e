//! Learns of a model what its memory depends on, from its source: of a hub's repository, a registry's artifact or a web
//! server's file the lengths, and the beginnings of the files.
use super::{
    facts::{Facts, Shape, most_tensors},
    gguf, registry,
    web::Web,
};
use candlepower_api::{
    deployment::LLMDeploymentSpec,
    names::fetching,
    weights::{NoChoice, Weights, choose, extension},
};
use serde_json::Value;
use std::fmt::Write;

/// Where the hub is.
const HUB: &str = "https://huggingface.co";
/// Where a repository's files are, unless told otherwise.
const MAIN: &str = "main";
/// The server's variable that allows it to fetch without encryption.
const ALLOW_PLAIN: &str = "CANDLEPOWER_ALLOW_PLAIN_HTTP";
/// Of a file, the header's part with the dimensions is within this.
const BEGINNING: usize = 256 << 10;
/// Longer lists of files are not read.
pub(super) const LONGEST_LISTING: usize = 4 << 20;
/// What describes safetensors.
const CONFIG: &str = "config.json";
/// It has a few KiB.
const LONGEST_CONFIG: usize = 1 << 20;

/// What to ask, and whom.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    source: String,
    revision: Option<String>,
    file: Option<String>,
    /// Base address of the hub.
    hub: String,
    allow_plain: bool,
}

impl Question {
    /// About the model of `spec`, or why it cannot be asked.
    pub(super) fn of(spec: &LLMDeploymentSpec) -> Result<Self, String> {
        let model = &spec.model;
        let scheme = model.source.split("://").next().unwrap_or_default();
        if !matches!(scheme, "hf" | "https" | "oci") {
            return Err(format!(
                "the operator cannot read {scheme}:// sources; the server checks it before it loads the weights"
            ));
        }
        if !spec.resources.claims.is_empty() {
            return Err(
                "the operator does not know how much memory the claimed devices have; the server checks it before it loads the weights"
                    .to_owned(),
            );
        }
        let variable = |name: &str| spec.pod.env.iter().rev().find(|each| each.name == name);
        let hub = match variable(fetching::HF_ENDPOINT) {
            Some(mirror) => mirror
                .value
                .clone()
                .ok_or("the address of the hub's mirror is not in the resource itself")?,
            None => HUB.to_owned(),
        };
        let plain = variable(ALLOW_PLAIN).and_then(|each| each.value.as_deref());
        Ok(Self {
            source: model.source.clone(),
            revision: model.revision.clone(),
            file: model.file.clone(),
            hub: hub.trim_end_matches('/').to_owned(),
            allow_plain: plain == Some("true"),
        })
    }

    /// What several resources have in common that ask the same.
    pub(super) fn key(&self) -> String {
        format!("{self:?}")
    }

    /// Asks.
    pub(super) async fn ask(&self) -> Result<Facts, String> {
        let web = Web {
            allow_plain: self.allow_plain,
            pass: None,
        };
        match self.source.split_once("://") {
            Some(("hf", repository)) => self.of_hub(&web, repository).await,
            Some(("oci", artifact)) => {
                registry::of_artifact(web, artifact, self.file.as_deref()).await
            }
            _ => of_file(&web, &self.source).await,
        }
    }

    async fn of_hub(&self, web: &Web, repository: &str) -> Result<Facts, String> {
        let repository = encoded(repository.trim_end_matches('/'), true);
        let hub = &self.hub;
        let revision = encoded(self.revision.as_deref().unwrap_or(MAIN), false);
        let url = format!("{hub}/api/models/{repository}/revision/{revision}?blobs=true");
        let listing = json(&web.whole(&url, LONGEST_LISTING).await?)?;
        // The commit keeps all files of one kind together.
        let commit = listing.get("sha").and_then(Value::as_str);
        let commit = commit.map_or(revision, |commit| encoded(commit, false));
        let files = listed(&listing, &format!("{hub}/{repository}/resolve/{commit}"));
        of_files(web, &files, self.file.as_deref()).await
    }
}

/// A file of a source.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct File<'a> {
    pub(super) name: &'a str,
    pub(super) url: String,
    /// Its bytes, where the source tells.
    pub(super) size: Option<u64>,
}

/// The files of a hub's list, which are below `folder`.
fn listed<'a>(listing: &'a Value, folder: &str) -> Vec<File<'a>> {
    let file = |file: &'a Value| {
        let name = file.get("rfilename")?.as_str()?;
        let large = file.pointer("/lfs/size").and_then(Value::as_u64);
        Some(File {
            name,
            url: format!("{folder}/{}", encoded(name, true)),
            size: large.or_else(|| file.get("size").and_then(Value::as_u64)),
        })
    };
    let files = listing.get("siblings").and_then(Value::as_array);
    files.into_iter().flatten().filter_map(file).collect()
}

/// What the weights among the `files` of a source say.
pub(super) async fn of_files(
    web: &Web,
    files: &[File<'_>],
    wanted: Option<&str>,
) -> Result<Facts, String> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let find = |name: &str| files.iter().find(|file| file.name == name);
    match choose(&names, wanted).map_err(|none| no_choice(&none))? {
        Weights::Gguf(name) => {
            let file = find(name).ok_or_else(no_weights)?;
            of_gguf(web, &file.url, file.size).await
        }
        Weights::SafeTensors(names) => {
            let config = find(CONFIG).ok_or("its source has no config.json")?;
            let first = names.first().and_then(|name| find(name));
            let first = first.ok_or_else(no_weights)?;
            let bytes = names.iter().try_fold(0_u64, |sum, name| {
                Some(sum.saturating_add(find(name)?.size?))
            });
            of_safetensors(web, &config.url, &first.url, bytes).await
        }
    }
}

/// A file at an address of its own.
async fn of_file(web: &Web, url: &str) -> Result<Facts, String> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    if extension(path) != "safetensors" {
        return of_gguf(web, url, None).await;
    }
    let (folder, _) = path.rsplit_once('/').unwrap_or_default();
    of_safetensors(web, &format!("{folder}/{CONFIG}"), url, None).await
}

async fn of_gguf(web: &Web, url: &str, size: Option<u64>) -> Result<Facts, String> {
    let beginning = web.beginning(url, BEGINNING).await?;
    let size = size.or(beginning.total).ok_or_else(unknown_size)?;
    let header = gguf::read(&beginning.bytes)?;
    Ok(Facts {
        shape: header.shape,
        stored: header.stored,
        bytes: size.saturating_sub(header.overhead),
    })
}

/// `bytes` are those of all files, where they are known.
async fn of_safetensors(
    web: &Web,
    config: &str,
    first: &str,
    bytes: Option<u64>,
) -> Result<Facts, String> {
    let config = json(&web.whole(config, LONGEST_CONFIG).await?)?;
    let shape = Shape::from_config(&config)?;
    let beginning = web.beginning(first, BEGINNING).await?;
    let stored = most_tensors(&beginning.bytes)?;
    let size = bytes.or(beginning.total).ok_or_else(unknown_size)?;
    let header = beginning.bytes.first_chunk().copied();
    let header = header.map_or(0, u64::from_le_bytes);
    Ok(Facts {
        shape,
        stored,
        bytes: size.saturating_sub(header),
    })
}

fn unknown_size() -> String {
    "its source does not say how large it is".to_owned()
}

fn no_weights() -> String {
    "its source has no such weights".to_owned()
}

fn no_choice(none: &NoChoice<'_>) -> String {
    match none {
        NoChoice::Nothing { .. } => no_weights(),
        NoChoice::Several(names) => format!("its source holds {} models", names.len()),
    }
}

pub(super) fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|_| "its source answers what is no JSON".to_owned())
}

/// Text as a part of an address, or with its `/` as several.
pub(super) fn encoded(text: &str, keeps_slashes: bool) -> String {
    text.bytes().fold(String::new(), |mut address, byte| {
        if byte.is_ascii_alphanumeric()
            || b"-_.~".contains(&byte)
            || (byte == b'/' && keeps_slashes)
        {
            address.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(address, "%{byte:02X}");
        }
        address
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::json;

    fn question(spec: Value) -> Result<Question, String> {
        Question::of(&testing::resource(spec).spec)
    }

    fn with_env(env: &Value) -> Result<Question, String> {
        question(json!({"model": {"source": "hf://a/b"}, "pod": {"env": env}}))
    }

    #[test]
    fn what_the_operator_cannot_read_or_know_is_left_to_the_server() {
        for (spec, words) in [
            (json!({}), "pvc://"),
            (json!({"model": {"source": "s3://a/b"}}), "s3://"),
            (
                json!({"model": {"source": "hf://a/b"}, "resources": {"claims": [
                    {"name": "gpu", "resourceClaimTemplateName": "one-gpu"},
                ]}}),
                "claimed devices",
            ),
        ] {
            let message = question(spec).unwrap_err();
            assert!(message.contains(words), "{message}");
            assert!(message.contains("the server checks it"), "{message}");
        }
    }

    #[test]
    fn the_hub_is_where_the_server_looks_for_it() {
        assert_eq!(with_env(&json!([])).unwrap().hub, HUB);
        let mirror = with_env(&json!([
            {"name": "HF_ENDPOINT", "value": "http://mirror/"},
            {"name": "CANDLEPOWER_ALLOW_PLAIN_HTTP", "value": "true"},
        ]))
        .unwrap();
        assert_eq!(
            (mirror.hub.as_str(), mirror.allow_plain),
            ("http://mirror", true)
        );
        let hidden = json!([{"name": "HF_ENDPOINT", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]);
        let message = with_env(&hidden).unwrap_err();
        assert!(message.contains("mirror"), "{message}");
    }

    #[test]
    fn resources_of_the_same_model_ask_once() {
        let key = |spec| question(spec).unwrap().key();
        let plain = json!({"model": {"source": "hf://a/b"}, "replicas": 1});
        let larger = json!({"model": {"source": "hf://a/b"}, "resources": {"memory": "9Gi"}});
        let other = json!({"model": {"source": "hf://a/b", "revision": "v1"}});
        assert_eq!(key(plain.clone()), key(larger));
        assert_ne!(key(plain), key(other));
    }

    #[test]
    fn a_hub_says_the_sizes_of_large_files_and_of_small_ones() {
        let listing = json!({"siblings": [
            {"rfilename": "config.json", "size": 3},
            {"rfilename": "m.gguf", "size": 1, "lfs": {"size": 9}},
            {"rfilename": "unknown"}, {"other": 1},
        ]});
        let file = |name: &'static str, size| File {
            name,
            url: format!("https://hub/a/{name}"),
            size,
        };
        assert_eq!(
            listed(&listing, "https://hub/a"),
            [
                file("config.json", Some(3)),
                file("m.gguf", Some(9)),
                file("unknown", None),
            ]
        );
        assert!(listed(&json!([]), "https://hub/a").is_empty());
    }

    #[test]
    fn names_are_written_as_parts_of_an_address() {
        assert_eq!(encoded("q4/a b?.gguf", true), "q4/a%20b%3F.gguf");
        assert_eq!(encoded("refs/pr/1", false), "refs%2Fpr%2F1");
        assert_eq!(encoded("ü", true), "%C3%BC");
    }
}
