//! Recording rules over the alerts' window. Their names are `level:metric:operation`; the level is
//! `llmdeployment`, which also keeps the namespace.
use super::{Rule, record};
use crate::observability::{Subject, queries::Scope};
use candlepower_api::{deployment::Device, names::metrics as names};

/// Seconds: median of the time to first token.
pub const TTFT_P50: &str = "llmdeployment:llm_time_to_first_token_seconds:p50";
/// Seconds: 95th percentile of the time to first token.
pub const TTFT_P95: &str = "llmdeployment:llm_time_to_first_token_seconds:p95";
/// Seconds: 99th percentile of the time to first token.
pub const TTFT_P99: &str = "llmdeployment:llm_time_to_first_token_seconds:p99";
/// Share, 0 to 1: requests that failed through the server's fault.
pub const ERROR_RATIO: &str = "llmdeployment:llm_request_errors:ratio_rate";
/// Tokens per second while requests run.
pub const THROUGHPUT: &str = "llmdeployment:llm_generation_tokens:per_busy_second";
/// Tokens per second, idle time included.
pub const TOKEN_RATE: &str = "llmdeployment:llm_generation_tokens:rate";
/// Share of the time, 0 to 1, in which the busiest pod computed requests.
pub const BUSY: &str = "llmdeployment:llm_engine_busy_seconds:rate_max";
/// Share of the memory limit, 0 to 1, of the pod that is nearest to it.
pub const MEMORY: &str = "llmdeployment:llm_container_memory:utilization_max";
/// Share of the memory, 0 to 1, of the fullest GPU.
pub const GPU_MEMORY: &str = "llmdeployment:llm_gpu_memory:utilization_max";
/// Seconds that the slowest pod took to load its model.
pub const LOAD_SECONDS: &str = "llmdeployment:llm_model_load_duration_seconds:max";

/// Every series that [`rules`] records.
pub const ALL: [&str; 10] = [
    TTFT_P50,
    TTFT_P95,
    TTFT_P99,
    ERROR_RATIO,
    THROUGHPUT,
    TOKEN_RATE,
    BUSY,
    MEMORY,
    GPU_MEMORY,
    LOAD_SECONDS,
];

pub(super) fn rules(subject: &Subject<'_>) -> Vec<Rule> {
    let scope = Scope::of_resource(subject);
    let ttft = |quantile| scope.quantile(quantile, names::TIME_TO_FIRST_TOKEN);
    let mut rules = vec![
        record(TTFT_P50, ttft(0.5)),
        record(TTFT_P95, ttft(0.95)),
        record(TTFT_P99, ttft(0.99)),
        record(ERROR_RATIO, scope.error_ratio()),
        record(THROUGHPUT, scope.throughput()),
        record(TOKEN_RATE, scope.rate(names::GENERATION_TOKENS)),
        record(BUSY, scope.busy()),
        record(MEMORY, scope.memory_utilization()),
    ];
    if subject.spec.resources.device() == Device::Cuda {
        rules.push(record(GPU_MEMORY, scope.gpu_memory_utilization()));
    }
    // 0 until the model is loaded, which would spoil the average.
    rules.push(record(
        LOAD_SECONDS,
        format!("{} > 0", scope.max(names::MODEL_LOAD_SECONDS)),
    ));
    rules
}
