//! Metric names. The suffixes are vLLM's, so that one relabelling rule (`llm_(.*)` to `vllm:$1`)
//! makes existing dashboards and autoscalers work.

/// Gauge: requests that a step is being computed for.
pub const NUM_REQUESTS_RUNNING: &str = "llm_num_requests_running";
/// Gauge: requests admitted and waiting for a place in the batch.
pub const NUM_REQUESTS_WAITING: &str = "llm_num_requests_waiting";
/// Gauge: reserved share of the KV cache, 0 to 1.
pub const KV_CACHE_USAGE: &str = "llm_kv_cache_usage_perc";
/// Gauge: 1 while a model is loaded.
pub const MODEL_LOADED: &str = "llm_model_loaded";
/// Gauge, always 1: what is loaded, in its labels.
pub const MODEL_INFO: &str = "llm_model_info";
/// Gauge: bytes of the weights in memory.
pub const MODEL_WEIGHTS_BYTES: &str = "llm_model_weights_bytes";
/// Gauge: longest sequence (prompt and answer) in tokens.
pub const MODEL_CONTEXT_LENGTH: &str = "llm_model_context_length_tokens";
/// Gauge: seconds that loading and warming up took.
pub const MODEL_LOAD_SECONDS: &str = "llm_model_load_duration_seconds";

/// Counter: prompt tokens processed.
pub const PROMPT_TOKENS: &str = "llm_prompt_tokens_total";
/// Counter: tokens generated.
pub const GENERATION_TOKENS: &str = "llm_generation_tokens_total";
/// Counter by `finished_reason`: requests answered.
pub const REQUEST_SUCCESS: &str = "llm_request_success_total";
/// Counter by `error_type`: requests refused or failed.
pub const REQUEST_ERRORS: &str = "llm_request_errors_total";

/// Histogram, seconds: request start to first token.
pub const TIME_TO_FIRST_TOKEN: &str = "llm_time_to_first_token_seconds";
/// Histogram, seconds: gap between successive tokens.
pub const INTER_TOKEN_LATENCY: &str = "llm_inter_token_latency_seconds";
/// Histogram, seconds: (last token − first token) / (tokens − 1), per request.
pub const REQUEST_TIME_PER_OUTPUT_TOKEN: &str = "llm_request_time_per_output_token_seconds";
/// Histogram, seconds: request start to last byte.
pub const E2E_REQUEST_LATENCY: &str = "llm_e2e_request_latency_seconds";
/// Histogram, seconds: admission to first step.
pub const REQUEST_QUEUE_TIME: &str = "llm_request_queue_time_seconds";
/// Histogram, seconds: first step to first token.
pub const REQUEST_PREFILL_TIME: &str = "llm_request_prefill_time_seconds";
/// Histogram, seconds: first token to last token.
pub const REQUEST_DECODE_TIME: &str = "llm_request_decode_time_seconds";
/// Histogram, seconds: first step to last token.
pub const REQUEST_INFERENCE_TIME: &str = "llm_request_inference_time_seconds";
/// Histogram: prompt tokens per request.
pub const REQUEST_PROMPT_TOKENS: &str = "llm_request_prompt_tokens";
/// Histogram: generated tokens per request.
pub const REQUEST_GENERATION_TOKENS: &str = "llm_request_generation_tokens";
/// Histogram: packed rows per engine step.
pub const ITERATION_TOKENS: &str = "llm_iteration_tokens_total";
/// Histogram: sequences per engine step.
pub const BATCH_SIZE: &str = "llm_batch_size";

/// Label of [`REQUEST_SUCCESS`]: `stop`, `length`, or `abort` where the client went away.
pub const LABEL_FINISHED_REASON: &str = "finished_reason";
/// Label of [`REQUEST_ERRORS`].
pub const LABEL_ERROR_TYPE: &str = "error_type";
/// Label of [`MODEL_INFO`]: the name that requests use.
pub const LABEL_MODEL_NAME: &str = "model_name";
/// Label of [`MODEL_INFO`]: the architecture that the weights declare.
pub const LABEL_ARCHITECTURE: &str = "architecture";
/// Label of [`MODEL_INFO`]: the precision of the weights.
pub const LABEL_PRECISION: &str = "precision";
/// Label of [`MODEL_INFO`]: `cpu` or `cuda`.
pub const LABEL_DEVICE: &str = "device";
