//! What the operator and the load's job tell each other, in the ConfigMap that holds the report.
//!
//! The job asks, the operator acts: the job may read and patch this one ConfigMap and nothing else,
//! so that a deployment that is to be measured is made, waited for and removed by the operator.
mod machine;
mod node;
mod termination;

pub use machine::{
    LONGEST_LAST_WORDS, MACHINE, MACHINE_KNOWN_WITHIN, MACHINE_WISH, MachineAnswer, MachineState,
    MachineWish,
};
pub use node::NodeFacts;
pub use termination::Termination;

use super::LLMBenchmarkSpec;
use crate::{benchmark::MetricsDialect, value::Duration};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time};

/// The operator's key: [`Assignment`].
pub const ASSIGNMENT: &str = "assignment.json";
/// The operator's key: [`Answer`] to the last [`Wish`].
pub const ANSWER: &str = "answer.json";
/// The job's key: [`Wish`].
pub const WISH: &str = "wish.json";
/// The job's key: a list of [`Kept`] rounds, for the pod that follows a lost one.
pub const KEPT: &str = "kept.json";
/// The job's key: [`Progress`].
pub const PROGRESS: &str = "progress.json";
/// The job's key: [`Summary`], written last.
pub const SUMMARY: &str = "summary.json";
/// The job's key: the whole report.
pub const REPORT_JSON: &str = "report.json";
/// The job's key: the report as Markdown.
pub const REPORT_MARKDOWN: &str = "report.md";

/// The job's keys that the operator reads.
pub const READ_BY_OPERATOR: [&str; 4] = [WISH, MACHINE_WISH, PROGRESS, SUMMARY];

/// Environment variable with the name of the ConfigMap.
pub const MAILBOX_VARIABLE: &str = "CANDLEPOWER_MAILBOX";
/// Environment variable with the job's namespace.
pub const NAMESPACE_VARIABLE: &str = "CANDLEPOWER_NAMESPACE";
/// Environment variable with the name of the job's node.
pub const NODE_VARIABLE: &str = "CANDLEPOWER_NODE";
/// Environment variable with the target's API key.
pub const API_KEY_VARIABLE: &str = "CANDLEPOWER_API_KEY";
/// The key of a Secret that holds an API key.
pub const API_KEY_IN_SECRET: &str = "apiKey";
/// Environment variables with what opens the bucket of the records, and the keys of the Secret.
pub const S3_KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "accessKeyId"),
    ("AWS_SECRET_ACCESS_KEY", "secretAccessKey"),
    // Only credentials that end have one.
    ("AWS_SESSION_TOKEN", S3_TOKEN_IN_SECRET),
];
/// The key of a Secret that may be absent.
pub const S3_TOKEN_IN_SECRET: &str = "sessionToken";
/// Folder with the certificates that the target's is checked by: [`crate::names::paths::TLS_AUTHORITY`] and
/// [`crate::names::paths::TLS_CERTIFICATE`], as far as the Secret of a deployment with TLS has them, or the former with
/// what `target.ca` names.
pub const TARGET_TLS_DIR: &str = "/etc/candlepower-target-tls";
/// Folder with [`REPORT_JSON`] of the benchmark that `spec.baseline` names, as far as it has one.
pub const BASELINE_DIR: &str = "/etc/candlepower-baseline";
/// Folder where the job leaves the records of the requests.
pub const RECORDS_DIR: &str = "/records";

/// The job's exit status where trying again cannot help.
pub const EXIT_POINTLESS: i32 = 2;
/// How long a temporary copy of a deployment may take until it serves.
pub const COPY_READY_WITHIN: time::Duration = time::Duration::from_secs(20 * 60);

/// What the job is to do.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The benchmark's name.
    pub benchmark: String,
    /// What it asks for.
    pub spec: LLMBenchmarkSpec,
    /// What is measured.
    pub target: Served,
}

/// A served model and what can be seen of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// Its address, without `/v1`.
    pub url: String,
    /// The name that its certificate is for, where that is not the address' host: a copy has the deployment's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The model's name in requests.
    pub model: String,
    /// The `LLMDeployment`, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// The deployment's `spec`, for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_spec: Option<serde_json::Value>,
    /// The server's image, for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The pages with its metrics: one for each pod that serves.
    #[serde(default)]
    pub metrics: Vec<MetricsPage>,
    /// Whose metric names those pages use.
    #[serde(default)]
    pub dialect: MetricsDialect,
    /// Pages of NVIDIA's dcgm-exporter with its GPUs, where it does not export figures of them itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_metrics: Vec<String>,
    /// Prometheus, where its address is known; beside the model, each pod's has its own part.
    #[serde(default)]
    pub prometheus: Vec<String>,
    /// Where Jaeger's query API should be; beside the model, each pod's has its own part.
    #[serde(default)]
    pub jaeger: Vec<String>,
    /// The nodes that its pods run on, as far as the operator could read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeFacts>,
    /// Why nodes are missing in that list, with the cure, where some are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes_missing: Option<String>,
    /// How containers of its pods ended, whether or not these serve; absent where its pods are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminations: Option<Vec<Termination>>,
}

/// One page with metrics.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsPage {
    /// The pod, where it is one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The pod's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The page's address.
    pub url: String,
}

/// What the job wants the operator to do about a temporary copy of the deployment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    /// Counts up from 1 with each wish of a job, so that an answer is not taken for that to another.
    pub number: u32,
    /// The change to serve; absent: there should be no copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serve: Option<Change>,
}

/// A change of the deployment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Change {
    /// One of `spec.variants`, by its name.
    Variant {
        /// The name.
        name: String,
    },
    /// One that the report recommends.
    Recommendation {
        /// Its name in the report.
        name: String,
        /// Fields of the deployment's `spec` to replace.
        patch: BTreeMap<String, serde_json::Value>,
    },
}

impl Change {
    /// Its name in the report.
    pub fn name(&self) -> &str {
        match self {
            Self::Variant { name } | Self::Recommendation { name, .. } => name,
        }
    }
}

/// How the operator stands to the last wish.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The wish that this answers.
    pub number: u32,
    /// How far it is.
    pub state: CopyState,
    /// The same in words.
    pub message: String,
    /// The copy, as far as there is one; it serves where the state is `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
}

/// How far a temporary copy is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum CopyState {
    /// It does not serve yet.
    Waiting,
    /// It serves.
    Ready,
    /// It never will.
    Failed,
    /// It is gone, as wished.
    Released,
}

/// A round whose records and evidence lie in the job's folder.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Its name.
    pub round: String,
    /// When its run began, in microseconds since 1970: another run of this name is not it.
    pub started_at: u64,
}

/// How far the job is; written every few seconds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What is going on, in a word or two.
    pub stage: String,
    /// The variant that is loaded; absent: the deployment itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The scenario that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// How long the scenario has been running.
    #[serde(default)]
    pub elapsed: Duration,
    /// Users, or requests in flight under open arrivals.
    #[serde(default)]
    pub users: i32,
    /// Figures of the last seconds, for people who watch.
    #[serde(default)]
    pub figures: Figures,
}

/// What the run came to.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The deployment itself, scenario by scenario.
    pub scenarios: Vec<ScenarioSummary>,
    /// Each variant.
    #[serde(default)]
    pub variants: Vec<VariantSummary>,
    /// Whether the objectives were met.
    pub verdict: Verdict,
    /// The first level of load at which they were not, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaking_point: Option<String>,
    /// What limits the model, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_bottleneck: Option<String>,
    /// Hash of workload and scenarios: only runs with the same one are compared.
    pub workload: String,
    /// What was left out of the report to fit the ConfigMap, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortened: Option<String>,
}

/// Whether the objectives were met.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Verdict {
    /// In every scenario.
    Met,
    /// Not in every scenario.
    Missed,
    /// Nothing can be said: too few requests, or the load generator was the bottleneck.
    #[default]
    Inconclusive,
}

impl Verdict {
    /// As the status shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Met => "Met",
            Self::Missed => "Missed",
            Self::Inconclusive => "Inconclusive",
        }
    }
}

/// One scenario.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScenarioSummary {
    /// Its name.
    pub name: String,
    /// The load, such as `10 users` or `3/s, poisson`.
    pub load: String,
    /// Users; 0 under open arrivals.
    pub users: i32,
    /// Whether it met the objectives; absent where that cannot be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
    /// What was measured.
    pub figures: Figures,
    /// Where figures lie; of runs that were measured before these were told, nothing is known.
    #[serde(default)]
    pub intervals: Intervals,
}

/// Where figures lie with 95 % confidence; absent where there were too few requests.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Intervals {
    /// 95th percentile of the time to first token, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_p95: Option<Range>,
    /// Mean time per output token, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpot: Option<Range>,
    /// Generated tokens per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<Range>,
    /// Share of failed requests, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<Range>,
}

/// Where a figure lies.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// From here.
    pub low: f64,
    /// To here; absent where there is no telling, because requests were cut off while they waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

impl Range {
    /// Whether it has no point in common with `other`.
    pub fn is_apart(self, other: Self) -> bool {
        let below = |one: Self, other: Self| one.high.is_some_and(|high| high < other.low);
        below(self, other) || below(other, self)
    }
}

/// The same load on a temporary copy with a change.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantSummary {
    /// Its name.
    pub name: String,
    /// Its scenarios; empty where it could not be measured.
    pub scenarios: Vec<ScenarioSummary>,
    /// What the comparison says, or why there is none.
    pub result: String,
}

/// Measured figures; what was not measured is absent.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Figures {
    /// Median time to first token, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_p50: Option<f64>,
    /// 95th percentile of the time to first token, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_p95: Option<f64>,
    /// 99th percentile of the time to first token, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_p99: Option<f64>,
    /// Mean time per output token, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpot: Option<f64>,
    /// Generated tokens per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// Share of failed requests, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
    /// Requests whose latency counts.
    pub requests: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wish_names_a_variant_of_the_resource_or_brings_a_recommendation() {
        let wish: Wish = serde_json::from_value(
            json!({"number": 2, "serve": {"kind": "variant", "name": "int8"}}),
        )
        .unwrap();
        assert_eq!(wish.serve.unwrap().name(), "int8");
        let released = Wish {
            number: 3,
            serve: None,
        };
        assert_eq!(json!(released), json!({"number": 3}));
    }

    #[test]
    fn a_figure_that_was_not_measured_is_absent_and_not_zero() {
        assert_eq!(json!(Figures::default()), json!({"requests": 0}));
    }
}
