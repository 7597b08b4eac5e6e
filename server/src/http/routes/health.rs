//! `/health` and `/health/*`: what tools and Kubernetes ask. Each probe answers its own question honestly: started means
//! loaded, alive means that the engine makes progress, ready means that requests are accepted.
use crate::http::{drain::Phase, state::AppState};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// How long one engine step may take before the engine counts as stuck. A long prompt's step on
/// few cores takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A probe's answer.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Health {
    /// In one word or two.
    pub status: &'static str,
}

/// Whether the model is loaded (or is to be loaded by the first request), and how far loading has
/// come.
#[utoipa::path(
    get,
    path = "/health/startup",
    tag = "Operations",
    operation_id = "startup",
    responses(
        (status = 200, description = "Loaded: stage, percent and facts about the model"),
        (status = 503, description = "Not yet: stage and percent"),
    ),
)]
pub async fn startup(State(state): State<AppState>) -> Response {
    let started = !state.options.preload || state.host.served().is_some();
    (status(started), Json(state.host.report())).into_response()
}

/// Whether the engine makes progress. A long queue is no reason to restart.
#[utoipa::path(
    get,
    path = "/health/live",
    tag = "Operations",
    operation_id = "live",
    responses(
        (status = 200, description = "Alive", body = Health),
        (status = 503, description = "The engine is stuck or has ended", body = Health),
    ),
)]
pub async fn live(State(state): State<AppState>) -> Response {
    let alive = state
        .host
        .served()
        .is_none_or(|model| model.engine.is_alive(PATIENCE));
    answer(alive, if alive { "alive" } else { "engine stuck" })
}

/// Whether requests are accepted.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "Operations",
    operation_id = "ready",
    responses(
        (status = 200, description = "Ready", body = Health),
        (status = 503, description = "Loading or draining", body = Health),
    ),
)]
pub async fn ready(State(state): State<AppState>) -> Response {
    readiness(&state)
}

/// The same as `/health/ready`, where other servers have it.
#[utoipa::path(
    get,
    path = "/health",
    tag = "Operations",
    operation_id = "health",
    responses(
        (status = 200, description = "Ready", body = Health),
        (status = 503, description = "Loading or draining", body = Health),
    ),
)]
pub async fn health(State(state): State<AppState>) -> Response {
    readiness(&state)
}

fn readiness(state: &AppState) -> Response {
    if state.drain.phase() != Phase::Serving {
        return answer(false, "draining");
    }
    // The log says so, and a roll-out with the wrong Secret goes no further.
    if !state.access.is_possible() {
        return answer(false, "no_api_keys");
    }
    let ready = !state.options.preload || state.host.served().is_some();
    answer(ready, if ready { "ready" } else { "loading" })
}

fn answer(good: bool, word: &'static str) -> Response {
    (status(good), Json(Health { status: word })).into_response()
}

const fn status(good: bool) -> StatusCode {
    if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
