//! `POST /generate`: the simple form. A prompt goes in; text, token counts and timings come out.
use crate::{
    engine::FinishReason,
    http::{
        error::{ApiError, ErrorBody, ErrorKind},
        generation::{self, Addition, Completion, Prompt, Task, Timings, Usage, Whole, sse},
        json_body::JsonBody,
        middleware::observe::Observed,
        parameters::Counts,
        state::AppState,
    },
};
use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const MAX_TOKENS: usize = 128;

/// A prompt and how to go on with it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateRequest {
    /// The text to go on with.
    pub prompt: String,
    /// Most tokens to generate.
    #[schema(minimum = 1, default = 128)]
    pub max_tokens: Option<usize>,
    /// Send the text as it comes, and everything else at the end.
    #[serde(default)]
    pub stream: bool,
}

/// The whole body.
pub type GenerateBody = JsonBody<GenerateRequest>;

/// The answer, and what it took.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GenerateResponse {
    /// The text; in a stream's last event it is empty, since all of it was sent before.
    pub text: String,
    /// `stop` or `length`.
    pub finish_reason: &'static str,
    /// Tokens in and out.
    pub usage: Usage,
    /// How long the parts took.
    pub timings: Timings,
}

/// A piece of a streamed answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GenerateChunk {
    /// The next text.
    pub text: String,
}

/// An event of the stream.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Event {
    Piece(GenerateChunk),
    Last(GenerateResponse),
}

#[derive(Default)]
struct Chunks {
    reason: Option<FinishReason>,
}

impl sse::Chunks for Chunks {
    type Chunk = Event;

    fn add(&mut self, _: usize, addition: Addition) -> Vec<Event> {
        vec![Event::Piece(GenerateChunk {
            text: addition.text,
        })]
    }

    fn end_choice(&mut self, _: usize, reason: FinishReason) -> Vec<Event> {
        self.reason = Some(reason);
        Vec::new()
    }

    fn end(&mut self, completion: &Completion) -> Option<Event> {
        self.reason
            .map(|reason| Event::Last(response(String::new(), reason, completion)))
    }
}

/// A prompt goes in; text, token counts and timings come out.
///
/// With `stream: true` the answer comes as server-sent events `{"text": …}`, then one of this
/// response's form, ended by `data: [DONE]`.
#[utoipa::path(
    post,
    path = "/generate",
    tag = "Simple",
    operation_id = "generate",
    request_body(content = GenerateBody, example = json!({
        "prompt": "The capital of France is",
        "max_tokens": 32,
        "temperature": 0
    })),
    responses(
        (status = 200, description = "The answer, or its stream", body = GenerateResponse),
        (status = "4XX", description = "A request that cannot be served", body = ErrorBody),
        (status = "5XX", description = "Loading, draining or failed", body = ErrorBody),
    ),
)]
pub async fn generate(
    State(state): State<AppState>,
    Extension(observed): Extension<Observed>,
    body: GenerateBody,
) -> Result<Response, ApiError> {
    let model = state.model().await?;
    let stream = body.own.stream;
    let answer = generation::begin(&state, model, observed, task(body)?).await?;
    if stream {
        return Ok(sse::respond(answer, Chunks::default()));
    }
    let (choices, completion) = answer.collect().await?;
    let whole = choices.into_iter().next();
    let Whole { content, reason } =
        whole.ok_or_else(|| ApiError::new(ErrorKind::Internal, "there is no answer"))?;
    Ok(Json(response(content.text, reason, &completion)).into_response())
}

fn task(body: GenerateBody) -> Result<Task, ApiError> {
    let JsonBody {
        own: request,
        parameters,
    } = body;
    let controls = parameters.validate(Counts {
        max_tokens: request.max_tokens.or(Some(MAX_TOKENS)),
        ..Counts::default()
    })?;
    Ok(Task {
        operation: "text_completion",
        prompt: Prompt::Text(request.prompt),
        controls,
    })
}

const fn response(text: String, reason: FinishReason, completion: &Completion) -> GenerateResponse {
    GenerateResponse {
        text,
        finish_reason: reason.as_str(),
        usage: completion.usage,
        timings: completion.timings,
    }
}
