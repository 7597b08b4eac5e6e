//! `status`: how far the benchmark is, and its verdict.
use crate::value::Duration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far the benchmark is, and its verdict.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LLMBenchmarkStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is true now. `Complete` or `Failed` becomes True at the end.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
    /// What is measured, for the table of `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What is going on, in a word or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The scenario that runs, or ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<ScenarioProgress>,
    /// The main figures: live ones while a scenario runs, then those of the highest load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Each scenario's result.
    #[serde(default)]
    pub scenarios: Vec<ScenarioResult>,
    /// Each variant's result.
    #[serde(default)]
    pub variants: Vec<VariantResult>,
    /// The first level of load at which the objectives were missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaking_point: Option<String>,
    /// What limits the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_bottleneck: Option<String>,
    /// `Met`, `Missed` or `Inconclusive`: whether the objectives were met in every scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// The ConfigMap that holds the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_ref: Option<String>,
    /// When the job was made (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it had ended (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    /// The runs of a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleStatus>,
}

/// The scenario that runs, or ran last.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScenarioProgress {
    /// Its name.
    pub name: String,
    /// The variant that is loaded; absent: the deployment itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How long it has been running.
    pub elapsed: Duration,
    /// Users that are active now, or requests in flight under open arrivals.
    pub users: i32,
}

/// Figures, as text with units; what was not measured is absent.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// Median time to first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_p50: Option<String>,
    /// 95th percentile of the time to first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_p95: Option<String>,
    /// 99th percentile of the time to first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_p99: Option<String>,
    /// Mean time per output token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpot: Option<String>,
    /// Generated tokens per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<String>,
    /// Requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<String>,
    /// Share of failed requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<String>,
}

/// One scenario's result.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScenarioResult {
    /// Its name.
    pub name: String,
    /// Its load, such as `10 users`.
    pub load: String,
    /// Whether it met the objectives; absent where that cannot be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
    /// What was measured.
    pub summary: Summary,
}

/// One variant's result.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantResult {
    /// Its name.
    pub name: String,
    /// What the comparison says, or why there is none.
    pub result: String,
}

/// The runs of a schedule.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// The run that was made last: an `LLMBenchmark` of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<String>,
    /// The time that it was due (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_due: Option<String>,
    /// When the next one is due (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_due: Option<String>,
}
