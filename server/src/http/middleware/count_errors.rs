//! Counts the requests that are answered with an error, by kind.
use crate::http::{error::ApiError, state::AppState};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

/// Counts `next`'s error, if it is one.
pub async fn count_errors(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(error) = response.extensions().get::<ApiError>() {
        state.metrics.requests.failed(error.kind);
    }
    response
}
