//! Repositories of the hub.
use super::{
    site::{cut, redirect, sha256, stall, status},
    *,
};
use axum::{body::Body, http::Response, http::header};
use serde_json::json;

const API: &str = "/api/models/owner/name/revision/";
const FILES: [&str; 5] = [
    "config.json",
    "tokenizer.json",
    "model.safetensors.index.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

/// What the file of this name holds.
fn content(name: &str) -> Vec<u8> {
    let mut content = weights();
    content.extend(name.bytes());
    content
}

/// The hub's answer to the question what there is.
fn listed(names: &[&str], damaged: bool) -> Response<Body> {
    let siblings: Vec<_> = names
        .iter()
        .map(|name| {
            let content = content(name);
            let sha256 = if damaged {
                "0".repeat(64)
            } else {
                sha256(&content)
            };
            let is_large = name.ends_with("safetensors") || name.ends_with("gguf");
            let lfs = is_large.then(|| json!({"sha256": sha256, "size": content.len()}));
            json!({"rfilename": name, "size": content.len(), "lfs": lfs})
        })
        .collect();
    let told = json!({"sha": "c0ffee", "siblings": siblings});
    Response::new(Body::from(told.to_string()))
}

/// A hub with these files, which answers for each as told.
async fn hub(
    names: &'static [&str],
    answer: impl Fn(&str, &Ask) -> Response<Body> + Clone + Send + Sync + 'static,
) -> Site {
    Site::new(move |ask| {
        if ask.path.starts_with(API) {
            return listed(names, false);
        }
        let name = ask.path.strip_prefix("/owner/name/resolve/c0ffee/");
        match name.filter(|name| names.contains(name)) {
            Some(name) => answer(name, ask),
            None => status(404),
        }
    })
    .await
}

fn honest(name: &str, ask: &Ask) -> Response<Body> {
    file(&content(name), ask)
}

#[tokio::test]
async fn a_repository_of_shards_comes_whole_at_the_commit_of_its_revision() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&FILES, honest).await;
    let replica =
        Replica::of_hub(cache.path(), &hub).changed(|c| c.model.revision = Some("v1".into()));
    let located = replica.locate().await.unwrap();
    assert_eq!(located.version.as_deref(), Some("c0ffee"));
    for name in FILES {
        assert!(fs::read(located.path.join(name)).unwrap() == content(name));
    }
    assert_eq!(hub.asked()[0].path, format!("{API}v1"));
    assert_eq!(hub.asked()[0].query, "blobs=true");
    let count = hub.count();
    replica.locate().await.unwrap();
    assert_eq!(hub.count(), count, "a restart asks nobody");
}

#[tokio::test]
async fn the_hubs_token_is_shown_to_the_hub_and_not_to_its_store() {
    let cache = tempfile::tempdir().unwrap();
    let store = Site::new(|ask| file(&content("a.gguf"), ask)).await;
    let target = store.url("a.gguf?signature=x");
    let hub = hub(&["a.gguf"], move |_, _| redirect(&target)).await;
    let replica = Replica::of_hub(cache.path(), &hub).with("HF_TOKEN", "secret");
    assert!(replica.fetched().await == content("a.gguf"));
    for ask in hub.asked() {
        assert_eq!(ask.header(header::AUTHORIZATION), Some("Bearer secret"));
    }
    assert_eq!(store.asked()[0].header(header::AUTHORIZATION), None);
}

#[tokio::test]
async fn a_gated_repository_says_where_to_ask_for_access() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Site::new(|_| {
        let answer = Response::builder().status(403);
        let answer = answer.header("X-Error-Message", "Access to this model is restricted");
        answer.body(Body::empty()).unwrap()
    })
    .await;
    let error = Replica::of_hub(cache.path(), &hub).refused().await;
    assert_eq!(error.reason(), LoadFailure::ModelAccessDenied);
    let message = error.to_string();
    assert!(
        message.contains("restricted") && message.contains("https://huggingface.co/owner/name"),
        "{message}"
    );
}

#[tokio::test]
async fn a_damaged_file_is_fetched_once_more() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&["a.gguf"], |name, ask| match ask.before {
        0 => file(&vec![0; content(name).len()], ask),
        _ => honest(name, ask),
    })
    .await;
    let replica = Replica::of_hub(cache.path(), &hub);
    assert!(replica.fetched().await == content("a.gguf"));
}

#[tokio::test]
async fn a_file_that_is_damaged_at_its_source_is_a_checksum_mismatch() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Site::new(|ask| {
        if ask.path.starts_with(API) {
            return listed(&["a.gguf"], true);
        }
        honest("a.gguf", ask)
    })
    .await;
    let error = Replica::of_hub(cache.path(), &hub).refused().await;
    assert_eq!(error.reason(), LoadFailure::ChecksumMismatch, "{error}");
}

#[tokio::test]
async fn another_checksum_than_the_hubs_is_told_before_anything_is_fetched() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&["a.gguf"], honest).await;
    let replica = Replica::of_hub(cache.path(), &hub)
        .changed(|config| config.model.sha256 = Some("1".repeat(64)));
    let error = replica.refused().await;
    assert_eq!(error.reason(), LoadFailure::ChecksumMismatch);
    assert_eq!(hub.count(), 1);
}

#[tokio::test]
async fn a_length_other_than_the_hubs_is_not_believed() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&["a.gguf"], |name, ask| match ask.before {
        0..4 => file(b"<html>log in first</html>", ask),
        _ => honest(name, ask),
    })
    .await;
    let replica = Replica::of_hub(cache.path(), &hub);
    assert!(replica.fetched().await == content("a.gguf"));
    assert!(replica.problems().contains(&LoadFailure::Unreachable));
}

#[tokio::test]
async fn a_model_that_does_not_fit_is_refused_before_it_is_fetched() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Site::new(|_| {
        let told = json!({"siblings": [{"rfilename": "a.gguf", "size": 1_u64 << 60}]});
        Response::new(Body::from(told.to_string()))
    })
    .await;
    let error = Replica::of_hub(cache.path(), &hub).refused().await;
    assert_eq!(error.reason(), LoadFailure::InsufficientDisk);
    assert!(error.to_string().contains("spec.cache.size"), "{error}");
    assert_eq!(hub.count(), 1);
}

#[tokio::test]
async fn shards_that_an_earlier_process_fetched_are_not_fetched_again() {
    const LAST: &str = FILES[4];
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&FILES, |name, ask| match (name, ask.before) {
        (LAST, 0) => stall(&content(name), ask, 10_000),
        (LAST, 1) => cut(&content(name), ask, 10_000),
        _ => honest(name, ask),
    })
    .await;
    let replica = Replica::of_hub(cache.path(), &hub);
    let others = || {
        let folder = fs::read_dir(cache.path()).unwrap().next();
        folder.is_some_and(|folder| {
            let files = folder.unwrap().path().join("files");
            FILES[..4].iter().all(|name| files.join(name).is_file())
        })
    };
    let stopped = async {
        while !others() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = replica.locate() => panic!("it stalls"),
        () = stopped => {}
    }
    let located = Replica::of_hub(cache.path(), &hub).locate().await.unwrap();
    assert!(fs::read(located.path.join(LAST)).unwrap() == content(LAST));
    let fetched = |name: &str| {
        let asked = hub.asked();
        let whole =
            |ask: &&Ask| ask.path.ends_with(name) && ask.header(header::IF_NONE_MATCH).is_none();
        asked.iter().filter(whole).count()
    };
    assert_eq!(fetched(FILES[3]), 1);
    assert_eq!(fetched(FILES[0]), 1);
}

#[tokio::test]
async fn of_several_models_the_file_that_the_pattern_fits_is_fetched() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&["m.Q4_K_M.gguf", "m.Q8_0.gguf"], honest).await;
    let replica =
        Replica::of_hub(cache.path(), &hub).changed(|c| c.model.file = Some("*Q8_0*".into()));
    assert!(replica.fetched().await == content("m.Q8_0.gguf"));
    assert_eq!(hub.count(), 2);
}

#[tokio::test]
async fn a_tokenizer_may_be_fetched_for_a_model_on_a_volume() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&FILES, honest).await;
    let replica = Replica::of_hub(cache.path(), &hub).changed(|config| {
        config.model.source = None;
        config.model.path = "/models/a.gguf".into();
        config.model.tokenizer = Some("hf://owner/name".into());
    });
    let located = replica.locate().await.unwrap();
    assert_eq!(located.path, Path::new("/models/a.gguf"));
    let tokenizer = fs::read(located.tokenizer.unwrap()).unwrap();
    assert!(tokenizer == content("tokenizer.json"));
    assert_eq!(hub.count(), 2);
}
