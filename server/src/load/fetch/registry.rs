//! Artifacts in a container registry: their layers are the model's files.
use super::{
    environment::{Environment, bearer},
    error::{Failure, FetchError},
    http::{Http, Wanted, check},
    listing::{Listing, RemoteFile},
};
use candlepower_api::oci::{MANIFESTS, file_name, parameter};
use hyper::{
    Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use std::{cell::RefCell, collections::HashMap};
use url::Url;

/// An artifact.
#[derive(Debug)]
pub(super) struct Registry {
    /// Up to the repository.
    base: Url,
    reference: String,
    /// Name and password, for the server that gives out tokens.
    basic: Option<HeaderValue>,
    /// What was given out.
    token: RefCell<Option<HeaderValue>>,
    cure: String,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    pub(super) fn new(
        host: &str,
        repository: &str,
        reference: String,
        allow_plain_http: bool,
        environment: &Environment,
    ) -> Result<Self, FetchError> {
        let scheme = if allow_plain_http { "http" } else { "https" };
        let base = format!("{scheme}://{host}/v2/{repository}/");
        let base = Url::parse(&base)
            .map_err(|error| FetchError::Invalid(format!("{base} is no address ({error})")))?;
        Ok(Self {
            base,
            reference,
            basic: environment.basic(),
            token: RefCell::new(None),
            cure: environment.cure("its keys username and password"),
        })
    }

    /// The artifact's layers.
    pub(super) async fn list(&self, http: &Http) -> Result<Listing, Failure> {
        let url = self.address("manifests", &self.reference)?;
        let wanted =
            Wanted::new(url.clone(), None).with(ACCEPT, HeaderValue::from_static(MANIFESTS));
        let answer = check(self.get(http, &wanted).await?, &url, || self.cure())?;
        let text = http.text(answer).await?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| {
            Failure::passing(format!("{url} does not answer as a registry does: {error}"))
        })?;
        let version = manifest
            .layers
            .iter()
            .map(|layer| layer.digest.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        let files = manifest.layers.iter().filter_map(|layer| self.file(layer));
        Ok(Listing {
            files: files.collect(),
            version: Some(version),
        })
    }

    /// Asks, and where the registry wants a token first, gets one.
    pub(super) async fn get(
        &self,
        http: &Http,
        wanted: &Wanted,
    ) -> Result<Response<Incoming>, Failure> {
        let mut wanted = wanted.clone();
        wanted.authorization.clone_from(&self.token.borrow());
        let answer = http.get(&wanted).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(challenge) = answer
            .headers()
            .get(WWW_AUTHENTICATE)
            .and_then(|challenge| challenge.to_str().ok())
        else {
            return Ok(answer);
        };
        let token = if challenge.to_ascii_lowercase().starts_with("bearer ") {
            self.token(http, challenge).await?
        } else {
            self.basic.clone()
        };
        if token.is_none() {
            return Ok(answer);
        }
        wanted.authorization.clone_from(&token);
        *self.token.borrow_mut() = token;
        http.get(&wanted).await
    }

    pub(super) fn url(&self, file: &RemoteFile) -> Url {
        file.url.clone().unwrap_or_else(|| self.base.clone())
    }

    pub(super) fn cure(&self) -> String {
        self.cure.clone()
    }

    /// A token from the server that the challenge names.
    async fn token(&self, http: &Http, challenge: &str) -> Result<Option<HeaderValue>, Failure> {
        let Some(mut url) = parameter(challenge, "realm").and_then(|realm| Url::parse(realm).ok())
        else {
            return Ok(None);
        };
        for name in ["service", "scope"] {
            if let Some(value) = parameter(challenge, name) {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let wanted = Wanted::new(url.clone(), self.basic.clone());
        let answer = check(http.get(&wanted).await?, &url, || self.cure())?;
        let text = http.text(answer).await?;
        let token: Token = serde_json::from_str(&text)
            .map_err(|error| Failure::passing(format!("{url} gives no token: {error}")))?;
        let token = token.token.or(token.access_token);
        Ok(token.and_then(|token| bearer(&token)))
    }

    fn address(&self, kind: &str, reference: &str) -> Result<Url, Failure> {
        self.base
            .join(&format!("{kind}/{reference}"))
            .map_err(|error| {
                FetchError::Invalid(format!("{reference} is no tag or digest ({error})")).into()
            })
    }

    /// A layer that is a file by itself.
    fn file(&self, layer: &Layer) -> Option<RemoteFile> {
        let annotation = |name: &str| layer.annotations.get(name).map(String::as_str);
        let name = file_name(&layer.media_type, annotation)?.to_owned();
        Some(RemoteFile {
            size: Some(layer.size),
            sha256: layer.digest.strip_prefix("sha256:").map(str::to_owned),
            url: Some(self.address("blobs", &layer.digest).ok()?),
            ..RemoteFile::named(name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_files_by_their_titles() {
        let environment = Environment::new(|_| None);
        let registry = Registry::new("r:5000", "a/b", "1".into(), false, &environment).unwrap();
        let manifest = r#"{"layers":[
            {"mediaType":"application/octet-stream","digest":"sha256:aa","size":3,"annotations":{"org.opencontainers.image.title":"m.gguf"}},
            {"mediaType":"application/vnd.docker.ai.gguf.v3","digest":"sha256:bb","size":4},
            {"mediaType":"application/vnd.cncf.model.weight.v1.raw","digest":"sha256:dd","size":6,"annotations":{"org.cncf.model.filepath":"w.gguf"}},
            {"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:cc","size":5}]}"#;
        let manifest: Manifest = serde_json::from_str(manifest).unwrap();
        let files: Vec<_> = manifest
            .layers
            .iter()
            .filter_map(|layer| registry.file(layer))
            .collect();
        assert_eq!(files.len(), 3);
        assert_eq!(files[2].name, "w.gguf");
        assert_eq!(
            (files[0].name.as_str(), files[0].sha256.as_deref()),
            ("m.gguf", Some("aa"))
        );
        assert_eq!(
            files[1].url.as_ref().unwrap().as_str(),
            "https://r:5000/v2/a/b/blobs/sha256:bb"
        );
    }
}
