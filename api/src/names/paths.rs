//! HTTP routes and file paths.

/// OpenAI chat completions.
pub const CHAT_COMPLETIONS: &str = "/v1/chat/completions";
/// OpenAI completions.
pub const COMPLETIONS: &str = "/v1/completions";
/// OpenAI model list.
pub const MODELS: &str = "/v1/models";
/// The simple form: prompt in, text and timings out.
pub const GENERATE: &str = "/generate";
/// The same as [`HEALTH_READY`], where vLLM, llama.cpp and the tools around them have it.
pub const HEALTH: &str = "/health";
/// 200 once the model is loaded; 503 with a [`crate::server_config::LoadReport`] until then.
pub const HEALTH_STARTUP: &str = "/health/startup";
/// 200 while the engine's loop makes progress.
pub const HEALTH_LIVE: &str = "/health/live";
/// 200 while requests are accepted.
pub const HEALTH_READY: &str = "/health/ready";
/// Prometheus metrics, of the server and of the operator.
pub const METRICS: &str = "/metrics";
/// The server's version, where vLLM has its own.
pub const VERSION: &str = "/version";
/// The API's documentation as a page.
pub const DOCS: &str = "/docs";
/// The API's OpenAPI 3.1 document.
pub const OPENAPI: &str = "/openapi.json";
/// Injected faults, for tests of alerts; only where the server allows them.
pub const DEBUG_FAULTS: &str = "/debug/faults";
/// The operator's liveness.
pub const HEALTHZ: &str = "/healthz";
/// The operator's readiness.
pub const READYZ: &str = "/readyz";

/// Folder of the server's configuration in its pod.
pub const CONFIG_DIR: &str = "/etc/candlepower";
/// File name of the server's configuration in [`CONFIG_DIR`] and key in its ConfigMap.
pub const CONFIG_FILE: &str = "server.yaml";
/// Folder where the Secret with API keys is mounted, a file for each.
pub const API_KEYS_DIR: &str = "/etc/candlepower-api-keys";
/// Folder where the Secret with the server's certificate is mounted.
pub const TLS_DIR: &str = "/etc/candlepower-tls";
/// File name of a certificate, with those between it and its authority, in PEM form; key in Secrets of the type
/// `kubernetes.io/tls`.
pub const TLS_CERTIFICATE: &str = "tls.crt";
/// File name of a certificate's private key in PEM form; key in the same Secrets.
pub const TLS_KEY: &str = "tls.key";
/// File name of the certificate of the authority, where such a Secret has it.
pub const TLS_AUTHORITY: &str = "ca.crt";
/// Folder where the model's volume is mounted.
pub const MODELS_DIR: &str = "/models";
/// Folder of fetched models in the server's pod.
pub const CACHE_DIR: &str = "/cache";
/// Where a container leaves its last words for Kubernetes.
pub const TERMINATION_LOG: &str = "/dev/termination-log";
