//! The HTTP side: routes, what happens around them, and the server's life from listening to drained.
pub mod access;
pub mod deadline;
mod doors;
pub mod drain;
pub mod error;
mod fields;
pub mod generation;
mod identity;
mod json_body;
pub mod listen;
pub mod middleware;
pub mod parameters;
pub mod response_format;
pub mod routes;
pub mod serve;
mod shutdown;
pub mod state;
pub mod tls;
mod watch;

pub use state::{AppState, Options};

use axum::{
    Router,
    http::{Method, Uri},
    middleware::from_fn_with_state,
    routing::{MethodRouter, get, post},
};
use candlepower_api::names::{paths, ports};
use error::{ApiError, ErrorKind};
use middleware::{
    authenticate::authenticate, catch_panic, count_errors::count_errors,
    leave_connections::leave_connections, observe::observe,
};
use routes::{
    chat_completions, completions, docs, faults, generate, health, metrics, models, version,
};

/// All routes.
pub fn router(state: AppState) -> Router {
    let observed = |path, route: MethodRouter<AppState>| {
        // A panic is caught within what observes the request, so that it is reported with it.
        route
            .route_layer(catch_panic::layer())
            .route_layer(from_fn_with_state((state.clone(), path), observe))
    };
    let guarded = Router::new()
        .route(
            paths::CHAT_COMPLETIONS,
            observed(
                paths::CHAT_COMPLETIONS,
                post(chat_completions::chat_completions),
            ),
        )
        .route(
            paths::COMPLETIONS,
            observed(paths::COMPLETIONS, post(completions::completions)),
        )
        .route(
            paths::GENERATE,
            observed(paths::GENERATE, post(generate::generate)),
        )
        .route(paths::MODELS, get(models::list))
        .route(
            &format!("{}/{{*model}}", paths::MODELS),
            get(models::retrieve),
        )
        .route(paths::VERSION, get(version::version))
        .route(paths::OPENAPI, get(docs::openapi))
        .route(paths::DOCS, get(docs::page));
    let guarded = match &state.faults {
        Some(allowed) => guarded.route(paths::DEBUG_FAULTS, faults::methods(allowed.clone())),
        None => guarded,
    };
    let all = guarded
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(state.clone(), authenticate))
        .merge(open());
    around(all, state)
}

/// The routes that are left in the clear beside a port with TLS.
pub fn router_without_requests(state: AppState) -> Router {
    around(open().fallback(only_with_tls), state)
}

/// Probes and scrapers have no key.
fn open() -> Router<AppState> {
    Router::new()
        .route(paths::HEALTH, get(health::health))
        .route(paths::HEALTH_STARTUP, get(health::startup))
        .route(paths::HEALTH_LIVE, get(health::live))
        .route(paths::HEALTH_READY, get(health::ready))
        .route(paths::METRICS, get(metrics::metrics))
        .method_not_allowed_fallback(method_not_allowed)
}

/// What happens around every request.
fn around(routes: Router<AppState>, state: AppState) -> Router {
    routes
        .layer(catch_panic::layer())
        .layer(from_fn_with_state(state.clone(), count_errors))
        .layer(from_fn_with_state(state.clone(), leave_connections))
        .with_state(state)
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(
        ErrorKind::NotFound,
        format!("there is no route {}; see {}", uri.path(), paths::DOCS),
    )
}

async fn only_with_tls(uri: Uri) -> ApiError {
    ApiError::new(
        ErrorKind::NotFound,
        format!(
            "there is no route {} without TLS: send requests by https:// and to http.tlsPort, which is {} unless it was changed",
            uri.path(),
            ports::SERVER_HTTPS
        ),
    )
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        ErrorKind::MethodNotAllowed,
        format!(
            "{} does not answer {method}; see {}",
            uri.path(),
            paths::DOCS
        ),
    )
}
