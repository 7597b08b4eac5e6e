//! What all routes share.
use super::{
    access::Access,
    drain::Drain,
    error::{ApiError, ErrorKind},
};
use crate::{
    faults::Faults,
    load::{ModelHost, ServedModel},
    telemetry::{Metrics, Spans},
};
use candlepower_api::server_config::ServerConfig;
use std::{sync::Arc, time::Duration};

/// What all routes share. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The model, or how far its loading has come.
    pub host: ModelHost,
    /// The Prometheus series.
    pub metrics: Arc<Metrics>,
    /// Where spans go.
    pub spans: Spans,
    /// Whether requests are still accepted, and how many run.
    pub drain: Drain,
    /// Who may send requests.
    pub access: Access,
    /// Injected faults, where they are allowed.
    pub faults: Option<Faults>,
    /// What the configuration says about requests.
    pub options: Options,
}

/// What the configuration says about requests.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The model is loaded at start, not at the first request.
    pub preload: bool,
    /// Largest request body in bytes.
    pub body_limit: usize,
    /// How long a request may take.
    pub request_timeout: Option<Duration>,
    /// Put prompts and answers into spans.
    pub capture_prompts: bool,
}

impl From<&ServerConfig> for Options {
    fn from(config: &ServerConfig) -> Self {
        Self {
            preload: config.model.preload,
            body_limit: usize::try_from(config.http.body_limit.bytes()).unwrap_or(usize::MAX),
            request_timeout: config
                .http
                .request_timeout
                .map(candlepower_api::value::Duration::as_std),
            capture_prompts: config.tracing.capture_prompts,
        }
    }
}

impl AppState {
    /// The model. With `preload`, a model that is not there yet is an error at once; without, the
    /// first request loads it and waits.
    pub async fn model(&self) -> Result<Arc<ServedModel>, ApiError> {
        if let Some(model) = self.host.served() {
            return Ok(model);
        }
        if self.options.preload {
            let report = self.host.report();
            return Err(ApiError::new(
                ErrorKind::Loading,
                format!(
                    "the model is still loading ({:?}, {}%); try again in a moment",
                    report.stage, report.percent
                ),
            ));
        }
        self.host
            .wait()
            .await
            .map_err(|error| ApiError::new(ErrorKind::LoadFailed, error.to_string()))
    }

    /// The model, if it is the one that the request names.
    pub async fn model_named(&self, name: &str) -> Result<Arc<ServedModel>, ApiError> {
        let model = self.model().await?;
        let served = &model.facts.name;
        if name == served {
            return Ok(model);
        }
        Err(ApiError {
            kind: ErrorKind::ModelNotFound,
            message: format!(
                "the model {name:?} is not served here; this server serves {served:?}"
            ),
            param: Some("model".to_owned()),
        })
    }
}
