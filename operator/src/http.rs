//! The operator's own endpoint: metrics and health.
use crate::{StartError, metrics::Metrics};
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use candlepower_api::names::paths;
use futures::stream;
use std::{convert::Infallible, net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::watch};

/// Whether the caches of all controllers are filled, each of which tells by a channel. A process that
/// waits to lead is ready for that.
#[derive(Clone, Debug)]
pub struct Readiness {
    filled: Vec<watch::Receiver<bool>>,
    stands_by: watch::Receiver<bool>,
}

impl Readiness {
    /// Ready once each of `filled` is true, and while `stands_by` is.
    pub fn new(
        filled: impl IntoIterator<Item = watch::Receiver<bool>>,
        stands_by: watch::Receiver<bool>,
    ) -> Self {
        Self {
            filled: filled.into_iter().collect(),
            stands_by,
        }
    }

    /// Tells the log when it is.
    pub async fn announce(mut self) {
        for filled in &mut self.filled {
            // An error means that the operator stops before.
            if filled.wait_for(|filled| *filled).await.is_err() {
                return;
            }
        }
        tracing::info!("the caches are filled");
    }

    fn is_ready(&self) -> bool {
        *self.stands_by.borrow() || self.filled.iter().all(|filled| *filled.borrow())
    }
}

#[derive(Clone)]
struct Served {
    metrics: Arc<Metrics>,
    ready: Readiness,
}

/// The endpoint, bound but not served yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Takes the address.
    pub async fn bind(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        ready: Readiness,
    ) -> Result<Self, StartError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Listen { address, source })?;
        let router = Router::new()
            .route(paths::METRICS, get(export))
            .route(paths::HEALTHZ, get(|| async { "ok" }))
            .route(paths::READYZ, get(readiness))
            .with_state(Served { metrics, ready });
        Ok(Self { listener, router })
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        if let Err(error) = axum::serve(self.listener, self.router).await {
            tracing::error!(%error, "the endpoint for metrics and health has stopped");
        }
    }
}

async fn export(State(served): State<Served>) -> Response {
    match served.metrics.parts() {
        Ok(parts) => {
            let body = Body::from_stream(stream::iter(parts.map(Ok::<_, Infallible>)));
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn readiness(State(served): State<Served>) -> Response {
    if served.ready.is_ready() {
        "ok".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the caches are still being filled from the API server",
        )
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_controller_whose_caches_are_not_filled_is_enough_not_to_be_ready() {
        let (deployments, deployments_filled) = watch::channel(false);
        let (benchmarks, benchmarks_filled) = watch::channel(false);
        let (_, stands_by) = watch::channel(false);
        let ready = Readiness::new([deployments_filled, benchmarks_filled], stands_by);
        assert!(!ready.is_ready());
        deployments.send_replace(true);
        assert!(!ready.is_ready());
        benchmarks.send_replace(true);
        assert!(ready.is_ready());
    }

    #[test]
    fn one_that_waits_to_lead_is_ready_and_one_that_has_just_begun_to_is_not() {
        let (_caches, filled) = watch::channel(false);
        let (standby, stands_by) = watch::channel(true);
        let ready = Readiness::new([filled], stands_by);
        assert!(ready.is_ready());
        standby.send_replace(false);
        assert!(!ready.is_ready());
    }
}
