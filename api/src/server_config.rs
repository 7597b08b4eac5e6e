//! The server's configuration: written by the operator into a ConfigMap, read by the server,
//! overridden field by field by environment and flags.
mod device;
mod report;

pub use device::{Device, UnknownDevice};
pub use report::{LoadReport, LoadStage, LoadedModel};

use crate::{
    names::{paths, ports},
    precision::Precision,
    value::{ByteSize, Duration, Percentage},
};
use serde::{Deserialize, Serialize};
use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

/// The whole configuration file (YAML or JSON). Only `model` has no default: its `path` or `source`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerConfig {
    /// Which model to serve.
    pub model: ModelConfig,
    /// How a model is fetched that is not on a volume.
    #[serde(default)]
    pub fetch: FetchConfig,
    /// Batching and memory.
    #[serde(default)]
    pub engine: EngineConfig,
    /// The HTTP side.
    #[serde(default)]
    pub http: HttpConfig,
    /// Who may send requests.
    #[serde(default)]
    pub access: AccessConfig,
    /// Traces.
    #[serde(default)]
    pub tracing: TracingConfig,
    /// Logs.
    #[serde(default)]
    pub log: LogConfig,
    /// Means for tests.
    #[serde(default)]
    pub debug: DebugConfig,
    /// Where to leave the last words when loading fails.
    #[serde(default = "default_termination_log")]
    pub termination_log: PathBuf,
}

/// Which model to serve, and how.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelConfig {
    /// A GGUF file, a safetensors file with its `config.json` beside it, or a folder with both.
    /// Empty where `source` is fetched instead.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub path: PathBuf,
    /// Where to fetch the model from: `hf://owner/repository`, `https://host/path`,
    /// `s3://bucket/key` or `oci://registry/repository:tag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Branch, tag or commit of an `hf://` repository; default: `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Which file of a source that holds several, as a name or pattern such as `*Q4_K_M.gguf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The name that requests use; default: the file's name without its extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_name: Option<String>,
    /// SHA-256 of the file in hexadecimal; checked when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// A `tokenizer.json`, as a path or a source; default: the GGUF's own tokenizer, or the one in
    /// the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// The precision of the weights in memory.
    #[serde(default)]
    pub precision: Precision,
    /// Load and warm up at start; otherwise at the first request.
    #[serde(default = "yes")]
    pub preload: bool,
}

/// How a model is fetched that is not on a volume. Credentials and endpoints come from the
/// environment ([`crate::names::fetching`]).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FetchConfig {
    /// The folder that keeps what was fetched.
    pub cache: PathBuf,
    /// Let files and credentials travel without encryption: for a mirror inside a cluster, and for
    /// tests.
    pub allow_plain_http: bool,
    /// Connections that bring files, and pieces of long ones, at the same time; default: 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            cache: paths::CACHE_DIR.into(),
            allow_plain_http: false,
            connections: None,
        }
    }
}

/// Batching and memory.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Where the model is computed.
    pub device: Device,
    /// Sequences computed at once.
    pub max_batch_size: usize,
    /// How long an idle engine waits for company before the first step.
    pub max_batch_wait: Duration,
    /// Requests that may wait; one more gets 429.
    pub max_queue_depth: usize,
    /// Longest sequence (prompt and answer) in tokens; default: the model's own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_context_length: Option<usize>,
    /// Memory for the KV cache; default: what `max_batch_size` sequences of full length need, or
    /// what the memory limit leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache_memory: Option<ByteSize>,
    /// Most prompt tokens computed in one step.
    pub prefill_chunk: usize,
    /// Whether a prompt that begins as an earlier one did goes on with its KV cache.
    pub prefix_caching: bool,
    /// Threads for tensor work; default: the cores that the cgroup allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Memory that the process may use; default: the cgroup's limit. On a GPU, what is free of its
    /// own memory counts instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<ByteSize>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            device: Device::Auto,
            max_batch_size: 16,
            max_batch_wait: Duration::default(),
            max_queue_depth: 256,
            max_context_length: None,
            kv_cache_memory: None,
            prefill_chunk: 512,
            prefix_caching: true,
            threads: None,
            memory_limit: None,
        }
    }
}

/// The HTTP side.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; with `tls` it has probes and metrics only.
    pub port: u16,
    /// A folder with a certificate and its key ([`paths::TLS_CERTIFICATE`], [`paths::TLS_KEY`]): requests are answered
    /// by HTTPS alone, on `tls_port`. Without it there is no HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<PathBuf>,
    /// Port to listen on for HTTPS.
    pub tls_port: u16,
    /// Largest request body.
    pub body_limit: ByteSize,
    /// How long a request may take, from its first byte to its last; a request may ask for less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Duration>,
    /// How long running requests may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// After SIGTERM, how long to keep accepting while endpoints are being withdrawn.
    pub drain_delay: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".to_owned(),
            port: ports::SERVER_HTTP,
            tls: None,
            tls_port: ports::SERVER_HTTPS,
            body_limit: ByteSize::mebibytes(2),
            request_timeout: None,
            drain_timeout: Duration::from_secs(60),
            drain_delay: Duration::default(),
        }
    }
}

/// Who may send requests.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AccessConfig {
    /// A folder whose every file is an API key; requests need one of them. Without it everybody may send requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<PathBuf>,
    /// Requests that each key may send in a minute; default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
}

/// Traces by OTLP over gRPC.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TracingConfig {
    /// The collector, such as `http://collector:4317` or `https://collector:4317`; without it no span
    /// is exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Share of the requests without a sampling decision of their own that is traced.
    pub sampling_ratio: Percentage,
    /// A request that waits longer for its first token is always traced, and so is one that fails
    /// through the server's fault.
    pub slow_first_token: Duration,
    /// A request whose tokens come further apart, on average, is always traced, too.
    pub slow_output_token: Duration,
    /// Put prompts and answers into spans. They may hold personal data.
    pub capture_prompts: bool,
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            sampling_ratio: Percentage::of_hundred(10.0),
            slow_first_token: Duration::from_secs(2),
            slow_output_token: Duration::from_millis(500),
            capture_prompts: false,
        }
    }
}

/// Means for tests, off by default.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DebugConfig {
    /// Let anybody who reaches the server slow it down and make it fail, by `PUT /debug/faults`, so
    /// that alerts can be tried out.
    pub allow_fault_injection: bool,
}

/// Faults that are injected now: body of `PUT /debug/faults` and of its answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct InjectedFaults {
    /// Added to the encoding of each prompt.
    pub tokenize_delay: Duration,
    /// Added before a request enters the queue.
    pub first_token_delay: Duration,
    /// Added to each step of the engine.
    pub step_delay: Duration,
    /// Share of the generation requests that fail with status 500.
    pub error_rate: Option<Percentage>,
    /// Memory that is held for nothing.
    pub memory: Option<ByteSize>,
    /// The engine panics in its next step, which ends the process.
    pub engine_panic: bool,
}

/// Logs to standard output.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LogConfig {
    /// `text` for people, `json` for collectors.
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `candlepower_server=debug,info`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Json,
            filter: "info".to_owned(),
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    #[default]
    Json,
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not YAML of the right form.
    #[error("the configuration cannot be read: {0}")]
    Malformed(String),
}

impl ServerConfig {
    /// A configuration with defaults for everything but the model's path.
    pub fn for_model(path: impl Into<PathBuf>) -> Self {
        Self {
            model: ModelConfig {
                path: path.into(),
                preload: true,
                ..ModelConfig::default()
            },
            fetch: FetchConfig::default(),
            engine: EngineConfig::default(),
            http: HttpConfig::default(),
            access: AccessConfig::default(),
            tracing: TracingConfig::default(),
            log: LogConfig::default(),
            debug: DebugConfig::default(),
            termination_log: default_termination_log(),
        }
    }

    /// Reads YAML (or JSON, which is YAML too).
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        serde_saphyr::from_str(text).map_err(|error| ConfigError::Malformed(error.to_string()))
    }

    /// Writes YAML.
    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        serde_saphyr::to_string(self).map_err(|error| ConfigError::Malformed(error.to_string()))
    }
}

fn default_termination_log() -> PathBuf {
    paths::TERMINATION_LOG.into()
}

/// The source that `given` is, where it is not a path.
pub fn as_source(given: &Path) -> Option<&str> {
    given.to_str().filter(|text| text.contains("://"))
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_the_model_is_is_required() {
        let config = ServerConfig::from_yaml("model: {path: /models/a.gguf}").unwrap();
        assert_eq!(config, ServerConfig::for_model("/models/a.gguf"));
        let config = ServerConfig::from_yaml("model: {source: 'hf://a/b'}").unwrap();
        assert_eq!(config.model.source.as_deref(), Some("hf://a/b"));
        assert!(ServerConfig::from_yaml("engine: {maxBatchSize: 4}").is_err());
    }

    #[test]
    fn a_configuration_survives_being_written_and_read() {
        let mut config = ServerConfig::for_model("/models/a.gguf");
        config.model.precision = Precision::Q4_1;
        config.engine.device = Device::Cuda;
        config.engine.kv_cache_memory = Some(ByteSize::gibibytes(2));
        config.tracing.endpoint = Some("http://collector:4317".into());
        let text = config.to_yaml().unwrap();
        assert_eq!(ServerConfig::from_yaml(&text).unwrap(), config, "{text}");
    }

    #[test]
    fn a_misspelt_field_is_refused_by_name() {
        let error =
            ServerConfig::from_yaml("model: {path: a}\nengine: {maxBatchSzie: 4}").unwrap_err();
        assert!(error.to_string().contains("maxBatchSzie"), "{error}");
    }
}
