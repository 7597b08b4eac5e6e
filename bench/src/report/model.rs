//! What a report holds. Its JSON form has a published schema, `docs/reference/report.schema.json`.
use super::timeline::Moment;
use crate::{
    analysis::{
        advice::Recommendation,
        breaking_point::BreakingPoint,
        comparison::Comparison,
        cost::{Price, TokenCost},
        findings::{Class, ColdStart, Finding},
        level::Level,
        model_load::ModelLoad,
        operations::Ranking,
        roofline::Roofline,
        span_tree::Node,
        usl::Fit,
    },
    evidence::{
        Missing,
        ends::ContainerEnd,
        facts::{Machine, ModelFacts},
        sample::Role,
        versions::Versions,
    },
    objectives::Objective,
    record::{Knee, SamplePrompt},
};
use candlepower_api::benchmark::{Workload, job::NodeFacts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A latency report. Latencies are microseconds, times of spans nanoseconds, shares 0 to 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was measured, as a title.
    pub title: String,
    /// Who is responsible for it, where somebody said so.
    pub author: Option<String>,
    /// The version of Candlepower that wrote it.
    pub written_by: String,
    /// The run.
    pub run: RunInfo,
    /// What counts as good enough.
    pub objectives: Vec<Objective>,
    /// What it comes to.
    pub conclusion: Conclusion,
    /// The served model, as far as it is known.
    pub model: Option<ModelFacts>,
    /// The software that serves it.
    pub server: Option<String>,
    /// Versions of the software that took part; reports written before these were asked for lack them.
    #[serde(default)]
    pub versions: Versions,
    /// The server's machine.
    pub machine: Option<Machine>,
    /// What Kubernetes knows of the nodes that the target's pods ran on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeFacts>,
    /// The spec of the LLMDeployment, where the target was one.
    pub deployment: Option<serde_json::Value>,
    /// The spec of the LLMBenchmark, where the run was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benchmark: Option<serde_json::Value>,
    /// Where metrics come from.
    pub metrics_source: Option<String>,
    /// Where figures of GPUs come from, where the server itself does not export them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_source: Option<String>,
    /// Where traces come from.
    pub traces_source: Option<String>,
    /// Containers of the target that ended while the load was on; absent where nobody told how they fare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_ends: Option<Vec<ContainerEnd>>,
    /// The scenarios, in the order in which they ran.
    pub levels: Vec<Level>,
    /// Critical-path shares by scenario.
    pub operations: Vec<Operations>,
    /// Single traces: the percentiles and the slowest.
    pub breakdowns: Vec<Breakdown>,
    /// Use of the machine.
    pub roofline: Option<Roofline>,
    /// How throughput scales.
    pub scalability: Option<Fit>,
    /// The first load that is too much.
    pub breaking_point: Option<BreakingPoint>,
    /// How the first request fared.
    pub cold_start: Option<ColdStart>,
    /// Where the time of the model's last start went, where its trace was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_load: Option<ModelLoad>,
    /// Why it is slow, the worst first.
    pub findings: Vec<Finding>,
    /// What to do, the most urgent first.
    pub recommendations: Vec<Recommendation>,
    /// Measured before and after.
    pub comparisons: Vec<Comparison>,
    /// What the machine costs.
    pub price: Option<Price>,
    /// What tokens cost.
    pub costs: Vec<TokenCost>,
    /// Load, throughput and resources over time.
    pub timeline: Vec<Moment>,
    /// What could not be measured, and why.
    pub missing: Vec<Missing>,
}

/// The run that a report is about.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunInfo {
    /// When it started (RFC 3339).
    pub started_at: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The address that was loaded.
    pub url: String,
    /// The model that requests asked for.
    pub model: String,
    /// What the requests asked for.
    pub workload: Workload,
    /// How prompts were given their lengths.
    pub prompt_lengths: String,
    /// How answers were given their lengths.
    pub output_lengths: String,
    /// The version of the load generator.
    pub generator: String,
    /// Why scenarios are missing, where some are.
    pub stopped: Option<String>,
    /// What a search for the highest load within the objectives found.
    pub knee: Option<Knee>,
    /// The first prompt of each length that was sent, cut where it is long; of a replay, some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<SamplePrompt>,
}

/// What a report comes to.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conclusion {
    /// In one word.
    pub outcome: Outcome,
    /// What limits the model; none on a healthy run.
    pub primary_bottleneck: Option<Class>,
    /// In two or three sentences.
    pub summary: String,
}

/// A report in one word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Every objective has a figure in every scenario, and was met.
    Met,
    /// At least one objective was missed.
    Missed,
    /// None was seen to be missed, but not every objective has a figure in every scenario.
    Inconclusive,
    /// The load generator was the limit, so nothing is said about the server.
    Void,
    /// No request was answered.
    NoAnswers,
}

/// Critical-path shares of one scenario's sample of traces.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operations {
    /// The scenario.
    pub scenario: String,
    /// Its operations, the slowest first.
    #[serde(flatten)]
    pub ranking: Ranking,
}

/// One trace, as a tree.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Breakdown {
    /// The scenario.
    pub scenario: String,
    /// Which request it is.
    pub role: Role,
    /// Its spans.
    pub root: Node,
}
