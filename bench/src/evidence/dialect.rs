//! What each server calls the quantities that analysis needs.
#![allow(
    clippy::enum_glob_use,
    reason = "a table of nearly all of them reads better without their type's name"
)]
use super::{
    exposition::Sample,
    series::Quantity::{self, *},
};
use candlepower_api::{benchmark::MetricsDialect, names::metrics};
use std::collections::BTreeMap;

/// A quantity, the metric that has it, and the suffix of a histogram's part.
type Row = (Quantity, &'static str, &'static str);

const SUM: &str = "_sum";
const COUNT: &str = "_count";

const CANDLEPOWER: &[Row] = &[
    (Running, metrics::NUM_REQUESTS_RUNNING, ""),
    (Waiting, metrics::NUM_REQUESTS_WAITING, ""),
    (KvCacheUsage, metrics::KV_CACHE_USAGE, ""),
    (PromptTokens, metrics::PROMPT_TOKENS, ""),
    (GenerationTokens, metrics::GENERATION_TOKENS, ""),
    (Preemptions, metrics::NUM_PREEMPTIONS, ""),
    (PrefixCacheQueries, metrics::PREFIX_CACHE_QUERIES, ""),
    (PrefixCacheHits, metrics::PREFIX_CACHE_HITS, ""),
    (BusySeconds, metrics::ENGINE_BUSY_SECONDS, ""),
    (Steps, metrics::BATCH_SIZE, COUNT),
    (StepSequences, metrics::BATCH_SIZE, SUM),
    (StepTokens, metrics::ITERATION_TOKENS, SUM),
    (FirstTokenSeconds, metrics::TIME_TO_FIRST_TOKEN, SUM),
    (FirstTokenCount, metrics::TIME_TO_FIRST_TOKEN, COUNT),
    (E2eSeconds, metrics::E2E_REQUEST_LATENCY, SUM),
    (E2eCount, metrics::E2E_REQUEST_LATENCY, COUNT),
    (QueueSeconds, metrics::REQUEST_QUEUE_TIME, SUM),
    (QueueCount, metrics::REQUEST_QUEUE_TIME, COUNT),
    (PrefillSeconds, metrics::REQUEST_PREFILL_TIME, SUM),
    (PrefillCount, metrics::REQUEST_PREFILL_TIME, COUNT),
    (DecodeSeconds, metrics::REQUEST_DECODE_TIME, SUM),
    (DecodeCount, metrics::REQUEST_DECODE_TIME, COUNT),
    (WeightsBytes, metrics::MODEL_WEIGHTS_BYTES, ""),
    (ContextLength, metrics::MODEL_CONTEXT_LENGTH, ""),
    (LoadSeconds, metrics::MODEL_LOAD_SECONDS, ""),
    (ModelLoaded, metrics::MODEL_LOADED, ""),
    (CpuSeconds, metrics::CONTAINER_CPU_SECONDS, ""),
    (CpuLimit, metrics::CONTAINER_CPU_LIMIT, ""),
    (CpuPeriods, metrics::CONTAINER_CPU_PERIODS, ""),
    (
        ThrottledPeriods,
        metrics::CONTAINER_CPU_THROTTLED_PERIODS,
        "",
    ),
    (
        ThrottledSeconds,
        metrics::CONTAINER_CPU_THROTTLED_SECONDS,
        "",
    ),
    (Memory, metrics::CONTAINER_MEMORY, ""),
    (MemoryLimit, metrics::CONTAINER_MEMORY_LIMIT, ""),
    (NetworkReceived, metrics::CONTAINER_NETWORK_RECEIVED, ""),
    (NetworkSent, metrics::CONTAINER_NETWORK_SENT, ""),
    (DiskRead, metrics::CONTAINER_DISK_READ, ""),
    (DiskWritten, metrics::CONTAINER_DISK_WRITTEN, ""),
    (GpuUtilization, metrics::GPU_UTILIZATION, ""),
    (GpuMemoryActivity, metrics::GPU_MEMORY_ACTIVITY, ""),
    (GpuMemoryUsed, metrics::GPU_MEMORY_USED, ""),
    (GpuMemoryTotal, metrics::GPU_MEMORY_TOTAL, ""),
    (GpuTemperature, metrics::GPU_TEMPERATURE, ""),
    (GpuPower, metrics::GPU_POWER, ""),
];

const VLLM: &[Row] = &[
    (Running, "vllm:num_requests_running", ""),
    (Waiting, "vllm:num_requests_waiting", ""),
    (KvCacheUsage, "vllm:kv_cache_usage_perc", ""),
    (PromptTokens, "vllm:prompt_tokens_total", ""),
    (GenerationTokens, "vllm:generation_tokens_total", ""),
    (Preemptions, "vllm:num_preemptions_total", ""),
    (PrefixCacheQueries, "vllm:prefix_cache_queries_total", ""),
    (PrefixCacheHits, "vllm:prefix_cache_hits_total", ""),
    (Steps, "vllm:iteration_tokens_total", COUNT),
    (StepTokens, "vllm:iteration_tokens_total", SUM),
    (FirstTokenSeconds, "vllm:time_to_first_token_seconds", SUM),
    (FirstTokenCount, "vllm:time_to_first_token_seconds", COUNT),
    (E2eSeconds, "vllm:e2e_request_latency_seconds", SUM),
    (E2eCount, "vllm:e2e_request_latency_seconds", COUNT),
    (QueueSeconds, "vllm:request_queue_time_seconds", SUM),
    (QueueCount, "vllm:request_queue_time_seconds", COUNT),
    (PrefillSeconds, "vllm:request_prefill_time_seconds", SUM),
    (PrefillCount, "vllm:request_prefill_time_seconds", COUNT),
    (DecodeSeconds, "vllm:request_decode_time_seconds", SUM),
    (DecodeCount, "vllm:request_decode_time_seconds", COUNT),
    (CpuSeconds, "process_cpu_seconds_total", ""),
    (Memory, "process_resident_memory_bytes", ""),
];

/// llama-server has no histograms; its decode calls are its steps.
const LLAMA_CPP: &[Row] = &[
    (Running, "llamacpp:requests_processing", ""),
    (Waiting, "llamacpp:requests_deferred", ""),
    (KvCacheUsage, "llamacpp:kv_cache_usage_ratio", ""),
    (PromptTokens, "llamacpp:prompt_tokens_total", ""),
    (GenerationTokens, "llamacpp:tokens_predicted_total", ""),
    (Steps, "llamacpp:n_decode_total", ""),
];

const fn rows(dialect: MetricsDialect) -> &'static [Row] {
    match dialect {
        MetricsDialect::Candlepower => CANDLEPOWER,
        MetricsDialect::Vllm => VLLM,
        MetricsDialect::Llamacpp => LLAMA_CPP,
    }
}

/// Every quantity that a dialect has, and its metric's whole name.
pub fn metrics_of(dialect: MetricsDialect) -> impl Iterator<Item = (Quantity, String)> {
    rows(dialect)
        .iter()
        .map(|(quantity, name, suffix)| (*quantity, format!("{name}{suffix}")))
}

/// The dialect that a page of metrics is written in, by its names.
pub fn recognise<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<MetricsDialect> {
    names.into_iter().find_map(|name| {
        [
            ("llm_", MetricsDialect::Candlepower),
            ("vllm:", MetricsDialect::Vllm),
            ("llamacpp:", MetricsDialect::Llamacpp),
        ]
        .into_iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map(|(_, dialect)| dialect)
    })
}

/// What one page says: each quantity once, put together from all its labels.
pub fn quantities(dialect: MetricsDialect, page: &[Sample]) -> BTreeMap<Quantity, f64> {
    let mut found = BTreeMap::new();
    for (quantity, name) in metrics_of(dialect) {
        let values = page.iter().filter(|sample| sample.name == name);
        let whole = values
            .map(|sample| sample.value)
            .reduce(|a, b| if quantity.largest() { a.max(b) } else { a + b });
        if let Some(value) = whole {
            found.insert(quantity, value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these are read, not calculated")]
    use super::*;
    use crate::evidence::exposition::samples;

    #[test]
    fn labels_of_one_quantity_are_put_together() {
        let page: Vec<_> = samples(
            "llm_gpu_memory_used_bytes{gpu=\"0\"} 3\nllm_gpu_memory_used_bytes{gpu=\"1\"} 4\n\
             llm_gpu_utilization_ratio{gpu=\"0\"} 0.3\nllm_gpu_utilization_ratio{gpu=\"1\"} 0.9\n\
             llm_batch_size_sum 40\nllm_batch_size_count 10\n",
        )
        .collect();
        let found = quantities(MetricsDialect::Candlepower, &page);
        assert_eq!(found[&GpuMemoryUsed], 7.0);
        assert_eq!(found[&GpuUtilization], 0.9);
        assert_eq!((found[&StepSequences], found[&Steps]), (40.0, 10.0));
    }

    #[test]
    fn a_server_is_known_by_its_names() {
        let all = ["process_x", "vllm:num_requests_running"];
        assert_eq!(recognise(all), Some(MetricsDialect::Vllm));
        assert_eq!(
            recognise(["llamacpp:n_decode_total"]),
            Some(MetricsDialect::Llamacpp)
        );
        assert_eq!(
            recognise(["llm_model_loaded"]),
            Some(MetricsDialect::Candlepower)
        );
        assert_eq!(recognise(["http_requests_total"]), None);
    }

    #[test]
    fn every_dialect_has_the_quantities_of_a_queue() {
        for dialect in [
            MetricsDialect::Candlepower,
            MetricsDialect::Vllm,
            MetricsDialect::Llamacpp,
        ] {
            let all: Vec<_> = metrics_of(dialect).map(|(quantity, _)| quantity).collect();
            assert!(
                all.contains(&Running) && all.contains(&Waiting),
                "{dialect:?}"
            );
        }
    }
}
