//! What to do about findings: a catalogue of remedies, each with the evidence that calls for it.
//!
//! Impacts are *projected*, never measured: each comes with its formula. Only a re-run under the same
//! load measures one.
mod memory;
mod pace;
mod service;

use super::{
    findings::{Class, ColdStart, Finding, Severity},
    level::Level,
};
use crate::evidence::facts::ModelFacts;
use candlepower_api::{
    benchmark::{MetricsDialect, Workload},
    deployment::{LLMDeploymentSpec, PatchError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something to do.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recommendation {
    /// A short name, unique within a report.
    pub id: String,
    /// The finding that it answers; none where the load alone calls for it.
    #[serde(default)]
    pub answers: Option<Class>,
    /// What to do, in a few words.
    pub title: String,
    /// How soon.
    pub priority: Priority,
    /// How much work it is.
    pub effort: String,
    /// What may go wrong.
    pub risk: Risk,
    /// Why: what is wrong now.
    pub problem: String,
    /// What to do, in full.
    pub solution: String,
    /// The figures that call for it.
    pub evidence: Vec<String>,
    /// What it should bring.
    pub impact: Vec<Projection>,
    /// Fields of the LLMDeployment's spec to change, where that does it.
    pub patch: Option<serde_json::Value>,
}

/// How soon.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Priority {
    /// Now: it takes minutes and answers a critical or moderate finding.
    High,
    /// Soon.
    Medium,
    /// When there is time.
    Low,
}

/// What may go wrong.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Risk {
    /// Nothing but a restart.
    Low,
    /// Something else may become worse.
    Medium,
    /// Much has to change.
    High,
}

/// An expected effect, computed rather than measured.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Projection {
    /// The figure.
    pub metric: String,
    /// Now, as measured, with its unit.
    pub now: String,
    /// Then, as projected, with its unit.
    pub projected: String,
    /// How it was computed.
    pub formula: String,
}

/// Everything that remedies look at.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    /// All findings.
    pub findings: &'a [Finding],
    /// All scenarios.
    pub levels: &'a [Level],
    /// What the requests asked for.
    pub workload: &'a Workload,
    /// What the deployment asks for, where it is one of ours.
    pub deployment: Option<&'a LLMDeploymentSpec>,
    /// Whose server it is, where its metrics say so.
    pub dialect: Option<MetricsDialect>,
    /// The model.
    pub model: Option<&'a ModelFacts>,
    /// Pods that the observed sums are of.
    pub pods: f64,
    /// How the first request fared.
    pub cold_start: Option<&'a ColdStart>,
}

impl<'a> Patient<'a> {
    /// A finding of a class, and the scenario where it is worst.
    fn finding(&self, class: Class) -> Option<(&'a Finding, &'a Level)> {
        let finding = self.findings.iter().find(|one| one.class == class)?;
        let level = self
            .levels
            .iter()
            .find(|one| one.name == finding.scenario)?;
        Some((finding, level))
    }

    /// The same where it does harm.
    fn harm(&self, class: Class) -> Option<(&'a Finding, &'a Level)> {
        self.finding(class)
            .filter(|(finding, _)| finding.severity != Severity::Acceptable)
    }

    /// How urgent the finding is that a recommendation answers: its place, the worst first.
    fn urgency(&self, one: &Recommendation) -> usize {
        let harmful = |finding: &Finding| {
            Some(finding.class) == one.answers && finding.severity != Severity::Acceptable
        };
        let place = self.findings.iter().position(harmful);
        place.unwrap_or(self.findings.len())
    }

    /// Tokens of the longest prompt that the workload has.
    fn longest_prompt(&self) -> Option<i32> {
        self.workload.prompts.iter().map(|one| one.tokens).max()
    }
}

/// A finding's figures as text.
fn evidence(finding: &Finding) -> Vec<String> {
    finding.evidence.iter().map(ToString::to_string).collect()
}

fn priority(finding: &Finding) -> Priority {
    match finding.severity {
        Severity::Critical => Priority::High,
        Severity::Moderate => Priority::Medium,
        Severity::Acceptable => Priority::Low,
    }
}

fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{:.1} ms", value * 1e3)
    } else {
        format!("{value:.2} s")
    }
}

/// A remedy: looks at a patient, and says what to do where it helps.
type Remedy = fn(&Patient<'_>) -> Option<Recommendation>;

const CATALOGUE: &[Remedy] = &[
    service::generator,
    pace::cpu_limit,
    pace::batch_size,
    pace::batch_wait,
    memory::kv_cache,
    memory::context_limit,
    memory::quantise,
    memory::more_memory,
    memory::smaller_kv_cache,
    service::preload,
    service::tokenizer,
    service::replicas,
    service::queue_depth,
    pace::prefill_chunk,
    pace::prefix_cache,
    service::streaming,
    service::network,
    memory::flash_attention,
];

/// What to do: what answers the worst finding first, and of that the most urgent. A patch that the deployment would not take is not among it.
pub fn recommend(patient: &Patient<'_>) -> Vec<Recommendation> {
    let mut all: Vec<_> = CATALOGUE
        .iter()
        .filter_map(|remedy| remedy(patient))
        .map(|one| checked(one, patient.deployment))
        .collect();
    all.sort_by_key(|one| (patient.urgency(one), one.priority, one.risk));
    all
}

/// Without its patch where that makes no deployment: nobody should copy it, and no copy be tried.
fn checked(mut one: Recommendation, deployment: Option<&LLMDeploymentSpec>) -> Recommendation {
    let Some((patch, spec)) = one.patch.clone().zip(deployment) else {
        return one;
    };
    let patched = serde_json::from_value(patch)
        .map_err(|error: serde_json::Error| PatchError::NoSpec(error.to_string()))
        .and_then(|fields| spec.patched_within_limits(&fields));
    if let Err(why) = patched {
        one.patch = None;
        let why = format!(" Not as a change of this LLMDeployment: {why}.");
        one.solution.push_str(&why);
    }
    one
}

#[cfg(test)]
mod tests;
