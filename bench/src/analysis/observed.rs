//! What the server did and used during one window, from its own metrics. Pure.
#![allow(
    clippy::enum_glob_use,
    reason = "a table of nearly all of them reads better without their type's name"
)]
use crate::{
    evidence::{
        Evidence,
        series::Quantity::{self, *},
    },
    record::Micros,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the server did and used during a scenario; what it did not export is absent.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// Requests that were computed, on average.
    pub running: Option<f64>,
    /// The most requests that were computed at once.
    pub running_max: Option<f64>,
    /// Requests that waited, on average.
    pub waiting: Option<f64>,
    /// The most requests that waited.
    pub waiting_max: Option<f64>,
    /// The largest reserved share of the KV cache, 0 to 1.
    pub kv_cache_max: Option<f64>,
    /// Sequences that lost their place in the batch.
    pub preemptions: Option<f64>,
    /// Prompt tokens per second.
    pub prompt_tokens_per_second: Option<f64>,
    /// Generated tokens per second.
    pub generated_tokens_per_second: Option<f64>,
    /// Share of prompt tokens that the prefix cache held, 0 to 1.
    pub prefix_cache_hits: Option<f64>,
    /// Share of the time in which a request was computed, 0 to 1.
    pub busy: Option<f64>,
    /// Engine steps per second.
    pub steps_per_second: Option<f64>,
    /// Sequences of a step, on average.
    pub batch: Option<f64>,
    /// Seconds to the first token as the server saw them, on average.
    pub first_token_seconds: Option<f64>,
    /// Seconds to the last byte as the server saw them, on average.
    pub e2e_seconds: Option<f64>,
    /// Seconds in the queue, on average.
    pub queue_seconds: Option<f64>,
    /// Seconds from first step to first token, on average.
    pub prefill_seconds: Option<f64>,
    /// Seconds from first to last token, on average.
    pub decode_seconds: Option<f64>,
    /// CPU in cores, on average.
    pub cpu_cores: Option<f64>,
    /// Cores that may be used.
    pub cpu_limit: Option<f64>,
    /// Share of scheduler periods that used up the quota, 0 to 1.
    pub throttled_periods: Option<f64>,
    /// Seconds stood still for lack of quota, per second.
    pub throttled_seconds_per_second: Option<f64>,
    /// Most memory in bytes.
    pub memory_max: Option<f64>,
    /// Memory that may be used, in bytes.
    pub memory_limit: Option<f64>,
    /// Bytes received per second.
    pub network_received_per_second: Option<f64>,
    /// Bytes sent per second.
    pub network_sent_per_second: Option<f64>,
    /// Bytes read from disks per second.
    pub disk_read_per_second: Option<f64>,
    /// Bytes written to disks per second.
    pub disk_written_per_second: Option<f64>,
    /// Time in which a kernel ran on the busiest GPU, 0 to 1.
    pub gpu_utilization: Option<f64>,
    /// Time in which its memory controller worked, 0 to 1.
    pub gpu_memory_activity: Option<f64>,
    /// Most GPU memory in bytes.
    pub gpu_memory_max: Option<f64>,
    /// All GPU memory in bytes.
    pub gpu_memory_total: Option<f64>,
    /// Highest temperature in degrees Celsius.
    pub gpu_temperature_max: Option<f64>,
    /// Watts, on average.
    pub gpu_power: Option<f64>,
    /// How often the server began anew.
    pub restarts: Option<f64>,
    /// Cores of the server's node that worked for anybody, on average.
    pub node_cpu_cores: Option<f64>,
    /// Cores that a hypervisor took from the node, on average.
    pub node_stolen_cores: Option<f64>,
    /// Most memory of the node in use, in bytes.
    pub node_memory_max: Option<f64>,
}

/// What the server did inside a window.
pub fn observe(evidence: &Evidence, window: (Micros, Micros)) -> Observed {
    let look = Look { evidence, window };
    Observed {
        running: look.mean(Running),
        running_max: look.max(Running),
        waiting: look.mean(Waiting),
        waiting_max: look.max(Waiting),
        kv_cache_max: look.max(KvCacheUsage),
        preemptions: look.gained(Preemptions),
        prompt_tokens_per_second: look.rate(PromptTokens),
        generated_tokens_per_second: look.rate(GenerationTokens),
        prefix_cache_hits: look.ratio(PrefixCacheHits, PrefixCacheQueries),
        busy: look.rate(BusySeconds),
        steps_per_second: look.rate(Steps),
        batch: look.ratio(StepSequences, Steps),
        first_token_seconds: look.ratio(FirstTokenSeconds, FirstTokenCount),
        e2e_seconds: look.ratio(E2eSeconds, E2eCount),
        queue_seconds: look.ratio(QueueSeconds, QueueCount),
        prefill_seconds: look.ratio(PrefillSeconds, PrefillCount),
        decode_seconds: look.ratio(DecodeSeconds, DecodeCount),
        cpu_cores: look.rate(CpuSeconds),
        cpu_limit: look.mean(CpuLimit),
        throttled_periods: look.ratio(ThrottledPeriods, CpuPeriods),
        throttled_seconds_per_second: look.rate(ThrottledSeconds),
        memory_max: look.max(Memory),
        memory_limit: look.max(MemoryLimit),
        network_received_per_second: look.rate(NetworkReceived),
        network_sent_per_second: look.rate(NetworkSent),
        disk_read_per_second: look.rate(DiskRead),
        disk_written_per_second: look.rate(DiskWritten),
        gpu_utilization: look.mean(GpuUtilization),
        gpu_memory_activity: look.mean(GpuMemoryActivity),
        gpu_memory_max: look.max(GpuMemoryUsed),
        gpu_memory_total: look.max(GpuMemoryTotal),
        gpu_temperature_max: look.max(GpuTemperature),
        gpu_power: look.mean(GpuPower),
        restarts: look.gained(Restarts),
        node_cpu_cores: look.rate(NodeCpuSeconds),
        node_stolen_cores: look.rate(NodeStolenSeconds),
        node_memory_max: look.max(NodeMemory),
    }
}

struct Look<'a> {
    evidence: &'a Evidence,
    window: (Micros, Micros),
}

impl Look<'_> {
    fn mean(&self, quantity: Quantity) -> Option<f64> {
        self.evidence.series(quantity)?.mean(self.window)
    }

    fn max(&self, quantity: Quantity) -> Option<f64> {
        self.evidence.series(quantity)?.max(self.window)
    }

    fn rate(&self, quantity: Quantity) -> Option<f64> {
        self.evidence.series(quantity)?.rate(self.window)
    }

    fn gained(&self, quantity: Quantity) -> Option<f64> {
        Some(self.evidence.series(quantity)?.increase(self.window)?.0)
    }

    /// What one counter gained for each that another gained; none where that gained nothing.
    fn ratio(&self, above: Quantity, below: Quantity) -> Option<f64> {
        let (above, below) = (self.gained(above)?, self.gained(below)?);
        (below > 0.0).then(|| above / below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::series::Series;

    #[test]
    fn counters_become_rates_and_means_and_what_is_absent_stays_absent() {
        let series = |quantity, points: &[(Micros, f64)]| Series {
            quantity,
            metric: String::new(),
            points: points.to_vec(),
        };
        let evidence = Evidence {
            series: vec![
                series(QueueSeconds, &[(0, 1.0), (10_000_000, 5.0)]),
                series(QueueCount, &[(0, 10.0), (10_000_000, 30.0)]),
                series(CpuSeconds, &[(0, 0.0), (10_000_000, 15.0)]),
                series(Waiting, &[(0, 2.0), (10_000_000, 6.0)]),
            ],
            ..Evidence::default()
        };
        let observed = observe(&evidence, (0, 10_000_000));
        assert_eq!(observed.queue_seconds, Some(0.2));
        assert_eq!(observed.cpu_cores, Some(1.5));
        assert_eq!(
            (observed.waiting, observed.waiting_max),
            (Some(4.0), Some(6.0))
        );
        assert_eq!(observed.gpu_utilization, None);
    }
}
