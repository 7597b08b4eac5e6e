//! Span names and attributes. Attributes follow OpenTelemetry's GenAI conventions where they
//! exist, and the `gen_ai.latency.*` names that vLLM and SGLang emit where they do not.

/// Encoding the prompt.
pub const TOKENIZE_INPUT: &str = "tokenize_input";
/// Waiting for a place in the batch.
pub const QUEUE: &str = "queue";
/// The engine's work; parent of [`PREFILL`] and [`DECODE`].
pub const MODEL_GENERATE: &str = "model_generate";
/// First step to first token.
pub const PREFILL: &str = "prefill";
/// First token to last token.
pub const DECODE: &str = "decode";
/// Turning tokens into text.
pub const DECODE_OUTPUT: &str = "decode_output";
/// Loading a model, a trace of its own.
pub const LOAD_MODEL: &str = "load_model";
/// Fetching a model that is not on a volume.
pub const DOWNLOAD: &str = "download";
/// Reading the weights.
pub const READ_WEIGHTS: &str = "read_weights";
/// The first, discarded generation.
pub const WARM_UP: &str = "warm_up";

/// `chat` or `text_completion`.
pub const OPERATION_NAME: &str = "gen_ai.operation.name";
/// Always `candlepower`.
pub const PROVIDER_NAME: &str = "gen_ai.provider.name";
/// The model that the request names.
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
/// Prompt tokens.
pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Generated tokens.
pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Why each choice ended.
pub const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// Seconds in the queue.
pub const TIME_IN_QUEUE: &str = "gen_ai.latency.time_in_queue";
/// Seconds from request start to first token.
pub const TIME_TO_FIRST_TOKEN: &str = "gen_ai.latency.time_to_first_token";
/// Seconds from request start to last token.
pub const E2E: &str = "gen_ai.latency.e2e";
/// Seconds from first step to first token.
pub const TIME_IN_MODEL_PREFILL: &str = "gen_ai.latency.time_in_model_prefill";
/// Seconds from first token to last token.
pub const TIME_IN_MODEL_DECODE: &str = "gen_ai.latency.time_in_model_decode";

/// Why the request is exported although it was not chosen at its start: [`BECAUSE_SLOW`] or
/// [`BECAUSE_ERROR`].
pub const SAMPLED_BECAUSE: &str = "candlepower.sampled_because";
/// Its first token came late, or not at all for as long; or its tokens came far apart.
pub const BECAUSE_SLOW: &str = "slow";
/// It failed through the server's fault.
pub const BECAUSE_ERROR: &str = "error";
/// Resource attribute: the pod's namespace.
pub const K8S_NAMESPACE: &str = "k8s.namespace.name";
/// Resource attribute: the pod's name.
pub const K8S_POD: &str = "k8s.pod.name";
/// Resource attribute: the `LLMDeployment` that the pod belongs to.
pub const LLM_DEPLOYMENT: &str = "candlepower.llmdeployment";
