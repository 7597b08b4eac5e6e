//! Turns requests away that have no API key, where the configuration asks for one.
use crate::http::{
    access::Denial,
    error::{ApiError, ErrorKind},
    state::AppState,
};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::time::Duration;

/// Hands a request with a key on to `next`.
pub async fn authenticate(State(state): State<AppState>, request: Request, next: Next) -> Response {
    match state.access.admit(bearer(request.headers())) {
        Ok(()) => next.run(request).await,
        Err(Denial::TooMany(wait)) => too_many(wait),
        Err(denial) => ApiError::new(ErrorKind::InvalidApiKey, cure(denial)).into_response(),
    }
}

/// The key in `Authorization: Bearer KEY`; the scheme's name is case-insensitive.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| key.trim_ascii())
}

const fn cure(denial: Denial) -> &'static str {
    match denial {
        Denial::NoKeys => {
            "this server has no API key yet, so it refuses all requests; its operator has to put one into the Secret"
        }
        Denial::Missing => "no API key: send it in the header Authorization: Bearer KEY",
        Denial::Wrong | Denial::TooMany(_) => {
            "this API key is not known here: check the header Authorization: Bearer KEY"
        }
    }
}

fn too_many(wait: Duration) -> Response {
    // A wait of less than a second is one, since the header counts in them.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let message = format!(
        "this API key has sent as many requests as it may in a minute; try again in {seconds} s"
    );
    let mut response = ApiError::new(ErrorKind::RateLimited, message).into_response();
    let seconds = HeaderValue::from(seconds);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}
