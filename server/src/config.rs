//! From flags, environment and file to the one typed configuration.
//!
//! A flag goes before the environment, the environment before the file, the file before the
//! default.
mod validate;

use candlepower_api::{
    Precision,
    server_config::{self, Device, LogFormat, ServerConfig},
    value::{ByteSize, Duration, Percentage},
};
use clap::{Args, Parser};
use std::{io, num::NonZeroU32, path::PathBuf};

/// Serves one language model over an OpenAI-compatible API.
///
/// Every option can also be given as an environment variable or in a configuration file. A flag
/// goes before the environment, the environment before the file.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "candlepower-server",
    version,
    after_help = "Example:\n  candlepower-server --model SmolLM2-135M-Instruct.Q4_1.gguf --log-format text\n  curl http://localhost:8080/generate -H 'Content-Type: application/json' -d '{\"prompt\": \"Hello\"}'\n\nThe API's documentation is at http://localhost:8080/docs."
)]
pub struct Arguments {
    /// Configuration file (YAML or JSON).
    #[arg(long, env = "CANDLEPOWER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which model to serve, and how.
    #[command(flatten)]
    pub model: ModelArguments,
    /// Batching and memory.
    #[command(flatten)]
    pub engine: EngineArguments,
    /// The HTTP side.
    #[command(flatten)]
    pub http: HttpArguments,
    /// Who may send requests.
    #[command(flatten)]
    pub access: AccessArguments,
    /// Traces and logs.
    #[command(flatten)]
    pub telemetry: TelemetryArguments,
    /// Let anybody who reaches the server slow it down and make it fail, by PUT /debug/faults; for
    /// tests of alerts [default: false].
    #[arg(
        long,
        env = "CANDLEPOWER_ALLOW_FAULT_INJECTION",
        help_heading = "Debugging",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub allow_fault_injection: Option<bool>,
}

/// Which model to serve, and how.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Model")]
pub struct ModelArguments {
    /// The model: a GGUF file, a safetensors file, or a folder with config.json; or where to fetch
    /// it: hf://OWNER/NAME, https://HOST/FILE, s3://BUCKET/KEY, oci://REGISTRY/REPOSITORY:TAG.
    #[arg(long, env = "CANDLEPOWER_MODEL", value_name = "FILE|SOURCE")]
    pub model: Option<PathBuf>,
    /// Branch, tag or commit of an hf:// repository [default: main].
    #[arg(long, env = "CANDLEPOWER_REVISION", value_name = "REVISION")]
    pub revision: Option<String>,
    /// Which file of a source that holds several, such as *Q4_K_M.gguf.
    #[arg(long, env = "CANDLEPOWER_FILE", value_name = "PATTERN")]
    pub file: Option<String>,
    /// The name that requests use [default: the file's name without its extension].
    #[arg(long, env = "CANDLEPOWER_SERVED_NAME", value_name = "NAME")]
    pub served_name: Option<String>,
    /// A tokenizer.json, as a file or a source [default: the model's own tokenizer].
    #[arg(long, env = "CANDLEPOWER_TOKENIZER", value_name = "FILE|SOURCE")]
    pub tokenizer: Option<PathBuf>,
    /// Precision of the weights in memory, such as q8_0 [default: auto].
    #[arg(long, env = "CANDLEPOWER_PRECISION", value_name = "PRECISION")]
    pub precision: Option<Precision>,
    /// Load and warm up at start, or else at the first request [default: true].
    #[arg(
        long,
        env = "CANDLEPOWER_PRELOAD",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub preload: Option<bool>,
    /// SHA-256 that the file must have.
    #[arg(long, env = "CANDLEPOWER_SHA256", value_name = "HEX")]
    pub sha256: Option<String>,
    /// Folder that keeps what was fetched [default: /cache].
    #[arg(long, env = "CANDLEPOWER_CACHE_FOLDER", value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Let http:// sources and mirrors be fetched from; files and tokens then travel in the clear
    /// [default: false].
    #[arg(
        long,
        env = "CANDLEPOWER_ALLOW_PLAIN_HTTP",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub allow_plain_http: Option<bool>,
    /// Connections that fetch files, and pieces of long ones, at the same time [default: 4].
    #[arg(long, env = "CANDLEPOWER_FETCH_CONNECTIONS", value_name = "N")]
    pub fetch_connections: Option<usize>,
}

/// Batching and memory.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Engine")]
pub struct EngineArguments {
    /// Where the model is computed: auto, cpu or cuda [default: auto].
    #[arg(long, env = "CANDLEPOWER_DEVICE", value_name = "DEVICE")]
    pub device: Option<Device>,
    /// Sequences computed at once [default: 16].
    #[arg(long, env = "CANDLEPOWER_MAX_BATCH_SIZE", value_name = "N")]
    pub max_batch_size: Option<usize>,
    /// How long an idle engine waits for company before the first step [default: 0s].
    #[arg(long, env = "CANDLEPOWER_MAX_BATCH_WAIT", value_name = "DURATION")]
    pub max_batch_wait: Option<Duration>,
    /// Requests that may wait; one more gets 429 [default: 256].
    #[arg(long, env = "CANDLEPOWER_MAX_QUEUE_DEPTH", value_name = "N")]
    pub max_queue_depth: Option<usize>,
    /// Longest prompt and answer together [default: the model's own limit].
    #[arg(long, env = "CANDLEPOWER_MAX_CONTEXT_LENGTH", value_name = "TOKENS")]
    pub max_context_length: Option<usize>,
    /// Memory for the KV cache, such as 2Gi [default: what a full batch needs or the limit leaves].
    #[arg(long, env = "CANDLEPOWER_KV_CACHE_MEMORY", value_name = "SIZE")]
    pub kv_cache_memory: Option<ByteSize>,
    /// Most prompt tokens computed in one step [default: 512].
    #[arg(long, env = "CANDLEPOWER_PREFILL_CHUNK", value_name = "TOKENS")]
    pub prefill_chunk: Option<usize>,
    /// Whether a prompt that begins as an earlier one did goes on with its KV cache [default: true].
    #[arg(long, env = "CANDLEPOWER_PREFIX_CACHING", value_name = "true|false")]
    pub prefix_caching: Option<bool>,
    /// Threads for tensor work [default: the cores that the cgroup allows].
    #[arg(long, env = "CANDLEPOWER_THREADS", value_name = "N")]
    pub threads: Option<usize>,
    /// Memory that the process may use, on a CPU [default: the cgroup's limit].
    #[arg(long, env = "CANDLEPOWER_MEMORY_LIMIT", value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
}

/// The HTTP side.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArguments {
    /// Address to listen on [default: 0.0.0.0].
    #[arg(long, env = "CANDLEPOWER_HOST", value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Port to listen on; with --tls it has probes and metrics only [default: 8080].
    #[arg(long, env = "CANDLEPOWER_PORT")]
    pub port: Option<u16>,
    /// A folder with tls.crt and tls.key: requests are answered by HTTPS alone, on --tls-port [default: no HTTPS].
    #[arg(long, env = "CANDLEPOWER_TLS", value_name = "FOLDER")]
    pub tls: Option<PathBuf>,
    /// Port to listen on for HTTPS [default: 8443].
    #[arg(long, env = "CANDLEPOWER_TLS_PORT", value_name = "PORT")]
    pub tls_port: Option<u16>,
    /// Largest request body [default: 2Mi].
    #[arg(long, env = "CANDLEPOWER_BODY_LIMIT", value_name = "SIZE")]
    pub body_limit: Option<ByteSize>,
    /// How long a request may take; the header X-Request-Timeout-Seconds asks for less [default: no
    /// limit].
    #[arg(long, env = "CANDLEPOWER_REQUEST_TIMEOUT", value_name = "DURATION")]
    pub request_timeout: Option<Duration>,
    /// How long running requests may go on after SIGTERM [default: 1m].
    #[arg(long, env = "CANDLEPOWER_DRAIN_TIMEOUT", value_name = "DURATION")]
    pub drain_timeout: Option<Duration>,
    /// How long to keep accepting after SIGTERM, while endpoints are withdrawn [default: 0s].
    #[arg(long, env = "CANDLEPOWER_DRAIN_DELAY", value_name = "DURATION")]
    pub drain_delay: Option<Duration>,
}

/// Who may send requests.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Access")]
pub struct AccessArguments {
    /// A folder whose every file is an API key; requests need one of them [default: none is needed].
    #[arg(long, env = "CANDLEPOWER_API_KEYS", value_name = "FOLDER")]
    pub api_keys: Option<PathBuf>,
    /// Requests that each key may send in a minute [default: no limit].
    #[arg(long, env = "CANDLEPOWER_REQUESTS_PER_MINUTE", value_name = "N")]
    pub requests_per_minute: Option<NonZeroU32>,
}

/// Traces and logs.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryArguments {
    /// OpenTelemetry collector (OTLP over gRPC), such as http://collector:4317 [default:
    /// OTEL_EXPORTER_OTLP_ENDPOINT, or no traces].
    #[arg(long, env = "CANDLEPOWER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// The standard's variable for the same; ours goes before it.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide = true)]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// Share of the requests to trace where the caller did not decide [default: 10%].
    #[arg(long, env = "CANDLEPOWER_SAMPLING_RATIO", value_name = "PERCENT")]
    pub sampling_ratio: Option<Percentage>,
    /// Trace every request that waits longer for its first token [default: 2s].
    #[arg(long, env = "CANDLEPOWER_SLOW_FIRST_TOKEN", value_name = "DURATION")]
    pub slow_first_token: Option<Duration>,
    /// Trace every request whose tokens come further apart on average [default: 500ms].
    #[arg(long, env = "CANDLEPOWER_SLOW_OUTPUT_TOKEN", value_name = "DURATION")]
    pub slow_output_token: Option<Duration>,
    /// Put prompts and answers into spans; they may hold personal data [default: false].
    #[arg(
        long,
        env = "CANDLEPOWER_CAPTURE_PROMPTS",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub capture_prompts: Option<bool>,
    /// Form of the log lines: text or json [default: json].
    #[arg(long, env = "CANDLEPOWER_LOG_FORMAT", value_name = "FORMAT", value_parser = log_format)]
    pub log_format: Option<LogFormat>,
    /// What to log, such as info or candlepower_server=debug,info [default: info].
    #[arg(long, env = "CANDLEPOWER_LOG", value_name = "FILTER")]
    pub log_filter: Option<String>,
}

/// A configuration that cannot be used. The message says what to write.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// The file is not a configuration.
    #[error(transparent)]
    Malformed(#[from] server_config::ConfigError),
    /// There is no model.
    #[error(
        "no model: give a file, a folder or a source with --model or CANDLEPOWER_MODEL, or model.path or model.source in --config FILE"
    )]
    NoModel,
    /// A value that makes no sense.
    #[error("{field} is {value}: {cure}")]
    Invalid {
        /// The field, as the file names it.
        field: &'static str,
        /// What it is.
        value: String,
        /// What to write.
        cure: &'static str,
    },
}

/// The configuration of this process. Reads the file that `arguments` name.
pub fn load(arguments: Arguments) -> Result<ServerConfig, ConfigError> {
    let file = match &arguments.config {
        None => None,
        Some(path) => {
            Some(
                std::fs::read_to_string(path).map_err(|problem| ConfigError::Unreadable {
                    path: path.clone(),
                    problem,
                })?,
            )
        }
    };
    resolve(arguments, file.as_deref())
}

/// The configuration that `arguments` and the file's text amount to.
pub fn resolve(arguments: Arguments, file: Option<&str>) -> Result<ServerConfig, ConfigError> {
    let mut config = match (file, &arguments.model.model) {
        (Some(text), _) => ServerConfig::from_yaml(text)?,
        (None, Some(path)) => ServerConfig::for_model(path),
        (None, None) => return Err(ConfigError::NoModel),
    };
    arguments.model.apply(&mut config);
    arguments.engine.apply(&mut config);
    arguments.http.apply(&mut config);
    set_some(&mut config.access.api_keys, arguments.access.api_keys);
    set_some(
        &mut config.access.requests_per_minute,
        arguments.access.requests_per_minute,
    );
    arguments.telemetry.apply(&mut config);
    set(
        &mut config.debug.allow_fault_injection,
        arguments.allow_fault_injection,
    );
    validate::validate(&config)?;
    Ok(config)
}

fn set<T>(field: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *field = value;
    }
}

fn set_some<T>(field: &mut Option<T>, given: Option<T>) {
    if given.is_some() {
        *field = given;
    }
}

impl ModelArguments {
    fn apply(self, config: &mut ServerConfig) {
        set(&mut config.fetch.cache, self.cache);
        set(&mut config.fetch.allow_plain_http, self.allow_plain_http);
        set_some(&mut config.fetch.connections, self.fetch_connections);
        let model = &mut config.model;
        if let Some(given) = self.model {
            (model.path, model.source) = match server_config::as_source(&given) {
                Some(source) => (PathBuf::new(), Some(source.to_owned())),
                None => (given, None),
            };
            // They belong to the model that the file names.
            (model.revision, model.file) = (None, None);
        }
        set_some(&mut model.revision, self.revision);
        set_some(&mut model.file, self.file);
        set_some(&mut model.served_name, self.served_name);
        set_some(&mut model.tokenizer, self.tokenizer);
        set(&mut model.precision, self.precision);
        set(&mut model.preload, self.preload);
        set_some(&mut model.sha256, self.sha256);
    }
}

impl EngineArguments {
    fn apply(self, config: &mut ServerConfig) {
        let engine = &mut config.engine;
        set(&mut engine.device, self.device);
        set(&mut engine.max_batch_size, self.max_batch_size);
        set(&mut engine.max_batch_wait, self.max_batch_wait);
        set(&mut engine.max_queue_depth, self.max_queue_depth);
        set_some(&mut engine.max_context_length, self.max_context_length);
        set_some(&mut engine.kv_cache_memory, self.kv_cache_memory);
        set(&mut engine.prefill_chunk, self.prefill_chunk);
        set(&mut engine.prefix_caching, self.prefix_caching);
        set_some(&mut engine.threads, self.threads);
        set_some(&mut engine.memory_limit, self.memory_limit);
    }
}

impl HttpArguments {
    fn apply(self, config: &mut ServerConfig) {
        let http = &mut config.http;
        set(&mut http.host, self.host);
        set(&mut http.port, self.port);
        set_some(&mut http.tls, self.tls);
        set(&mut http.tls_port, self.tls_port);
        set(&mut http.body_limit, self.body_limit);
        set_some(&mut http.request_timeout, self.request_timeout);
        set(&mut http.drain_timeout, self.drain_timeout);
        set(&mut http.drain_delay, self.drain_delay);
    }
}

impl TelemetryArguments {
    fn apply(self, config: &mut ServerConfig) {
        let endpoint = self.otlp_endpoint.or(self.otel_exporter_otlp_endpoint);
        set_some(
            &mut config.tracing.endpoint,
            endpoint.filter(|endpoint| !endpoint.is_empty()),
        );
        set(&mut config.tracing.sampling_ratio, self.sampling_ratio);
        set(&mut config.tracing.slow_first_token, self.slow_first_token);
        set(
            &mut config.tracing.slow_output_token,
            self.slow_output_token,
        );
        set(&mut config.tracing.capture_prompts, self.capture_prompts);
        set(&mut config.log.format, self.log_format);
        set(&mut config.log.filter, self.log_filter);
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write text or json".to_owned()),
    }
}

#[cfg(test)]
mod tests;
