//! The operator's own endpoint: metrics and health.
use crate::{StartError, metrics::Metrics};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use candlepower_api::names::paths;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::net::TcpListener;

/// True once all caches have been filled.
pub type Readiness = Arc<AtomicBool>;

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
    match served.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn readiness(State(served): State<Served>) -> Response {
    if served.ready.load(Ordering::Relaxed) {
        "ok".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the caches are still being filled from the API server",
        )
            .into_response()
    }
}
