//! `spec.objectives`: what counts as good enough.
use crate::value::{Duration, Percentage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What counts as good enough.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Objectives {
    /// Time to first token.
    pub ttft: LatencyObjective,
    /// Mean time per output token.
    pub tpot: Duration,
    /// Generated tokens per second.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub tokens_per_second: i32,
    /// Share of failed requests.
    pub error_rate: Percentage,
}

/// Limits of a latency's percentiles.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LatencyObjective {
    /// Median.
    pub p50: Duration,
    /// 95th percentile.
    pub p95: Duration,
    /// 99th percentile.
    pub p99: Duration,
}

impl Default for LatencyObjective {
    fn default() -> Self {
        Self {
            p50: Duration::from_millis(500),
            p95: Duration::from_secs(1),
            p99: Duration::from_secs(2),
        }
    }
}

impl Default for Objectives {
    fn default() -> Self {
        Self {
            ttft: LatencyObjective::default(),
            tpot: Duration::from_millis(100),
            tokens_per_second: 30,
            error_rate: Percentage::of_hundred(1.0),
        }
    }
}
