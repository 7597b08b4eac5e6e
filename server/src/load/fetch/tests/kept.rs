//! What the folder keeps, where the wanted checksum is another.
use super::{site::sha256, *};
use axum::http::header;

#[tokio::test]
async fn what_is_kept_with_another_checksum_is_only_fetched_again_once_the_source_has_changed() {
    let cache = tempfile::tempdir().unwrap();
    let newer = || weights().into_iter().rev().collect::<Vec<_>>();
    let site = Site::new(move |ask| match ask.before {
        0..2 => file(&weights(), ask),
        _ => file(&newer(), ask),
    })
    .await;
    let wanted = sha256(&newer());
    let replica = Replica::new(cache.path(), &site.url("a.gguf"))
        .changed(|config| config.model.sha256 = Some(wanted.clone()));
    let first = replica.locate().await.unwrap();
    assert_eq!(first.sha256, Some(sha256(&weights())), "loading refuses it");
    let second = replica.locate().await.unwrap();
    assert!(fs::read(second.path).unwrap() == weights());
    assert!(site.asked()[1].header(header::IF_NONE_MATCH).is_some());
    let third = replica.locate().await.unwrap();
    assert_eq!(third.sha256, Some(wanted));
    assert!(fs::read(third.path).unwrap() == newer());
    let count = site.count();
    replica.locate().await.unwrap();
    assert_eq!(site.count(), count);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_says_what_to_do() {
    let cache = tempfile::NamedTempFile::new().unwrap();
    let site = Site::new(|ask| file(&weights(), ask)).await;
    let error = Replica::new(cache.path(), &site.url("a.gguf"))
        .refused()
        .await;
    assert_eq!(error.reason(), LoadFailure::InvalidConfiguration);
    assert!(error.to_string().contains("--cache"), "{error}");
}

#[tokio::test]
async fn fields_that_the_source_has_no_use_for_are_refused() {
    let cache = tempfile::tempdir().unwrap();
    let change: [fn(&mut ServerConfig); 2] = [
        |config| config.model.revision = Some("v1".into()),
        |config| config.model.file = Some("*.gguf".into()),
    ];
    for change in change {
        let replica = Replica::new(cache.path(), "https://host/a.gguf").changed(change);
        let error = replica.refused().await;
        assert_eq!(error.reason(), LoadFailure::InvalidConfiguration, "{error}");
    }
}
