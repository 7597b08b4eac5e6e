//! `spec.alerts`: thresholds of the alerts, each with defaults of its own.
use crate::value::{Duration, Percentage};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Thresholds of the alerts.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alerts {
    /// How far back rates and percentiles look; at least four times `observability.metrics.interval`.
    #[serde(default = "five_minutes")]
    #[x_kube(validation = Rule::new("self.matches('[1-9]')").message("alerts.window: write a time above 0, such as 5m"))]
    pub window: Duration,
    /// The slowest twentieth of the requests waits too long for its first token.
    #[serde(default)]
    pub time_to_first_token_p95: TimeToFirstTokenAlert,
    /// Memory runs out.
    #[serde(default)]
    pub memory_utilization: MemoryAlert,
    /// Too many requests fail.
    #[serde(default)]
    pub error_rate: ErrorRateAlert,
    /// Too few tokens per second while requests run.
    #[serde(default)]
    pub throughput: ThroughputAlert,
}

const fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            window: five_minutes(),
            time_to_first_token_p95: TimeToFirstTokenAlert::default(),
            memory_utilization: MemoryAlert::default(),
            error_rate: ErrorRateAlert::default(),
            throughput: ThroughputAlert::default(),
        }
    }
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Wake somebody.
    Critical,
    /// Look at it in working hours.
    #[default]
    Warning,
    /// Good to know.
    Info,
}

macro_rules! alert {
    ($(#[$doc:meta])* $name:ident, $threshold:ty, $schema:meta, $default:expr, $hold_seconds:expr, $severity:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            /// The value from which the alert counts.
            #[$schema]
            pub threshold: $threshold,
            /// How long the value must stay there before the alert fires.
            pub r#for: Duration,
            /// How urgent it is.
            pub severity: Severity,
            /// Whether the alert exists at all.
            pub enabled: bool,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    threshold: $default,
                    r#for: Duration::from_secs($hold_seconds),
                    severity: Severity::$severity,
                    enabled: true,
                }
            }
        }
    };
}

alert!(
    /// Fires when the 95th percentile of the time to first token is above the threshold.
    TimeToFirstTokenAlert, Duration, serde(), Duration::from_secs(2), 300, Warning
);
alert!(
    /// Fires when memory use is above the threshold.
    MemoryAlert, Percentage, serde(), Percentage::of_hundred(90.0), 120, Critical
);
alert!(
    /// Fires when the share of failed requests is above the threshold.
    ErrorRateAlert, Percentage, serde(), Percentage::of_hundred(5.0), 300, Critical
);
alert!(
    /// Fires when tokens per second stay below the threshold while requests run.
    ThroughputAlert, i32, schemars(range(min = 1, max = 10_000_000)), 20, 300, Warning
);
