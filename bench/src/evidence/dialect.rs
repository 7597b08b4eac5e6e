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

/// A quantity, the metric that has it, and the suffix of a histogram's part. Of several metrics with [`PLUS`] between
/// them it is the sum. Where a quantity has several rows, the first that a page can answer counts: what a server calls
/// it now stands before what it was called.
type Row = (Quantity, &'static str, &'static str);

const PLUS: &str = " + ";

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

/// Its `process_…` metrics are left out: they are those of the process that speaks HTTP, and models are computed in
/// others. Steps that give no token, such as those amid a long prompt, are not among its iterations.
const VLLM: &[Row] = &[
    (Running, "vllm:num_requests_running", ""),
    (Waiting, "vllm:num_requests_waiting", ""),
    (KvCacheUsage, "vllm:kv_cache_usage_perc", ""),
    // Before 0.9; for some versions a page has both.
    (KvCacheUsage, "vllm:gpu_cache_usage_perc", ""),
    (PromptTokens, "vllm:prompt_tokens_total", ""),
    (GenerationTokens, "vllm:generation_tokens_total", ""),
    (Preemptions, "vllm:num_preemptions_total", ""),
    (PrefixCacheQueries, "vllm:prefix_cache_queries_total", ""),
    (PrefixCacheHits, "vllm:prefix_cache_hits_total", ""),
    (
        PrefixCacheQueries,
        "vllm:gpu_prefix_cache_queries_total",
        "",
    ),
    (PrefixCacheHits, "vllm:gpu_prefix_cache_hits_total", ""),
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
];

/// llama-server counts the prompt tokens that its cache held by themselves; all others count them among the prompts'.
const LLAMA_CPP_PROMPTS: &str =
    "llamacpp:prompt_tokens_total + llamacpp:prompt_tokens_cached_total";

/// llama-server has no histograms; its decode calls are its steps.
const LLAMA_CPP: &[Row] = &[
    (Running, "llamacpp:requests_processing", ""),
    (Waiting, "llamacpp:requests_deferred", ""),
    // Until May 2025; nothing has taken its place.
    (KvCacheUsage, "llamacpp:kv_cache_usage_ratio", ""),
    (PromptTokens, LLAMA_CPP_PROMPTS, ""),
    // Until August 2026 it did not say what its cache held.
    (PromptTokens, "llamacpp:prompt_tokens_total", ""),
    (PrefixCacheQueries, LLAMA_CPP_PROMPTS, ""),
    (PrefixCacheHits, "llamacpp:prompt_tokens_cached_total", ""),
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

/// Every quantity that a dialect has, and its metric's whole name. A quantity may come again, under a name of older
/// versions: the first that is found counts.
pub fn metrics_of(dialect: MetricsDialect) -> impl Iterator<Item = (Quantity, String)> {
    rows(dialect)
        .iter()
        .map(|(quantity, name, suffix)| (*quantity, format!("{name}{suffix}")))
}

/// The names of the metrics whose sum `metric` is; mostly it is one.
pub fn addends(metric: &str) -> impl Iterator<Item = &str> {
    metric.split(PLUS)
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

/// A quantity as a page has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The server's name for it.
    pub metric: String,
    /// Its value.
    pub value: f64,
}

/// What one page says: each quantity once, put together from all its labels.
pub fn quantities(dialect: MetricsDialect, page: &[Sample]) -> BTreeMap<Quantity, Reading> {
    let mut found = BTreeMap::new();
    for (quantity, metric) in metrics_of(dialect) {
        // A sum of which a part is missing would be another quantity.
        let parts = addends(&metric).map(|name| over_labels(quantity, name, page));
        if let Some(value) = parts.sum::<Option<f64>>() {
            found
                .entry(quantity)
                .or_insert_with(|| Reading { metric, value });
        }
    }
    found
}

fn over_labels(quantity: Quantity, name: &str, page: &[Sample]) -> Option<f64> {
    let samples = page.iter().filter(|sample| sample.name == name);
    samples
        .map(|sample| sample.value)
        .reduce(|a, b| quantity.together(a, b))
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
        assert_eq!(found[&GpuMemoryUsed].value, 7.0);
        assert_eq!(found[&GpuUtilization].value, 0.9);
        let batch = (found[&StepSequences].value, found[&Steps].value);
        assert_eq!(batch, (40.0, 10.0));
    }

    /// What a server's page says, by the dialect that it is recognised as.
    fn page_of(text: &str) -> BTreeMap<Quantity, Reading> {
        let page: Vec<_> = samples(text).collect();
        let names = page.iter().map(|sample| sample.name.as_str());
        quantities(recognise(names).unwrap(), &page)
    }

    fn values<const N: usize>(
        found: &BTreeMap<Quantity, Reading>,
        of: [Quantity; N],
    ) -> [Option<f64>; N] {
        of.map(|quantity| found.get(&quantity).map(|reading| reading.value))
    }

    /// From 0.9 on, here of two engines; `…_created` and buckets stand beside what counts.
    const VLLM_PAGE: &str = r#"
# HELP process_resident_memory_bytes Resident memory size in bytes.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.104265216e+09
# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 598.85
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="org/model"} 8.0
vllm:num_requests_running{engine="1",model_name="org/model"} 5.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="org/model"} 2.0
vllm:num_requests_waiting{engine="1",model_name="org/model"} 0.0
# HELP vllm:num_requests_waiting_by_reason Number of waiting requests by reason.
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="org/model",reason="capacity"} 2.0
# HELP vllm:gpu_cache_usage_perc GPU KV-cache usage. 1 means 100 percent usage.DEPRECATED: Use vllm:kv_cache_usage_perc instead.
# TYPE vllm:gpu_cache_usage_perc gauge
vllm:gpu_cache_usage_perc{engine="0",model_name="org/model"} 0.25
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="org/model"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="org/model"} 0.75
# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="org/model"} 5.91508e+07
# HELP vllm:prefix_cache_queries_created Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_created gauge
vllm:prefix_cache_queries_created{engine="0",model_name="org/model"} 1.7537953269352946e+09
# HELP vllm:prefix_cache_hits_total Prefix cache hits, in terms of number of cached tokens.
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="org/model"} 3.41766e+07
# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="org/model"} 5.91508e+07
# HELP vllm:iteration_tokens_total Histogram of number of tokens per engine_step.
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="org/model"} 12.0
vllm:iteration_tokens_total_bucket{engine="0",le="+Inf",model_name="org/model"} 29996.0
vllm:iteration_tokens_total_count{engine="0",model_name="org/model"} 29996.0
vllm:iteration_tokens_total_sum{engine="0",model_name="org/model"} 2.57141e+07
# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001",model_name="org/model"} 0.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="org/model"} 978.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="org/model"} 4773.5
"#;

    #[test]
    fn vllm_is_read_over_its_engines_and_not_by_its_front_ends_process() {
        let found = page_of(VLLM_PAGE);
        let queue = values(&found, [Running, Waiting, KvCacheUsage]);
        assert_eq!(queue, [Some(13.0), Some(2.0), Some(0.75)]);
        assert_eq!(found[&KvCacheUsage].metric, "vllm:kv_cache_usage_perc");
        let cache = values(&found, [PromptTokens, PrefixCacheQueries, PrefixCacheHits]);
        assert_eq!(
            cache,
            [Some(59_150_800.0), Some(59_150_800.0), Some(34_176_600.0)]
        );
        let times = values(&found, [Steps, FirstTokenCount, FirstTokenSeconds]);
        assert_eq!(times, [Some(29_996.0), Some(978.0), Some(4_773.5)]);
        assert_eq!(values(&found, [CpuSeconds, Memory]), [None, None]);
    }

    #[test]
    fn vllm_before_0_9_had_other_names_for_its_cache() {
        let found = page_of(
            "vllm:num_requests_running{model_name=\"m\"} 1.0\n\
             vllm:gpu_cache_usage_perc{model_name=\"m\"} 0.5\n\
             vllm:gpu_prefix_cache_queries_total{model_name=\"m\"} 100.0\n\
             vllm:gpu_prefix_cache_hits_total{model_name=\"m\"} 40.0\n",
        );
        assert_eq!(
            values(&found, [KvCacheUsage, PrefixCacheQueries, PrefixCacheHits]),
            [Some(0.5), Some(100.0), Some(40.0)]
        );
        assert_eq!(found[&KvCacheUsage].metric, "vllm:gpu_cache_usage_perc");
    }

    /// Since August 2026. Numbers have six digits.
    const LLAMA_CPP_PAGE: &str = r#"
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 363231
# HELP llamacpp:prompt_tokens_cached_total Number of prompt tokens reused from the cache
# TYPE llamacpp:prompt_tokens_cached_total counter
llamacpp:prompt_tokens_cached_total 4.66638e+06
# HELP llamacpp:prompt_seconds_total Total time spent processing prompts
# TYPE llamacpp:prompt_seconds_total counter
llamacpp:prompt_seconds_total 903.63
# HELP llamacpp:tokens_predicted_total Number of generation tokens processed
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total 3469
# HELP llamacpp:n_decode_total Total number of llama_decode() calls, excluding speculative decoding and multimodal decoding
# TYPE llamacpp:n_decode_total counter
llamacpp:n_decode_total 3510
# HELP llamacpp:requests_processing Number of requests processing
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 4
# HELP llamacpp:requests_deferred Number of requests deferred
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 46
# HELP llamacpp:n_busy_slots_per_decode Average number of busy slots per llama_decode() call
# TYPE llamacpp:n_busy_slots_per_decode gauge
llamacpp:n_busy_slots_per_decode 3.96
# HELP llamacpp:spec_decode_num_accepted_tokens_per_pos_total Accepted tokens per draft position
# TYPE llamacpp:spec_decode_num_accepted_tokens_per_pos_total counter
llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="0"} 7
"#;

    #[test]
    fn prompts_of_llama_server_are_what_it_computed_and_what_its_cache_held() {
        let found = page_of(LLAMA_CPP_PAGE);
        let (computed, held) = (363_231.0, 4_666_380.0);
        assert_eq!(
            values(&found, [PromptTokens, PrefixCacheQueries, PrefixCacheHits]),
            [Some(computed + held), Some(computed + held), Some(held)]
        );
        let others = [Running, Waiting, GenerationTokens, Steps];
        let expected = [4.0, 46.0, 3_469.0, 3_510.0].map(Some);
        assert_eq!(values(&found, others), expected);
        assert_eq!(values(&found, [KvCacheUsage]), [None]);
    }

    #[test]
    fn of_an_older_llama_server_nothing_is_said_about_its_prefix_cache() {
        let found = page_of(
            "llamacpp:prompt_tokens_total 143\nllamacpp:kv_cache_usage_ratio 0.5\n\
             llamacpp:requests_processing 1\n",
        );
        assert_eq!(
            values(&found, [PromptTokens, KvCacheUsage, PrefixCacheHits]),
            [Some(143.0), Some(0.5), None]
        );
        assert_eq!(found[&PromptTokens].metric, "llamacpp:prompt_tokens_total");
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
