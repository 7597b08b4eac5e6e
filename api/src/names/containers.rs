//! Containers of pods.

/// The inference server.
pub const SERVER: &str = "server";
/// The Prometheus beside it, in mode Sidecar.
pub const PROMETHEUS: &str = "prometheus";
/// The Jaeger beside it, in mode Sidecar.
pub const JAEGER: &str = "jaeger";
/// The load generator, in a benchmark's pod.
pub const BENCH: &str = "bench";
/// The look at a machine, in the pod that a benchmark has on it.
pub const PROBE: &str = "probe";
