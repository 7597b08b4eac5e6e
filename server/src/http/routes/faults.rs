//! `/debug/faults`: reads, sets and ends injected faults, where they are allowed.
use crate::{
    faults::Faults,
    http::{
        error::{ApiError, ErrorKind},
        state::AppState,
    },
};
use axum::{
    Json,
    body::Bytes,
    extract::State,
    routing::{MethodRouter, get},
};
use candlepower_api::server_config::InjectedFaults;

/// The route's methods, over `faults`.
pub fn methods(faults: Faults) -> MethodRouter<AppState> {
    let (set, end) = (faults.clone(), faults.clone());
    get(async move || Json(faults.injected()))
        .put(async move |State(_): State<AppState>, body: Bytes| inject(set, parse(&body)?).await)
        .delete(async move || inject(end, InjectedFaults::default()).await)
}

fn parse(body: &[u8]) -> Result<InjectedFaults, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::new(ErrorKind::InvalidRequest, error.to_string()))
}

async fn inject(faults: Faults, wanted: InjectedFaults) -> Result<Json<InjectedFaults>, ApiError> {
    tracing::warn!(faults = ?wanted, "injected faults have changed");
    let injecting = {
        let faults = faults.clone();
        move || faults.inject(wanted)
    };
    tokio::task::spawn_blocking(injecting)
        .await
        .map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?
        .map_err(|error| ApiError::new(ErrorKind::InvalidRequest, error.to_string()))?;
    Ok(Json(faults.injected()))
}
