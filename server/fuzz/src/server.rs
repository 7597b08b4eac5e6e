//! A server whose engine has no model, behind the real router.
use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode},
};
use candlepower_api::{names::paths, server_config::ServerConfig};
use candlepower_server::{
    engine::mock::MockEngine,
    http::{
        AppState, Options,
        access::Access,
        drain::Drain,
        error::{ApiError, ErrorKind},
        router,
    },
    load::{ModelHost, mock},
    telemetry::{Metrics, Spans},
    text::Tokenizer,
};
use http_body_util::BodyExt;
use std::sync::{Arc, LazyLock};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

const ROUTES: [&str; 3] = [paths::CHAT_COMPLETIONS, paths::COMPLETIONS, paths::GENERATE];
const TEMPLATE: &str = "{% for tool in tools %}<tool_call>{{ tool | tojson }}{% endfor %}\
    {% for message in messages %}{{ message.role }}: {{ message.content }}\
    {{ message.tool_calls | tojson if message.tool_calls }}\n{% endfor %}";

static SERVER: LazyLock<(Runtime, Router)> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let config = ServerConfig::for_model(mock::NAME);
    let model = mock::served(
        MockEngine::new(),
        Tokenizer::of_bytes().expect("a tokenizer"),
        TEMPLATE,
        &config.engine,
        Arc::clone(&metrics) as _,
    )
    .expect("a model");
    let state = AppState {
        host: ModelHost::of(model),
        metrics,
        spans: Spans::disabled(),
        drain: Drain::default(),
        access: Access::default(),
        faults: None,
        options: Options::from(&config),
    };
    (runtime, router(state))
});

/// Sends `body` and reads the whole answer, which must be no fault of the server's.
pub fn request(route: u8, body: &[u8]) {
    let (runtime, router) = &*SERVER;
    let path = ROUTES[usize::from(route) % ROUTES.len()];
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_vec()))
        .expect("a request");
    runtime.block_on(async {
        let response = router.clone().oneshot(request).await.expect("an answer");
        check(&response);
        response
            .into_body()
            .collect()
            .await
            .expect("a whole answer");
    });
}

fn check(response: &Response<Body>) {
    let error = response.extensions().get::<ApiError>();
    let internal = error.is_some_and(|error| error.kind == ErrorKind::Internal);
    assert!(!internal, "a fault of the server: {error:?}");
    assert!(
        error.is_some() || response.status() == StatusCode::OK,
        "{response:?}"
    );
}
