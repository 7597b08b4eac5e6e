//! Asks clients, once the server shuts down, to leave their connections: the next one leads to another pod.
use crate::http::{drain::Phase, state::AppState};
use axum::{
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};

/// Adds `Connection: close` to `next`'s answer from the shutdown's first phase on.
pub async fn leave_connections(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if state.drain.phase() != Phase::Serving {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}
