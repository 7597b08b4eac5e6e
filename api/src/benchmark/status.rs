//! `status`: how far the benchmark is, and its verdict.
use crate::value::Duration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far the benchmark is, and its verdict.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LLMBenchmarkStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is true now; `Complete` sums it up.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
    /// The scenario that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<ScenarioProgress>,
    /// The main figures, as text with units.
    #[serde(default)]
    pub summary: BTreeMap<String, String>,
    /// The first level of load at which the objectives were missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaking_point: Option<String>,
    /// What limits the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_bottleneck: Option<String>,
    /// The ConfigMap that holds the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_ref: Option<String>,
}

/// The scenario that runs.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScenarioProgress {
    /// Its name.
    pub name: String,
    /// How long it has been running.
    pub elapsed: Duration,
    /// Users that are active now.
    pub users: i32,
}
