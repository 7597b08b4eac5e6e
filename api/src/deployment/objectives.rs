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
    pub threshold: Duration,
    /// The share, such as `99%`.
    pub target: Percentage,
}
