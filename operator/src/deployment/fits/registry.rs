//! Learns of a model that is an artifact in a container registry, as far as the registry tells everybody.
use super::{
    facts::Facts,
    learn::{File, LONGEST_LISTING, encoded, json, of_files},
    web::{Pass, Web, wants_credentials},
};
use candlepower_api::oci::{Artifact, MANIFESTS, file_name, parameter};
use serde_json::Value;

/// An answer with a token has a few KiB.
const LONGEST_TOKEN: usize = 64 << 10;

/// Asks for what stands behind `oci://`, and of its files for the one that is `wanted`.
pub(super) async fn of_artifact(
    mut web: Web,
    artifact: &str,
    wanted: Option<&str>,
) -> Result<Facts, String> {
    let Artifact {
        host,
        repository,
        reference,
    } = Artifact::parse(artifact).ok_or("its source is no address that can be asked")?;
    // As the server asks.
    let scheme = if web.allow_plain { "http" } else { "https" };
    let base = format!("{scheme}://{host}/v2/{repository}");
    let url = format!("{base}/manifests/{reference}");
    if let Some(challenge) = web.challenge(&url, MANIFESTS).await? {
        web.pass = Some(pass(&web, host, &challenge).await?);
    }
    let manifest = web.whole_as(&url, Some(MANIFESTS), LONGEST_LISTING).await?;
    let manifest = json(&manifest)?;
    of_files(&web, &files(&manifest, &base), wanted).await
}

/// What the registry gives to everybody, where its `challenge` says.
async fn pass(web: &Web, host: &str, challenge: &str) -> Result<Pass, String> {
    let url = token_url(challenge).ok_or_else(|| wants_credentials(host))?;
    let answer = json(&web.whole(&url, LONGEST_TOKEN).await?)?;
    let mut names = ["token", "access_token"].into_iter();
    let token = names.find_map(|name| answer.get(name)?.as_str());
    Ok(Pass {
        host: host.to_owned(),
        token: token.ok_or_else(|| wants_credentials(host))?.to_owned(),
    })
}

/// Where the `challenge` says that tokens are given out.
fn token_url(challenge: &str) -> Option<String> {
    let (kind, _) = challenge.split_once(' ')?;
    if !kind.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let realm = parameter(challenge, "realm")?;
    let query: Vec<_> = ["service", "scope"]
        .into_iter()
        .filter_map(|name| {
            let value = parameter(challenge, name)?;
            Some(format!("{name}={}", encoded(value, true)))
        })
        .collect();
    let sign = if realm.contains('?') { '&' } else { '?' };
    Some(format!("{realm}{sign}{}", query.join("&")))
}

/// The layers of a manifest that are files, which are below `base`.
fn files<'a>(manifest: &'a Value, base: &str) -> Vec<File<'a>> {
    let file = |layer: &'a Value| {
        let text = |name: &str| layer.get(name).and_then(Value::as_str);
        let annotations = layer.get("annotations");
        let annotation = |name: &str| annotations?.get(name)?.as_str();
        Some(File {
            name: file_name(text("mediaType").unwrap_or_default(), annotation)?,
            url: format!("{base}/blobs/{}", text("digest")?),
            size: layer.get("size").and_then(Value::as_u64),
        })
    };
    let layers = manifest.get("layers").and_then(Value::as_array);
    layers.into_iter().flatten().filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn layers_are_files_by_their_titles_or_kinds() {
        let manifest = json!({"layers": [
            {"mediaType": "application/octet-stream", "digest": "sha256:aa", "size": 3,
             "annotations": {"org.opencontainers.image.title": "config.json"}},
            {"mediaType": "application/vnd.docker.ai.gguf.v3", "digest": "sha256:bb", "size": 4},
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:cc", "size": 5},
            {"mediaType": "application/vnd.docker.ai.gguf.v3"}, {},
        ]});
        let file = |name, digest: &str, size| File {
            name,
            url: format!("https://r/v2/a/blobs/sha256:{digest}"),
            size: Some(size),
        };
        let expected = [file("config.json", "aa", 3), file("model.gguf", "bb", 4)];
        assert_eq!(files(&manifest, "https://r/v2/a"), expected);
        assert!(files(&json!([]), "https://r/v2/a").is_empty());
    }

    #[test]
    fn a_token_for_everybody_is_asked_for_where_the_registry_says() {
        let challenge =
            r#"Bearer realm="https://auth/token",service="r",scope="repository:a/b:pull""#;
        let url = token_url(challenge).unwrap();
        assert_eq!(
            url,
            "https://auth/token?service=r&scope=repository%3Aa/b%3Apull"
        );
        let url = token_url(r#"bearer realm="https://auth/token?a=b",service="r""#).unwrap();
        assert_eq!(url, "https://auth/token?a=b&service=r");
        for other in [
            r#"Basic realm="https://auth/token""#,
            "Bearer",
            r#"Bearer service="r""#,
        ] {
            assert_eq!(token_url(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn what_is_no_artifact_asks_nobody() {
        for text in ["r", "me@r/a:1"] {
            let message = of_artifact(Web::default(), text, None).await.unwrap_err();
            assert!(message.contains("no address"), "{message}");
        }
    }
}
