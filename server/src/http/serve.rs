//! The server's life: listen at once, load, serve, drain.
use super::{
    AppState, Options,
    access::Access,
    doors::Doors,
    drain::Drain,
    shutdown::{self, Signals},
    tls::CertificateError,
};
use crate::{
    faults::{self, Faults},
    load::{LoadError, ModelHost, ServedModel},
    telemetry::{Metrics, exporter, gpu::Gpus},
};
use candlepower_api::{
    names::reasons::{LoadFailure, TerminationMessage},
    server_config::ServerConfig,
};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

/// How long connections may take to end once no request runs.
const CLOSING: Duration = Duration::from_secs(2);

/// Why the server ended before anybody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or does not exist.
    #[error(
        "cannot listen on {host}:{port}: {problem}; choose another address with --host and {flag}"
    )]
    Listen {
        /// Address.
        host: String,
        /// Port.
        port: u16,
        /// What the system says.
        problem: io::Error,
        /// What chooses the port.
        flag: &'static str,
    },
    /// There is no certificate for HTTPS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The series contradict each other.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The model did not load.
    #[error("{0}")]
    Load(Arc<LoadError>),
    /// The engine panicked while it served.
    #[error(
        "the engine has panicked ({0}) and its requests have failed: Kubernetes starts the server again; report it with the server's log"
    )]
    Engine(String),
    /// The listener failed.
    #[error("the server ended: {0}")]
    Server(io::Error),
}

impl ServeError {
    /// The reason that the operator shows.
    pub fn reason(&self) -> LoadFailure {
        match self {
            Self::Load(error) => error.reason(),
            Self::Listen { .. } | Self::Certificate(_) => LoadFailure::InvalidConfiguration,
            Self::Engine(_) | Self::Metrics(_) | Self::Server(_) => LoadFailure::EngineFailure,
        }
    }
}

/// Serves until a signal asks to end, then drains.
pub async fn serve(config: &ServerConfig) -> Result<(), ServeError> {
    // Before anybody can see that it serves, and end it.
    let mut signals = Signals::listen();
    let metrics = Arc::new(Metrics::new()?.with_gpus(Gpus::find()));
    let faults = config.debug.allow_fault_injection.then(Faults::allowed);
    let observer = faults::observer(Arc::clone(&metrics) as _, faults.as_ref());
    let state = AppState {
        faults,
        host: ModelHost::new(config.clone(), observer),
        spans: exporter::spans(&config.tracing, &metrics.traces),
        metrics,
        drain: Drain::default(),
        access: Access::new(&config.access),
        options: Options::from(config),
    };
    let doors = Doors::open(&config.http).await?;
    if config.model.preload {
        state.host.start();
    }
    // It ends with the process.
    tokio::spawn(state.access.clone().follow());
    let closing = CancellationToken::new();
    let mut server = tokio::spawn(doors.serve(state.clone(), closing.clone()));

    let outcome = tokio::select! {
        error = watch_model(&state) => {
            shutdown::abandon(&state).await;
            Err(error)
        }
        () = signals.next() => {
            shutdown::drain(&state, &config.http, &mut signals, &closing).await;
            Ok(())
        }
        ended = &mut server => Err(ServeError::Server(why_ended(ended))),
    };
    closing.cancel();
    if !server.is_finished() {
        // Connections that do not end in time end with the process.
        let _ = tokio::time::timeout(CLOSING, server).await;
    }
    let spans = state.spans.clone();
    // Sending the last spans blocks.
    let _ = tokio::task::spawn_blocking(move || spans.shutdown(CLOSING)).await;
    outcome
}

fn why_ended(ended: Result<io::Result<()>, JoinError>) -> io::Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => io::Error::other("the listener closed"),
        Err(error) => io::Error::other(error),
    }
}

/// Tells metrics, traces and logs when the model serves. Ends only if it never will, or no more.
async fn watch_model(state: &AppState) -> ServeError {
    match state.host.outcome().await {
        Err(error) => ServeError::Load(error),
        Ok(model) => {
            report_loaded(state, &model);
            ServeError::Engine(model.engine.panicked().await)
        }
    }
}

fn report_loaded(state: &AppState, model: &ServedModel) {
    let took = model
        .trace
        .finished
        .duration_since(model.trace.started)
        .unwrap_or_default();
    state
        .metrics
        .model_loaded(&model.facts, &model.revision, took);
    state.spans.load(&model.trace);
    tracing::info!(
        model = model.facts.name,
        architecture = model.facts.architecture,
        precision = model.facts.precision,
        device = model.facts.device,
        backend = model.facts.backend,
        context_length = model.facts.context_length,
        seconds = took.as_secs_f64(),
        "model loaded"
    );
}

/// Leaves `reason` and `message` where Kubernetes, and so the operator, finds them.
pub fn leave_last_words(path: &Path, reason: LoadFailure, message: String) {
    let words = TerminationMessage { reason, message };
    // Outside Kubernetes there is no such file; the log has the same words.
    if let Ok(json) = serde_json::to_string(&words)
        && path.exists()
    {
        let _ = std::fs::write(path, json);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_one_json_object_in_an_existing_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        leave_last_words(file.path(), LoadFailure::CorruptModel, "broken".into());
        let text = std::fs::read_to_string(file.path()).unwrap();
        let words: TerminationMessage = serde_json::from_str(&text).unwrap();
        assert_eq!(words.reason, LoadFailure::CorruptModel);
        assert_eq!(words.message, "broken");
    }

    #[test]
    fn where_nobody_reads_them_no_file_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("termination-log");
        leave_last_words(&path, LoadFailure::CorruptModel, "broken".into());
        assert!(!path.exists());
    }
}
