//! Buckets and registries.
use super::{
    site::{sha256, status},
    *,
};
use axum::{body::Body, http::Response, http::header};
use serde_json::json;

#[tokio::test]
async fn an_object_is_fetched_by_a_signed_address() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| {
        if ask.query.contains("X-Amz-Signature") {
            file(&weights(), ask)
        } else {
            status(403)
        }
    })
    .await;
    let bare =
        Replica::new(cache.path(), "s3://models/q4/a.gguf").with("AWS_ENDPOINT_URL", &site.url(""));
    let error = bare.refused().await;
    assert_eq!(error.reason(), LoadFailure::ModelAccessDenied);
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    let keyed = bare
        .with("CANDLEPOWER_CREDENTIAL_AWS_ACCESS_KEY_ID", "id")
        .with("CANDLEPOWER_CREDENTIAL_AWS_SECRET_ACCESS_KEY", "key");
    assert!(keyed.fetched().await == weights());
    assert_eq!(site.asked()[1].path, "/models/q4/a.gguf");
}

#[tokio::test]
async fn a_folder_of_a_bucket_is_listed_and_fetched_like_a_repository() {
    const LIST: &str = r#"<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
        <Name>models</Name><Prefix>small/</Prefix><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>
        <Contents><Key>small/config.json</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"1"</ETag><Size>25</Size><StorageClass>STANDARD</StorageClass></Contents>
        <Contents><Key>small/tokenizer.json</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"2"</ETag><Size>28</Size><StorageClass>STANDARD</StorageClass></Contents>
        <Contents><Key>small/model.safetensors</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"3"</ETag><Size>31</Size><StorageClass>STANDARD</StorageClass></Contents>
        </ListBucketResult>"#;
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| match ask.path.as_str() {
        "/models/" | "/models" => Response::new(Body::from(LIST)),
        path => file(path.as_bytes(), ask),
    })
    .await;
    let replica =
        Replica::new(cache.path(), "s3://models/small").with("AWS_ENDPOINT_URL", &site.url(""));
    let path = replica.locate().await.unwrap().path;
    assert_eq!(fs::read(&path).unwrap(), b"/models/small/model.safetensors");
    assert!(path.with_file_name("config.json").is_file());
}

#[tokio::test]
async fn an_artifact_is_fetched_with_a_token_that_the_registry_gives_out() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| {
        if ask.path == "/token" {
            return match ask.header(header::AUTHORIZATION) {
                // me:secret
                Some("Basic bWU6c2VjcmV0") => Response::new(Body::from(r#"{"token":"t"}"#)),
                _ => status(401),
            };
        }
        if ask.header(header::AUTHORIZATION) != Some("Bearer t") {
            let host = ask.header(header::HOST).unwrap_or_default();
            let challenge = format!(
                "Bearer realm=\"http://{host}/token\",service=\"r\",scope=\"repository:a/b:pull\""
            );
            let answer = Response::builder().status(401);
            let answer = answer.header(header::WWW_AUTHENTICATE, challenge);
            return answer.body(Body::empty()).unwrap();
        }
        if ask.path == "/v2/a/b/manifests/1" {
            let manifest = json!({"layers": [{
                "mediaType": "application/octet-stream", "size": weights().len(),
                "digest": format!("sha256:{}", sha256(&weights())),
                "annotations": {"org.opencontainers.image.title": "m.gguf"},
            }]});
            return Response::new(Body::from(manifest.to_string()));
        }
        file(&weights(), ask)
    })
    .await;
    let source = site.url("a/b:1").replace("http://", "oci://");
    let bare = Replica::new(cache.path(), &source);
    let error = bare.refused().await;
    assert_eq!(error.reason(), LoadFailure::ModelAccessDenied, "{error}");
    let known = bare
        .with("CANDLEPOWER_CREDENTIAL_username", "me")
        .with("CANDLEPOWER_CREDENTIAL_password", "secret");
    assert!(known.fetched().await == weights());
    let scope = site.asked().into_iter().find(|ask| ask.path == "/token");
    assert!(scope.unwrap().query.contains("scope=repository"));
}
