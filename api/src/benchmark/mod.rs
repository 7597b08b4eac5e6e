//! `LLMBenchmark`: one measurement of a served model.
pub mod job;
mod load;
mod objectives;
mod price;
mod profile;
mod schedule;
pub mod status;
mod target;
mod workload;

pub use load::{Arrival, Scenario, StopWhen};
pub use objectives::{LatencyObjective, Objectives};
pub use price::Price;
pub use profile::{Level, Profile};
pub use schedule::{ConcurrencyPolicy, Records, S3Records};
pub use status::LLMBenchmarkStatus;
pub use target::{CertificateAuthority, ConfigMapReference, MetricsDialect, MetricsSource, Target};
pub use workload::{PromptMix, Workload};

use crate::value::Percentage;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Loads a served model, finds its bottleneck and writes the latency report.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "candlepower.dev",
    version = "v1alpha1",
    kind = "LLMBenchmark",
    plural = "llmbenchmarks",
    shortname = "llmbench",
    category = "all",
    namespaced,
    status = "LLMBenchmarkStatus",
    derive = "PartialEq",
    doc = "Loads a served model, finds its bottleneck and writes the latency report.",
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".status.stage"),
    printcolumn(name = "Users", type_ = "integer", json_path = ".status.scenario.users"),
    printcolumn(name = "TTFT-P95", type_ = "string", json_path = ".status.summary.ttftP95"),
    printcolumn(name = "Tok/s", type_ = "string", json_path = ".status.summary.tokensPerSecond"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.verdict"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Profile", type_ = "string", priority = 1, json_path = ".spec.profile"),
    printcolumn(name = "Scenario", type_ = "string", priority = 1, json_path = ".status.scenario.name"),
    printcolumn(name = "Reason", type_ = "string", priority = 1, json_path = r#".status.conditions[?(@.type=="Complete")].reason"#),
    printcolumn(name = "Bottleneck", type_ = "string", priority = 1, json_path = ".status.primaryBottleneck"),
    validation = Rule::new("self.metadata.name.size() <= 50").message("metadata.name: write at most 50 characters, because the names and labels of the children are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name: write lower-case letters, digits and '-', starting with a letter, because temporary copies of the deployment are named after it"),
    validation = Rule::new("!has(self.spec.schedule) || self.metadata.name.size() <= 41").message("metadata.name: write at most 41 characters where there is a schedule, because its runs are named after it and their time")
)]
#[x_kube(validation = Rule::new("self == oldSelf || (has(self.schedule) && has(oldSelf.schedule))").message("a benchmark without a schedule cannot be changed once it exists: create another one with a new name"))]
#[x_kube(validation = Rule::new("self.profile == 'custom' ? size(self.scenarios) > 0 : size(self.scenarios) == 0").message("scenarios belong to profile custom: write both, or neither"))]
#[x_kube(validation = Rule::new("(size(self.variants) == 0 && self.tryRecommendations == 0) || has(self.target.deployment)").message("variants and tryRecommendations need target.deployment, because they load a temporary copy of it"))]
#[serde(rename_all = "camelCase")]
pub struct LLMBenchmarkSpec {
    /// What to load.
    pub target: Target,
    /// `standard`: 10, 25, 50 and 100 users for 5 to 15 minutes each; `quick`: the same shape in
    /// about 3 minutes; `custom`: `scenarios`.
    #[serde(default)]
    pub profile: Profile,
    /// The scenarios of profile `custom`, in order.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.all(one, self.exists_one(other, other.name == one.name))").message("scenarios: give each a name of its own, because runs are compared by it"))]
    pub scenarios: Vec<Scenario>,
    /// What the requests ask for.
    #[serde(default)]
    pub workload: Workload,
    /// What counts as good enough.
    #[serde(default)]
    pub objectives: Objectives,
    /// When to give up early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_when: Option<StopWhen>,
    /// Changes to try on a temporary copy of the deployment, under the same load.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(one, self.exists_one(other, other.name == one.name))").message("variants: give each a name of its own, because its copy and its results are named after it"))]
    pub variants: Vec<Variant>,
    /// How many of the report's own recommendations to try by the same means.
    #[serde(default)]
    #[schemars(range(min = 0, max = 5))]
    pub try_recommendations: i32,
    /// An earlier run to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// Whether another benchmark of the same target may run at the same time.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// When to run again and again, as five fields of cron in UTC, such as `0 3 * * *`. Each run is
    /// an `LLMBenchmark` of its own, compared with the run before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^ *[^ ]+( +[^ ]+){4} *$')").message("schedule: write the five fields of cron, in UTC, such as 0 3 * * *"))]
    pub schedule: Option<String>,
    /// How many finished runs of a schedule are kept; the two newest that have a result stay in any case, because they are
    /// compared.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 100))]
    pub history_limit: i32,
    /// By how much a run of a schedule may be worse than the one before it.
    #[serde(default = "tenth")]
    pub regression_tolerance: Percentage,
    /// What the machines that serve cost, for the report's cost of tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Where the records of all requests are kept; absent: they go with the job's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Records>,
}

const fn five() -> i32 {
    5
}

const fn tenth() -> Percentage {
    Percentage::of_hundred(10.0)
}

/// A change to try.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// Its name in the report.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Fields of the deployment's `spec` to replace, such as `{precision: q8_0}`; all others stay
    /// (a JSON merge patch).
    #[schemars(schema_with = "any_object")]
    pub patch: BTreeMap<String, serde_json::Value>,
}

/// An earlier run to compare with.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// The name of an `LLMBenchmark` in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub benchmark: String,
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

#[cfg(test)]
mod tests;
