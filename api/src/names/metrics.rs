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
/// Gauge: bytes that one token takes in the KV cache, in all layers and at the cache's own precision.
pub const MODEL_KV_BYTES_PER_TOKEN: &str = "llm_model_kv_cache_bytes_per_token";
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
/// Counter by `error_type` and `fault`: requests refused or failed.
pub const REQUEST_ERRORS: &str = "llm_request_errors_total";
/// Counter: sequences that lost their place in the batch. Admission reserves what a request may
/// need, so it stays 0; vLLM's dashboards ask for it.
pub const NUM_PREEMPTIONS: &str = "llm_num_preemptions_total";
/// Counter, tokens: prompt tokens that were looked up in the prefix cache.
pub const PREFIX_CACHE_QUERIES: &str = "llm_prefix_cache_queries_total";
/// Counter, tokens: prompt tokens that the prefix cache held.
pub const PREFIX_CACHE_HITS: &str = "llm_prefix_cache_hits_total";
/// Counter, seconds: time in which at least one request was being computed. Tokens by these
/// seconds are the throughput while requests run, however rarely they come.
pub const ENGINE_BUSY_SECONDS: &str = "llm_engine_busy_seconds_total";

/// Counter: spans that the collector took.
pub const TRACE_SPANS_EXPORTED: &str = "llm_trace_spans_exported_total";
/// Counter: spans that were lost, because the queue was full or the collector did not take them.
pub const TRACE_SPANS_DROPPED: &str = "llm_trace_spans_dropped_total";
/// Counter: batches of spans that could not be sent.
pub const TRACE_EXPORT_FAILURES: &str = "llm_trace_export_failures_total";

/// Counter, seconds: CPU time of the container (its cgroup).
pub const CONTAINER_CPU_SECONDS: &str = "llm_container_cpu_usage_seconds_total";
/// Gauge: cores that the container may use; absent without a limit.
pub const CONTAINER_CPU_LIMIT: &str = "llm_container_cpu_limit_cores";
/// Counter: scheduler periods in which the container had work to do.
pub const CONTAINER_CPU_PERIODS: &str = "llm_container_cpu_periods_total";
/// Counter: periods in which it used up its quota.
pub const CONTAINER_CPU_THROTTLED_PERIODS: &str = "llm_container_cpu_throttled_periods_total";
/// Counter, seconds: time that its threads stood still because the quota was used up.
pub const CONTAINER_CPU_THROTTLED_SECONDS: &str = "llm_container_cpu_throttled_seconds_total";
/// Gauge: memory in use that cannot simply be dropped (what kubelet calls the working set).
pub const CONTAINER_MEMORY: &str = "llm_container_memory_working_set_bytes";
/// Gauge: memory that the container may use; absent without a limit.
pub const CONTAINER_MEMORY_LIMIT: &str = "llm_container_memory_limit_bytes";
/// Counter: bytes that the pod's network received.
pub const CONTAINER_NETWORK_RECEIVED: &str = "llm_container_network_receive_bytes_total";
/// Counter: bytes that the pod's network sent.
pub const CONTAINER_NETWORK_SENT: &str = "llm_container_network_transmit_bytes_total";
/// Counter: bytes read from disks by the container.
pub const CONTAINER_DISK_READ: &str = "llm_container_disk_read_bytes_total";
/// Counter: bytes written to disks by the container.
pub const CONTAINER_DISK_WRITTEN: &str = "llm_container_disk_written_bytes_total";

/// Gauge by `gpu`, always 1: the GPU's name, id and driver, in its labels.
pub const GPU_INFO: &str = "llm_gpu_info";
/// Gauge by `gpu`, 0 to 1: time in which a kernel ran.
pub const GPU_UTILIZATION: &str = "llm_gpu_utilization_ratio";
/// Gauge by `gpu`, 0 to 1: time in which the memory controller worked.
pub const GPU_MEMORY_ACTIVITY: &str = "llm_gpu_memory_controller_utilization_ratio";
/// Gauge by `gpu`: memory in use.
pub const GPU_MEMORY_USED: &str = "llm_gpu_memory_used_bytes";
/// Gauge by `gpu`: memory not in use.
pub const GPU_MEMORY_FREE: &str = "llm_gpu_memory_free_bytes";
/// Gauge by `gpu`: all its memory.
pub const GPU_MEMORY_TOTAL: &str = "llm_gpu_memory_total_bytes";
/// Gauge by `gpu`.
pub const GPU_TEMPERATURE: &str = "llm_gpu_temperature_celsius";
/// Gauge by `gpu`.
pub const GPU_POWER: &str = "llm_gpu_power_watts";

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
/// Label of [`REQUEST_ERRORS`]: [`FAULT_SERVER`] or [`FAULT_CLIENT`].
pub const LABEL_FAULT: &str = "fault";
/// The server failed, or could not take the request: what alerts and objectives count.
pub const FAULT_SERVER: &str = "server";
/// The request was wrong.
pub const FAULT_CLIENT: &str = "client";
/// Label of [`MODEL_INFO`]: the name that requests use.
pub const LABEL_MODEL_NAME: &str = "model_name";
/// Label of [`MODEL_INFO`]: the architecture that the weights declare.
pub const LABEL_ARCHITECTURE: &str = "architecture";
/// Label of [`MODEL_INFO`]: the precision of the weights.
pub const LABEL_PRECISION: &str = "precision";
/// Label of [`MODEL_INFO`]: `cpu` or `cuda`.
pub const LABEL_DEVICE: &str = "device";
/// Label of [`MODEL_INFO`]: `kernels`, `candle`, or `candle-transformers`, which computes one
/// sequence at a time.
pub const LABEL_BACKEND: &str = "backend";
/// Label of [`MODEL_INFO`]: which version of the weights, where it is known.
pub const LABEL_REVISION: &str = "revision";
/// Label of the GPU series: the GPU's index.
pub const LABEL_GPU: &str = "gpu";
