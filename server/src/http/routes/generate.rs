//! `POST /generate`: the simple form. A prompt goes in; text, token counts and timings come out.
use crate::http::{
    error::{ApiError, ErrorBody},
    generation::{self, Completion, Prompt, Task, Timings, Usage, sse},
    json_body::JsonBody,
    middleware::observe::Observed,
    parameters::{Parameters, Stop},
    state::AppState,
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
    /// 0 picks the most likely token; higher values vary more.
    #[schema(minimum = 0, maximum = 2, default = 1.0)]
    pub temperature: Option<f64>,
    /// Pick from the smallest set of tokens whose probabilities sum to this.
    #[schema(exclusive_minimum = 0, maximum = 1, default = 1.0)]
    pub top_p: Option<f64>,
    /// The same seed picks the same tokens.
    pub seed: Option<i64>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Option<Stop>,
    /// Send the text as it comes, and everything else at the end.
    #[serde(default)]
    pub stream: bool,
}

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

struct Chunks;

impl sse::Chunks for Chunks {
    type Chunk = Event;

    fn text(&mut self, text: String) -> Event {
        Event::Piece(GenerateChunk { text })
    }

    fn end(&mut self, completion: &Completion) -> Vec<Event> {
        vec![Event::Last(response(String::new(), completion))]
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
    request_body(content = GenerateRequest, example = json!({
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
    JsonBody(request): JsonBody<GenerateRequest>,
) -> Result<Response, ApiError> {
    let model = state.model().await?;
    let stream = request.stream;
    let answer = generation::begin(&state, model, observed, task(request)?).await?;
    if stream {
        return Ok(sse::respond(answer, Chunks));
    }
    let (text, completion) = answer.collect().await?;
    Ok(Json(response(text, &completion)).into_response())
}

fn task(request: GenerateRequest) -> Result<Task, ApiError> {
    let controls = Parameters {
        max_tokens: request.max_tokens.or(Some(MAX_TOKENS)),
        temperature: request.temperature,
        top_p: request.top_p,
        seed: request.seed,
        stop: request.stop,
    }
    .validate()?;
    Ok(Task {
        operation: "text_completion",
        prompt: Prompt::Text(request.prompt),
        controls,
    })
}

const fn response(text: String, completion: &Completion) -> GenerateResponse {
    GenerateResponse {
        text,
        finish_reason: completion.reason.as_str(),
        usage: completion.usage,
        timings: completion.timings,
    }
}
