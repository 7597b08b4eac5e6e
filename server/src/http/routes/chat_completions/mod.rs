//! `POST /v1/chat/completions`: the next message of a conversation, as in OpenAI's API.
mod convert;
mod logprobs;
pub mod tools;
pub mod types;

use crate::http::{
    error::{ApiError, ErrorBody},
    generation::{self, sse},
    middleware::observe::Observed,
    state::AppState,
};
use crate::text::ChatTemplate;
use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use types::{ChatBody, ChatCompletion};

/// The next message of a conversation.
///
/// With `stream: true` the answer comes as server-sent events of type `chat.completion.chunk`,
/// ended by `data: [DONE]`.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "OpenAI",
    operation_id = "createChatCompletion",
    request_body(content = ChatBody, example = json!({
        "model": "smollm2",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 64
    })),
    responses(
        (status = 200, description = "The answer, or its stream", body = ChatCompletion),
        (status = "4XX", description = "A request that cannot be served", body = ErrorBody),
        (status = "5XX", description = "Loading, draining or failed", body = ErrorBody),
    ),
)]
pub async fn chat_completions(
    State(state): State<AppState>,
    Extension(observed): Extension<Observed>,
    body: ChatBody,
) -> Result<Response, ApiError> {
    let model = state.model_named(&body.own.model).await?;
    let template = model.chat_template.as_ref();
    let (task, form) = convert::task(body, template.and_then(ChatTemplate::tool_form))?;
    let envelope = convert::Envelope::new(&model.facts.name);
    let answer_form = convert::AnswerForm {
        stream: form,
        calls: task.controls.calls,
        logprobs: task.controls.sampling.logprobs.is_some(),
    };
    let answer = generation::begin(&state, model, observed, task).await?;
    if form.stream {
        return Ok(sse::respond(
            answer,
            convert::ChatChunks::new(envelope, answer_form),
        ));
    }
    let (choices, completion) = answer.collect().await?;
    Ok(Json(convert::whole(envelope, answer_form, choices, &completion)).into_response())
}
