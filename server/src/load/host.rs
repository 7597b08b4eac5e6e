//! Holds the model while it is absent, loading, served or failed, for everybody who asks.
use super::{
    error::LoadError,
    model::{self, ServedModel},
};
use crate::engine::StepObserver;
use candlepower_api::server_config::{LoadReport, LoadStage, ServerConfig};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};
use tokio::sync::watch;

/// A cheap, cloneable view of the model and its loading.
#[derive(Clone)]
pub struct ModelHost {
    state: watch::Sender<State>,
    source: Option<Arc<Source>>,
}

struct Source {
    config: ServerConfig,
    observer: Arc<dyn StepObserver>,
}

#[derive(Clone)]
enum State {
    Absent,
    Loading(Box<LoadReport>),
    Served(Arc<ServedModel>),
    Failed(Arc<LoadError>),
}

impl ModelHost {
    /// Nothing is loaded until [`ModelHost::start`] or [`ModelHost::wait`].
    pub fn new(config: ServerConfig, observer: Arc<dyn StepObserver>) -> Self {
        Self {
            state: watch::Sender::new(State::Absent),
            source: Some(Arc::new(Source { config, observer })),
        }
    }

    /// Holds a model that is there already.
    pub fn of(model: ServedModel) -> Self {
        Self {
            state: watch::Sender::new(State::Served(Arc::new(model))),
            source: None,
        }
    }

    /// Begins loading on a thread of its own, unless that was done before.
    pub fn start(&self) {
        let Some(source) = self.source.clone() else {
            return;
        };
        let first_stage = match source.config.model.source {
            Some(_) => LoadStage::Downloading,
            None => LoadStage::ReadingWeights,
        };
        let first = self.state.send_if_modified(|state| {
            let absent = matches!(state, State::Absent);
            if absent {
                *state = State::Loading(Box::new(LoadReport::at(first_stage, 0)));
            }
            absent
        });
        if !first {
            return;
        }
        let state = self.state.clone();
        let spawned = thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || {
                let progress = |report| {
                    state.send_replace(State::Loading(Box::new(report)));
                };
                let load = || model::load(&source.config, Arc::clone(&source.observer), &progress);
                // Whoever waits for the model would wait for ever.
                let outcome = catch_unwind(AssertUnwindSafe(load))
                    .unwrap_or_else(|panic| Err(LoadError::panicked(&*panic)));
                state.send_replace(match outcome {
                    Ok(model) => State::Served(Arc::new(model)),
                    Err(error) => State::Failed(Arc::new(error)),
                });
            });
        if let Err(error) = spawned {
            self.state
                .send_replace(State::Failed(Arc::new(LoadError::Thread(error))));
        }
    }

    /// How far loading has come.
    pub fn report(&self) -> LoadReport {
        match &*self.state.borrow() {
            State::Absent => LoadReport::at(LoadStage::Waiting, 0),
            State::Loading(report) => LoadReport::clone(report),
            State::Served(model) => LoadReport {
                model: Some(model.facts.clone()),
                ..LoadReport::at(LoadStage::Loaded, 100)
            },
            State::Failed(_) => LoadReport::at(LoadStage::ReadingWeights, 0),
        }
    }

    /// The model, if it is served now.
    pub fn served(&self) -> Option<Arc<ServedModel>> {
        match &*self.state.borrow() {
            State::Served(model) => Some(Arc::clone(model)),
            _ => None,
        }
    }

    /// The model, once it is served. Begins loading where nobody did.
    pub async fn wait(&self) -> Result<Arc<ServedModel>, Arc<LoadError>> {
        self.start();
        self.outcome().await
    }

    /// What becomes of loading, whoever begins it.
    pub async fn outcome(&self) -> Result<Arc<ServedModel>, Arc<LoadError>> {
        let mut states = self.state.subscribe();
        loop {
            match &*states.borrow_and_update() {
                State::Served(model) => return Ok(Arc::clone(model)),
                State::Failed(error) => return Err(Arc::clone(error)),
                State::Absent | State::Loading(_) => {}
            }
            if states.changed().await.is_err() {
                // The sender lives in `self`; this cannot be reached, and waiting on is harmless.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candlepower_api::names::reasons::LoadFailure;

    fn host(path: &str) -> ModelHost {
        ModelHost::new(ServerConfig::for_model(path), Arc::new(()))
    }

    #[tokio::test]
    async fn a_missing_file_is_reported_to_everybody_who_waits() {
        let host = host("/no/such/model.gguf");
        assert_eq!(host.report().stage, LoadStage::Waiting);
        let (first, second) = tokio::join!(host.wait(), host.outcome());
        assert_eq!(first.unwrap_err().reason(), LoadFailure::ModelNotFound);
        assert!(
            second
                .unwrap_err()
                .to_string()
                .contains("/no/such/model.gguf")
        );
        assert!(host.served().is_none());
    }

    #[tokio::test]
    async fn a_file_that_is_no_model_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"GGUF\x03\x00\x00\x00").unwrap();
        let error = host(&file.path().display().to_string())
            .wait()
            .await
            .unwrap_err();
        assert_eq!(error.reason(), LoadFailure::CorruptModel);
    }
}
