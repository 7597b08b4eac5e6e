//! `GET /version`: which server this is, in vLLM's form.
use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// The server's version.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Version {
    /// A semantic version.
    pub version: &'static str,
}

/// The server's version.
#[utoipa::path(
    get,
    path = "/version",
    tag = "Operations",
    operation_id = "version",
    responses((status = 200, description = "The version", body = Version)),
)]
pub async fn version() -> Json<Version> {
    Json(Version {
        version: env!("CARGO_PKG_VERSION"),
    })
}
