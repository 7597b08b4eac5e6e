//! TCP ports.

/// The server: API, health and metrics.
pub const SERVER_HTTP: u16 = 8080;
/// The name of [`SERVER_HTTP`] in Services and pods.
pub const SERVER_HTTP_NAME: &str = "http";
/// The operator: health and metrics.
pub const OPERATOR_HTTP: u16 = 8080;
/// The name of [`OPERATOR_HTTP`] in Services and pods.
pub const OPERATOR_HTTP_NAME: &str = "http";
