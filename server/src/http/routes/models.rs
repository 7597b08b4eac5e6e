//! `GET /v1/models`: what is served here, as in OpenAI's API.
use crate::{
    http::{
        error::{ApiError, ErrorBody},
        state::AppState,
    },
    load::ServedModel,
};
use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use std::time::UNIX_EPOCH;
use utoipa::ToSchema;

/// The served models; always one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelList {
    /// Always `list`.
    pub object: &'static str,
    /// The models.
    pub data: Vec<Model>,
}

/// A served model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Model {
    /// The name that requests use.
    pub id: String,
    /// Always `model`.
    pub object: &'static str,
    /// When it was loaded, in seconds since 1970.
    pub created: u64,
    /// Always `candlepower`.
    pub owned_by: &'static str,
    /// Longest sequence (prompt and answer) in tokens; the name is vLLM's.
    pub max_model_len: u64,
}

/// The served models; always one.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "OpenAI",
    operation_id = "listModels",
    responses(
        (status = 200, description = "The served models", body = ModelList),
        (status = "5XX", description = "Loading or failed", body = ErrorBody),
    ),
)]
pub async fn list(State(state): State<AppState>) -> Result<Json<ModelList>, ApiError> {
    let model = describe(&*state.model().await?);
    Ok(Json(ModelList {
        object: "list",
        data: vec![model],
    }))
}

/// One served model.
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    tag = "OpenAI",
    operation_id = "retrieveModel",
    params(("model" = String, Path, description = "The model's name")),
    responses(
        (status = 200, description = "The model", body = Model),
        (status = 404, description = "No such model here", body = ErrorBody),
        (status = "5XX", description = "Loading or failed", body = ErrorBody),
    ),
)]
pub async fn retrieve(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Json<Model>, ApiError> {
    Ok(Json(describe(&*state.model_named(&name).await?)))
}

fn describe(model: &ServedModel) -> Model {
    Model {
        id: model.facts.name.clone(),
        object: "model",
        created: model
            .trace
            .finished
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        owned_by: "candlepower",
        max_model_len: model.facts.context_length,
    }
}
