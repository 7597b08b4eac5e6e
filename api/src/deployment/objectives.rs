//! `spec.objectives`: service level objectives over 30 days, and the alerts that they bring.
use crate::value::{Duration, Percentage};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Service level objectives over 30 days. Each one that is set brings alerts for how fast its
/// error budget burns.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Objectives {
    /// Share of the requests that do not fail through the server's fault, such as `99.9%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability: Option<Percentage>,
    /// Share of the requests that get their first token in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_first_token: Option<LatencyObjective>,
}

/// A share of the requests that is fast enough.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyObjective {
    /// What is fast enough; an edge of the histogram, such as 500ms, 1s, 2s, 2500ms or 5s.
    #[x_kube(validation = Rule::new("!self.matches('^([0-9.]+(ms|s|m|h))+$') || duration(self) in [duration('1ms'), duration('5ms'), duration('10ms'), duration('20ms'), duration('40ms'), duration('60ms'), duration('80ms'), duration('100ms'), duration('250ms'), duration('500ms'), duration('750ms'), duration('1s'), duration('2s'), duration('2500ms'), duration('5s'), duration('7500ms'), duration('10s'), duration('20s'), duration('40s'), duration('80s'), duration('160s'), duration('640s'), duration('2560s')]").message("objectives.timeToFirstToken.threshold: write an edge of the histogram: 1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750ms or 1, 2, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560s, because only there the requests are counted"))]
    pub threshold: Duration,
    /// The share, such as `99%`.
    pub target: Percentage,
}
