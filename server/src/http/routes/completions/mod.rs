//! `POST /v1/completions`: a text goes on, as in OpenAI's older API.
mod convert;
pub mod types;

use crate::http::{
    error::{ApiError, ErrorBody},
    generation::{self, sse},
    middleware::observe::Observed,
    state::AppState,
};
use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use types::{CompletionBody, TextCompletion};

/// A text goes on.
///
/// With `stream: true` the answer comes as server-sent events of the same type, ended by
/// `data: [DONE]`.
#[utoipa::path(
    post,
    path = "/v1/completions",
    tag = "OpenAI",
    operation_id = "createCompletion",
    request_body(content = CompletionBody, example = json!({
        "model": "smollm2",
        "prompt": "The capital of France is",
        "max_tokens": 16
    })),
    responses(
        (status = 200, description = "The answer, or its stream", body = TextCompletion),
        (status = "4XX", description = "A request that cannot be served", body = ErrorBody),
        (status = "5XX", description = "Loading, draining or failed", body = ErrorBody),
    ),
)]
pub async fn completions(
    State(state): State<AppState>,
    Extension(observed): Extension<Observed>,
    body: CompletionBody,
) -> Result<Response, ApiError> {
    let model = state.model_named(&body.own.model).await?;
    let (task, form) = convert::task(body)?;
    let logprobs = task.controls.sampling.logprobs.is_some();
    let chunks = convert::CompletionChunks::new(&model.facts.name, form, logprobs);
    let answer = generation::begin(&state, model, observed, task).await?;
    if form.stream {
        return Ok(sse::respond(answer, chunks));
    }
    let (choices, completion) = answer.collect().await?;
    Ok(Json(chunks.whole(choices, &completion)).into_response())
}
