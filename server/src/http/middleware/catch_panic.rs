//! A panic in a route is a 500 for that request and nothing for the others.
use crate::{
    http::error::{ApiError, ErrorKind},
    panics,
};
use axum::response::{IntoResponse, Response};
use std::any::Any;
use tower_http::catch_panic::CatchPanicLayer;

type Handler = fn(Box<dyn Any + Send>) -> Response;

/// The layer.
pub fn layer() -> CatchPanicLayer<Handler> {
    CatchPanicLayer::custom(answer as Handler)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands the panic over"
)]
fn answer(panic: Box<dyn Any + Send>) -> Response {
    tracing::error!(
        panic = panics::message(&*panic),
        "a request ended in a panic"
    );
    ApiError::new(
        ErrorKind::Internal,
        "a fault of the server; its log says more",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, body::Body, extract::Request, http::StatusCode, routing::get};
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_panic_is_an_error_of_this_server() {
        let router = Router::new().route("/", get(|| async { panic!("planted") as () }));
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = router.layer(layer()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let error = response.extensions().get::<ApiError>().unwrap();
        assert_eq!(error.kind, ErrorKind::Internal);
        assert!(
            !error.message.contains("planted"),
            "details belong into the log"
        );
    }
}
