//! `GET /metrics`: the Prometheus series.
use crate::http::{
    error::{ApiError, ErrorKind},
    state::AppState,
};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The Prometheus series.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "Operations",
    operation_id = "metrics",
    responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain")),
)]
pub async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    // The engine reports after each step; between two of them requests may have come.
    if let Some(model) = state.host.served() {
        state.metrics.set_load(model.engine.load());
    }
    let text = state
        .metrics
        .render()
        .map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response())
}
