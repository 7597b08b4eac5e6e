//! `GET /metrics`: the Prometheus series.
use crate::{
    http::{
        error::{ApiError, ErrorKind},
        state::AppState,
    },
    telemetry::openmetrics,
};
use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The Prometheus series.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "Operations",
    operation_id = "metrics",
    responses((status = 200, description = "Prometheus' text format, or OpenMetrics with exemplars where that is accepted",
        content((String = "text/plain"), (String = "application/openmetrics-text")))),
)]
pub async fn metrics(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // The engine reports after each step; between two of them requests may have come.
    if let Some(model) = state.host.served() {
        state.metrics.set_load(model.engine.load());
    }
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let failed = |error: String| ApiError::new(ErrorKind::Internal, error);
    let (kind, text) = if openmetrics::is_preferred(accept) {
        let text = state.metrics.render_openmetrics();
        (
            openmetrics::CONTENT_TYPE,
            text.map_err(|error| failed(error.to_string()))?,
        )
    } else {
        let text = state.metrics.render();
        (
            TEXT_FORMAT,
            text.map_err(|error| failed(error.to_string()))?,
        )
    };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
