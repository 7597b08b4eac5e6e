//! Watches each generation request from its first byte to its last, and refuses it when the server
//! shuts down.
use crate::{
    faults::Faults,
    http::{
        drain::Phase,
        error::{ApiError, ErrorKind},
        state::AppState,
    },
    telemetry::{Observation, Outcome},
};
use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{ops::Deref, sync::Arc};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

/// Response header: the id under which the request's trace is found, where it is sampled.
pub const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// The request's observation. While somebody holds it, the request counts as running.
#[derive(Clone, Debug)]
pub struct Observed {
    observation: Arc<Observation>,
    _running: Arc<TaskTrackerToken>,
}

impl Deref for Observed {
    type Target = Observation;

    fn deref(&self) -> &Observation {
        &self.observation
    }
}

/// Watches a request of the route `path`.
pub async fn observe(
    State((state, path)): State<(AppState, &'static str)>,
    mut request: Request,
    next: Next,
) -> Response {
    let observed = Observed {
        observation: Arc::new(Observation::start(
            "POST",
            path,
            Arc::clone(&state.metrics),
            &state.spans,
            request.headers(),
        )),
        _running: Arc::new(state.drain.running()),
    };
    let mut response = if state.drain.phase() == Phase::Draining {
        ApiError::new(
            ErrorKind::Draining,
            "the server is shutting down; try again, another replica will answer",
        )
        .into_response()
    } else if state.faults.as_ref().is_some_and(Faults::next_fails) {
        ApiError::new(ErrorKind::Internal, "an injected fault; see /debug/faults").into_response()
    } else {
        request.extensions_mut().insert(observed.clone());
        let span = tracing::info_span!("request", trace_id = observed.trace_id());
        next.run(request).instrument(span).await
    };
    if let Some(error) = response.extensions().get::<ApiError>() {
        observed.finish(Outcome::Failed(error.kind));
    }
    if let Some(id) = observed
        .sampled_trace_id()
        .and_then(|id| HeaderValue::from_str(id).ok())
    {
        response.headers_mut().insert(TRACE_ID, id);
    }
    response
}
