//! Fetching from servers that break off, lie, refuse and lead elsewhere.
mod failing;
mod full;
mod hub;
mod kept;
mod others;
mod ranges;
mod site;

use self::site::{Ask, Site, file};
use super::*;
use candlepower_api::{names::reasons::LoadFailure, server_config::LoadReport};
use std::{fs, sync::Mutex, time::Duration};

/// So long that it breaks off in the middle.
fn weights() -> Vec<u8> {
    (0..=250).cycle().take(200_000).collect()
}

const IMPATIENT: Patience = Patience {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(5),
    silence: Duration::from_millis(300),
    told_after: 3,
};

/// A replica with a folder, perhaps not the only one.
struct Replica {
    config: ServerConfig,
    variables: Vec<(&'static str, String)>,
    /// Bytes of a piece, where they are not as usual.
    piece: Option<u64>,
    told: Mutex<Vec<LoadReport>>,
}

impl Replica {
    fn new(cache: &Path, source: &str) -> Self {
        let mut config = ServerConfig::for_model("");
        config.model.source = Some(source.to_owned());
        config.fetch.cache = cache.to_owned();
        config.fetch.allow_plain_http = true;
        Self {
            config,
            variables: Vec::new(),
            piece: None,
            told: Mutex::default(),
        }
    }

    /// Of a repository at `hub`.
    fn of_hub(cache: &Path, hub: &Site) -> Self {
        Self::new(cache, "hf://owner/name").with("HF_ENDPOINT", &hub.url(""))
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn changed(mut self, change: impl FnOnce(&mut ServerConfig)) -> Self {
        change(&mut self.config);
        self
    }

    async fn locate(&self) -> Result<Located, FetchError> {
        let variables = self.variables.clone();
        let environment = Environment::new(move |wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| value.clone())
        });
        let progress = |report| self.told.lock().unwrap().push(report);
        let mut fetcher = Fetcher::new(&self.config, environment, IMPATIENT, &progress);
        if let Some(piece) = self.piece {
            fetcher.lines.piece = piece;
        }
        let tokenizer = self.config.model.tokenizer.as_deref();
        fetcher
            .locate(&self.config, tokenizer.and_then(as_source))
            .await
    }

    /// What the file that was fetched holds.
    async fn fetched(&self) -> Vec<u8> {
        let located = self.locate().await.unwrap();
        fs::read(located.path).unwrap()
    }

    async fn refused(&self) -> FetchError {
        self.locate().await.unwrap_err()
    }

    fn problems(&self) -> Vec<LoadFailure> {
        let told = self.told.lock().unwrap();
        let problems = told.iter().filter_map(|report| report.problem.as_ref());
        problems.map(|problem| problem.reason).collect()
    }
}

#[tokio::test]
async fn a_file_is_fetched_once_and_its_progress_is_told() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| file(&weights(), ask)).await;
    let replica = Replica::new(cache.path(), &site.url("m/a.Q4_1.gguf"));
    assert!(replica.fetched().await == weights());
    let last = replica.told.lock().unwrap().last().unwrap().clone();
    assert_eq!(last.percent, 100);
    assert!(
        replica
            .locate()
            .await
            .unwrap()
            .path
            .ends_with("a.Q4_1.gguf")
    );
    assert_eq!(site.count(), 1, "a restart fetches nothing");
}

#[tokio::test]
async fn without_leave_nothing_travels_in_the_clear() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| file(&weights(), ask)).await;
    let replica = Replica::new(cache.path(), &site.url("a.gguf"))
        .changed(|config| config.fetch.allow_plain_http = false);
    let message = replica.refused().await.to_string();
    assert!(message.contains("--allow-plain-http"), "{message}");
    assert_eq!(site.count(), 0);
}

#[tokio::test]
async fn two_replicas_on_one_folder_fetch_once() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| site::slowly(&weights(), ask)).await;
    let one = Replica::new(cache.path(), &site.url("a.gguf"));
    let other = Replica::new(cache.path(), &site.url("a.gguf"));
    let (first, second) = tokio::join!(one.fetched(), other.fetched());
    assert!(first == second && first == weights());
    assert_eq!(site.count(), 1);
}

#[tokio::test]
async fn safetensors_on_a_web_server_come_with_what_describes_them() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| match ask.path.as_str() {
        "/m/model.safetensors" | "/m/config.json" | "/m/tokenizer.json" => {
            file(ask.path.as_bytes(), ask)
        }
        _ => site::status(404),
    })
    .await;
    let replica = Replica::new(cache.path(), &site.url("m/model.safetensors"));
    let path = replica.locate().await.unwrap().path;
    let beside = fs::read(path.with_file_name("tokenizer.json")).unwrap();
    assert_eq!(beside, b"/m/tokenizer.json");
    let count = site.count();
    replica.locate().await.unwrap();
    assert_eq!(
        site.count(),
        count,
        "what is missing is not asked for again"
    );
}
