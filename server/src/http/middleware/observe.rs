//! Watches each generation request from its first byte to its last, and refuses it when the server
//! shuts down.
use crate::{
    faults::Faults,
    http::{
        deadline::Deadline,
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
/// Response header of W3C Trace Context Level 2: the request's trace, sampled or not, and the
/// server's span in it.
pub const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// The request's observation. While somebody holds it, the request counts as running.
#[derive(Clone, Debug)]
pub struct Observed {
    observation: Arc<Observation>,
    deadline: Deadline,
    _running: Arc<TaskTrackerToken>,
}

impl Observed {
    /// When it has to be over.
    pub const fn deadline(&self) -> Deadline {
        self.deadline
    }
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
    let observation = Arc::new(Observation::start(
        "POST",
        path,
        Arc::clone(&state.metrics),
        &state.spans,
        request.headers(),
    ));
    let limit = state.options.request_timeout;
    let deadline = Deadline::new(request.headers(), limit, observation.started());
    let observed = Observed {
        observation,
        deadline: deadline.clone().unwrap_or_default(),
        _running: Arc::new(state.drain.running()),
    };
    let accepted = deadline.and_then(|_| accept(&state));
    let mut response = if let Err(error) = accepted {
        error.into_response()
    } else {
        request.extensions_mut().insert(observed.clone());
        // Of the highest level, so that a filter that lets a line through lets its trace id through.
        let span = tracing::error_span!("request", trace_id = observed.trace_id());
        observed
            .deadline
            .limit(next.run(request).instrument(span))
            .await
            .unwrap_or_else(IntoResponse::into_response)
    };
    if let Some(error) = response.extensions().get::<ApiError>() {
        observed.finish(&Outcome::Failed(error.kind));
    }
    let headers = [
        (TRACE_ID, observed.sampled_trace_id().map(str::to_owned)),
        (TRACE_RESPONSE, observed.trace_response()),
    ];
    for (name, value) in headers {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Whether the server takes a request now.
fn accept(state: &AppState) -> Result<(), ApiError> {
    if state.drain.phase() == Phase::Draining {
        return Err(ApiError::new(
            ErrorKind::Draining,
            "the server is shutting down; try again, another replica will answer",
        ));
    }
    if state.faults.as_ref().is_some_and(Faults::next_fails) {
        let message = "an injected fault; see /debug/faults";
        return Err(ApiError::new(ErrorKind::Internal, message));
    }
    Ok(())
}
