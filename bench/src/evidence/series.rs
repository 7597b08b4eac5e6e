//! Time series of what a server said about itself, on the clock of the run.
use crate::record::Micros;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a series measures, whatever the server calls it.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Quantity {
    /// Requests that a step is being computed for.
    Running,
    /// Requests that wait for a place in the batch.
    Waiting,
    /// Reserved share of the KV cache, 0 to 1.
    KvCacheUsage,
    /// Prompt tokens processed.
    PromptTokens,
    /// Tokens generated.
    GenerationTokens,
    /// Sequences that lost their place in the batch.
    Preemptions,
    /// Prompt tokens looked up in the prefix cache.
    PrefixCacheQueries,
    /// Prompt tokens that the prefix cache held.
    PrefixCacheHits,
    /// Seconds in which at least one request was computed.
    BusySeconds,
    /// Engine steps.
    Steps,
    /// Sequences, summed over all steps.
    StepSequences,
    /// Tokens, summed over all steps.
    StepTokens,
    /// Seconds from a request's start to its first token, summed.
    FirstTokenSeconds,
    /// Requests in that sum.
    FirstTokenCount,
    /// Seconds from a request's start to its last byte, summed.
    E2eSeconds,
    /// Requests in that sum.
    E2eCount,
    /// Seconds that requests waited, summed.
    QueueSeconds,
    /// Requests in that sum.
    QueueCount,
    /// Seconds from a request's first step to its first token, summed.
    PrefillSeconds,
    /// Requests in that sum.
    PrefillCount,
    /// Seconds from first to last token, summed.
    DecodeSeconds,
    /// Requests in that sum.
    DecodeCount,
    /// Bytes of the weights in memory.
    WeightsBytes,
    /// Longest sequence in tokens.
    ContextLength,
    /// Seconds that loading the model took.
    LoadSeconds,
    /// 1 while a model is loaded.
    ModelLoaded,
    /// CPU time in seconds.
    CpuSeconds,
    /// Cores that may be used.
    CpuLimit,
    /// Scheduler periods with work to do.
    CpuPeriods,
    /// Periods that used up the quota.
    ThrottledPeriods,
    /// Seconds that stood still because the quota was used up.
    ThrottledSeconds,
    /// Memory in use, in bytes.
    Memory,
    /// Memory that may be used, in bytes.
    MemoryLimit,
    /// Bytes that the network received.
    NetworkReceived,
    /// Bytes that the network sent.
    NetworkSent,
    /// Bytes read from disks.
    DiskRead,
    /// Bytes written to disks.
    DiskWritten,
    /// Time in which a kernel ran on the GPU, 0 to 1.
    GpuUtilization,
    /// Time in which the GPU's memory controller worked, 0 to 1.
    GpuMemoryActivity,
    /// GPU memory in use, in bytes.
    GpuMemoryUsed,
    /// All GPU memory, in bytes.
    GpuMemoryTotal,
    /// Degrees Celsius.
    GpuTemperature,
    /// Watts.
    GpuPower,
    /// How often the server began anew: its counters fell.
    Restarts,
    /// Seconds that all cores of the server's node worked, whoever they worked for.
    NodeCpuSeconds,
    /// Seconds that a hypervisor took from them.
    NodeStolenSeconds,
    /// Memory of the node that is in use, caches left out, in bytes.
    NodeMemory,
}

/// Whether a series may fall.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A state: it rises and falls.
    Gauge,
    /// A sum: it only rises, and starts anew at 0 when its process does.
    Counter,
}

impl Quantity {
    /// Whether it is a state or a sum.
    pub const fn kind(self) -> Kind {
        match self {
            Self::PromptTokens
            | Self::GenerationTokens
            | Self::Preemptions
            | Self::PrefixCacheQueries
            | Self::PrefixCacheHits
            | Self::BusySeconds
            | Self::Steps
            | Self::StepSequences
            | Self::StepTokens
            | Self::FirstTokenSeconds
            | Self::FirstTokenCount
            | Self::E2eSeconds
            | Self::E2eCount
            | Self::QueueSeconds
            | Self::QueueCount
            | Self::PrefillSeconds
            | Self::PrefillCount
            | Self::DecodeSeconds
            | Self::DecodeCount
            | Self::CpuSeconds
            | Self::CpuPeriods
            | Self::ThrottledPeriods
            | Self::ThrottledSeconds
            | Self::NetworkReceived
            | Self::NetworkSent
            | Self::DiskRead
            | Self::DiskWritten
            | Self::Restarts
            | Self::NodeCpuSeconds
            | Self::NodeStolenSeconds => Kind::Counter,
            _ => Kind::Gauge,
        }
    }

    /// Whether values of several pods or GPUs are one by their largest rather than by their sum.
    pub const fn largest(self) -> bool {
        matches!(
            self,
            Self::KvCacheUsage
                | Self::ContextLength
                | Self::WeightsBytes
                | Self::LoadSeconds
                | Self::ModelLoaded
                | Self::GpuUtilization
                | Self::GpuMemoryActivity
                | Self::GpuTemperature
        )
    }

    /// The value of several pods or GPUs together.
    pub fn together(self, one: f64, other: f64) -> f64 {
        if self.largest() {
            one.max(other)
        } else {
            one + other
        }
    }
}

/// One quantity over time.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// What it measures.
    pub quantity: Quantity,
    /// The server's name for it.
    pub metric: String,
    /// Moments, in microseconds of the run's clock, and values; in the order of time.
    pub points: Vec<(Micros, f64)>,
}

impl Series {
    /// Moves points from microseconds since 1970 to the clock of a run that started at `started_at`; those before it are
    /// left out.
    pub(super) fn start_at(&mut self, started_at: u64) {
        self.points.retain(|(time, _)| *time >= started_at);
        for (time, _) in &mut self.points {
            *time -= started_at;
        }
    }

    /// The points inside a window.
    pub fn within(&self, window: (Micros, Micros)) -> impl Iterator<Item = (Micros, f64)> {
        let points = self.points.iter().copied();
        points.filter(move |(time, _)| window.0 <= *time && *time <= window.1)
    }

    /// Mean of a gauge inside a window.
    pub fn mean(&self, window: (Micros, Micros)) -> Option<f64> {
        let (sum, count) = self
            .within(window)
            .fold((0.0, 0u32), |(sum, count), (_, value)| {
                (sum + value, count + 1)
            });
        (count > 0).then(|| sum / f64::from(count))
    }

    /// Largest value inside a window.
    pub fn max(&self, window: (Micros, Micros)) -> Option<f64> {
        self.within(window).map(|(_, value)| value).reduce(f64::max)
    }

    /// What a counter gained between its first and last point inside a window, and the seconds
    /// between them. A counter that fell was started anew.
    pub fn increase(&self, window: (Micros, Micros)) -> Option<(f64, f64)> {
        let points: Vec<_> = self.within(window).collect();
        let (first, last) = (points.first()?, points.last()?);
        let seconds = (last.0 - first.0) as f64 / 1e6;
        let gained = points.windows(2).map(|pair| {
            let (before, after) = (pair[0].1, pair[1].1);
            if after < before {
                after
            } else {
                after - before
            }
        });
        (seconds > 0.0).then(|| (gained.sum(), seconds))
    }

    /// What a counter gained per second inside a window.
    pub fn rate(&self, window: (Micros, Micros)) -> Option<f64> {
        self.increase(window)
            .map(|(gained, seconds)| gained / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(Micros, f64)]) -> Series {
        Series {
            quantity: Quantity::CpuSeconds,
            metric: "cpu".to_owned(),
            points: points.to_vec(),
        }
    }

    #[test]
    fn a_rate_is_the_gain_between_the_points_of_the_window() {
        let cpu = series(&[
            (0, 0.0),
            (1_000_000, 5.0),
            (3_000_000, 9.0),
            (9_000_000, 99.0),
        ]);
        assert_eq!(cpu.rate((1_000_000, 3_000_000)), Some(2.0));
    }

    #[test]
    fn a_counter_that_fell_was_started_anew() {
        let cpu = series(&[(0, 90.0), (1_000_000, 100.0), (2_000_000, 4.0)]);
        assert_eq!(cpu.increase((0, 2_000_000)), Some((14.0, 2.0)));
    }

    #[test]
    fn one_point_has_no_rate_and_no_point_no_mean() {
        let cpu = series(&[(5, 1.0)]);
        assert_eq!(cpu.rate((0, 10)), None);
        assert_eq!(cpu.mean((6, 10)), None);
        assert_eq!(cpu.mean((0, 10)), Some(1.0));
    }
}
