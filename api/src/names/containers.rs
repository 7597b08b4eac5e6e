//! Containers of a model's pod.

/// The inference server.
pub const SERVER: &str = "server";
/// The Prometheus beside it, in mode Sidecar.
pub const PROMETHEUS: &str = "prometheus";
/// The Jaeger beside it, in mode Sidecar.
pub const JAEGER: &str = "jaeger";
