//! TCP ports.

/// The server: API, health and metrics; with TLS health and metrics alone.
pub const SERVER_HTTP: u16 = 8080;
/// The name of [`SERVER_HTTP`] in Services and pods.
pub const SERVER_HTTP_NAME: &str = "http";
/// The server with TLS: everything by HTTPS.
pub const SERVER_HTTPS: u16 = 8443;
/// The name of [`SERVER_HTTPS`] in Services and pods.
pub const SERVER_HTTPS_NAME: &str = "https";
/// The operator: health and metrics.
pub const OPERATOR_HTTP: u16 = 8080;
/// The name of [`OPERATOR_HTTP`] in Services and pods.
pub const OPERATOR_HTTP_NAME: &str = "http";

/// The Prometheus beside the server, in mode Sidecar.
pub const PROMETHEUS: u16 = 9090;
/// The name of [`PROMETHEUS`] in Services and pods.
pub const PROMETHEUS_NAME: &str = "prometheus";
/// Jaeger's pages and query API.
pub const JAEGER_QUERY: u16 = 16686;
/// The name of [`JAEGER_QUERY`] in Services and pods.
pub const JAEGER_QUERY_NAME: &str = "jaeger";
/// OTLP over gRPC.
pub const OTLP_GRPC: u16 = 4317;
