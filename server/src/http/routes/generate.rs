//! `POST /generate`: the simple form. A prompt goes in; text, token counts and timings come out.
use crate::{
    engine::FinishReason,
    http::{
        error::{ApiError, ErrorBody, ErrorKind},
        generation::{self, Addition, Completion, Prompt, Task, Timings, Usage, Whole, sse},
        json_body::JsonBody,
        middleware::observe::Observed,
        parameters::{LogitBias, Parameters, Stop},
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
    /// 0 picks the most likely token; higher values vary more.
    #[schema(minimum = 0, maximum = 2, default = 1.0)]
    pub temperature: Option<f64>,
    /// Pick from the smallest set of tokens whose probabilities sum to this.
    #[schema(exclusive_minimum = 0, maximum = 1, default = 1.0)]
    pub top_p: Option<f64>,
    /// Pick from this many of the likeliest tokens; 0 or -1: from all.
    #[schema(minimum = -1, default = -1)]
    pub top_k: Option<i64>,
    /// Pick from tokens at least this times as likely as the likeliest.
    #[schema(minimum = 0, maximum = 1, default = 0.0)]
    pub min_p: Option<f64>,
    /// Above 1, tokens that prompt or answer have become less likely.
    #[schema(exclusive_minimum = 0, maximum = 2, default = 1.0)]
    pub repetition_penalty: Option<f64>,
    /// Above 0, tokens that the answer has become less likely.
    #[schema(minimum = -2, maximum = 2, default = 0.0)]
    pub presence_penalty: Option<f64>,
    /// Above 0, tokens become less likely each time that the answer has them.
    #[schema(minimum = -2, maximum = 2, default = 0.0)]
    pub frequency_penalty: Option<f64>,
    /// From token ids to -100 (never) … 100 (always), which is added to their logits.
    pub logit_bias: Option<LogitBias>,
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
        return Ok(sse::respond(answer, Chunks::default()));
    }
    let (choices, completion) = answer.collect().await?;
    let whole = choices.into_iter().next();
    let Whole { content, reason } =
        whole.ok_or_else(|| ApiError::new(ErrorKind::Internal, "there is no answer"))?;
    Ok(Json(response(content.text, reason, &completion)).into_response())
}

fn task(request: GenerateRequest) -> Result<Task, ApiError> {
    let controls = Parameters {
        max_tokens: request.max_tokens.or(Some(MAX_TOKENS)),
        temperature: request.temperature,
        top_k: request.top_k,
        top_p: request.top_p,
        min_p: request.min_p,
        repetition_penalty: request.repetition_penalty,
        presence_penalty: request.presence_penalty,
        frequency_penalty: request.frequency_penalty,
        logit_bias: request.logit_bias,
        seed: request.seed,
        stop: request.stop,
        ..Parameters::default()
    }
    .validate()?;
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
