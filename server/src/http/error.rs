//! The one error of the HTTP side: OpenAI's shape, the right status, a message with the cure.
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use candlepower_api::names::metrics;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong, as coarse as a client's reaction to it. It decides the status; its name is the
/// `error_type` label of the error counter.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorKind {
    /// The request cannot be understood or asks for something that is not supported.
    InvalidRequest,
    /// Prompt and answer do not fit the model's context.
    ContextLengthExceeded,
    /// There is no API key with the request, or a wrong one.
    InvalidApiKey,
    /// The API key has sent as many requests as it may.
    RateLimited,
    /// There is no such route.
    NotFound,
    /// There is no such model here.
    ModelNotFound,
    /// The route exists, but not with this method.
    MethodNotAllowed,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The body is not declared to be JSON.
    UnsupportedMediaType,
    /// As many requests wait as may.
    QueueFull,
    /// The model is still being loaded.
    Loading,
    /// The server shuts down.
    Draining,
    /// It took longer than the server's limit, or than its own.
    DeadlineExceeded,
    /// The model could not be loaded.
    LoadFailed,
    /// The engine failed while it computed the answer.
    Engine,
    /// A fault of this server.
    Internal,
}

impl ErrorKind {
    /// All kinds, for counters that start at 0.
    pub const ALL: [Self; 16] = [
        Self::InvalidRequest,
        Self::ContextLengthExceeded,
        Self::InvalidApiKey,
        Self::RateLimited,
        Self::NotFound,
        Self::ModelNotFound,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::QueueFull,
        Self::Loading,
        Self::Draining,
        Self::DeadlineExceeded,
        Self::LoadFailed,
        Self::Engine,
        Self::Internal,
    ];

    /// The name in metrics, spans and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::ContextLengthExceeded => "context_length_exceeded",
            Self::InvalidApiKey => "invalid_api_key",
            Self::RateLimited => "rate_limit_exceeded",
            Self::NotFound => "not_found",
            Self::ModelNotFound => "model_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::QueueFull => "queue_full",
            Self::Loading => "loading",
            Self::Draining => "draining",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::LoadFailed => "load_failed",
            Self::Engine => "engine",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest | Self::ContextLengthExceeded => StatusCode::BAD_REQUEST,
            Self::InvalidApiKey => StatusCode::UNAUTHORIZED,
            Self::NotFound | Self::ModelNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::QueueFull | Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Loading | Self::Draining | Self::LoadFailed => StatusCode::SERVICE_UNAVAILABLE,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::Engine | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whose fault it is: the label of the error counter. A full queue is the server's, which could
    /// not take the request, although its status tells the client to slow down.
    pub fn fault(self) -> &'static str {
        if self == Self::QueueFull || self.status().is_server_error() {
            metrics::FAULT_SERVER
        } else {
            metrics::FAULT_CLIENT
        }
    }

    /// OpenAI's `type`, of which there are only a few.
    const fn openai_type(self) -> &'static str {
        match self {
            Self::QueueFull | Self::RateLimited => "rate_limit_error",
            Self::Loading
            | Self::Draining
            | Self::DeadlineExceeded
            | Self::LoadFailed
            | Self::Engine
            | Self::Internal => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// OpenAI's `code`; a bad request names its `param` instead.
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::InvalidRequest => None,
            other => Some(other.as_str()),
        }
    }

    /// Seconds after which it makes sense to try again; who knows better replaces them.
    const fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::QueueFull | Self::RateLimited => Some("1"),
            Self::Loading | Self::Draining => Some("2"),
            _ => None,
        }
    }
}

/// A request that is answered with an error.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// What happened and what to do, for people.
    pub message: String,
    /// The field of the body that is to blame.
    pub param: Option<String>,
}

impl ApiError {
    /// An error that no single field is to blame for.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            param: None,
        }
    }

    /// A bad value in the field `param`.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::InvalidRequest,
            message: message.into(),
            param: Some(param.into()),
        }
    }

    /// The JSON form, for bodies and for events in the middle of a stream.
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                message: self.message.clone(),
                kind: self.kind.openai_type().to_owned(),
                param: self.param.clone(),
                code: self.kind.code().map(str::to_owned),
            },
        }
    }
}

/// OpenAI's error object.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong and what to do.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// What happened and what to do, for people.
    pub message: String,
    /// `invalid_request_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The field of the body that is to blame.
    pub param: Option<String>,
    /// A finer name of the error, such as `context_length_exceeded`.
    pub code: Option<String>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.body())).into_response();
        if let Some(seconds) = self.kind.retry_after() {
            let value = HeaderValue::from_static(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        if self.kind == ErrorKind::InvalidApiKey {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        // The middleware that counts and traces reads the error from here.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_and_has_an_error_status() {
        let mut names: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL {
            let status = kind.status();
            assert!(status.is_client_error() || status.is_server_error());
        }
    }

    #[test]
    fn a_bad_field_has_openais_shape() {
        let error = ApiError::invalid("top_p", "write a number");
        assert_eq!(
            serde_json::to_value(error.body()).unwrap(),
            serde_json::json!({"error": {
                "message": "write a number",
                "type": "invalid_request_error",
                "param": "top_p",
                "code": null,
            }})
        );
    }

    #[test]
    fn what_passes_by_itself_says_when_to_try_again() {
        for kind in ErrorKind::ALL {
            let response = ApiError::new(kind, "").into_response();
            let temporary = matches!(
                kind,
                ErrorKind::QueueFull
                    | ErrorKind::RateLimited
                    | ErrorKind::Loading
                    | ErrorKind::Draining
            );
            assert_eq!(
                response.headers().contains_key(header::RETRY_AFTER),
                temporary
            );
        }
    }
}
