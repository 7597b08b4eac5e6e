//! Why it is slow: bottleneck classes, each with its evidence, confidence and severity.
//!
//! Every class is looked for in every scenario; of each class the worst finding stays. A finding
//! that does no harm is `acceptable`, so that a healthy run has no bottleneck although every run is
//! limited by something.
mod client;
mod compute;
mod ended;
mod start;
mod waiting;

pub(crate) use compute::MEMORY_BOUND;
pub use start::{ColdStart, cold_start};

use super::{level::Level, model_load::ModelLoad, operations::Ranking, roofline::Utilisation};
use crate::{evidence::facts::ModelFacts, objectives::Metric};
use candlepower_api::deployment::LLMDeploymentSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A class of bottleneck.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// The kernel ended the server for lack of memory.
    OutOfMemory,
    /// The load generator could not keep up, so figures say little about the server.
    OverloadedGenerator,
    /// The CPU limit stopped the server's threads.
    ThrottledCpu,
    /// Requests waited for a place in the batch.
    Queueing,
    /// The KV cache was full.
    KvCachePressure,
    /// The weights fill the memory.
    Capacity,
    /// Text was turned into tokens slowly.
    Tokenisation,
    /// The first requests waited for the model.
    ColdStart,
    /// Time was lost before requests reached the server.
    Upstream,
    /// Answers were taken slowly.
    SlowClient,
    /// Decoding waited for memory.
    MemoryBandwidth,
    /// Arithmetic was the limit.
    Compute,
    /// Neither memory nor arithmetic was used well: launches, synchronisation, host code.
    Overhead,
}

impl Class {
    /// What people call it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::OutOfMemory => "out of memory",
            Self::OverloadedGenerator => "overloaded load generator",
            Self::ThrottledCpu => "throttled CPU",
            Self::Queueing => "queueing",
            Self::KvCachePressure => "KV-cache pressure",
            Self::Capacity => "memory capacity",
            Self::Tokenisation => "tokenisation",
            Self::ColdStart => "cold start",
            Self::Upstream => "upstream of the server",
            Self::SlowClient => "slow client",
            Self::MemoryBandwidth => "memory bandwidth",
            Self::Compute => "compute",
            Self::Overhead => "overhead",
        }
    }

    /// Its place among findings of one severity, whatever their shares: a server that was ended is the worst, and a
    /// load generator that is late makes all others doubtful.
    const fn rank(self) -> u8 {
        match self {
            Self::OutOfMemory => 0,
            Self::OverloadedGenerator => 1,
            _ => 2,
        }
    }

    /// Whether it can be the reason that an objective of `metric` is missed: the one that its share is
    /// part of.
    fn bears_on(self, metric: Metric) -> bool {
        use Metric::{ErrorRate, TokensPerSecond, Tpot, TtftP50, TtftP95, TtftP99};
        let first = matches!(metric, TtftP50 | TtftP95 | TtftP99);
        match self {
            Self::Queueing
            | Self::KvCachePressure
            | Self::Tokenisation
            | Self::ColdStart
            | Self::Upstream => first,
            Self::SlowClient => metric == Tpot,
            Self::MemoryBandwidth | Self::Compute | Self::Overhead => {
                matches!(metric, Tpot | TokensPerSecond)
            }
            Self::ThrottledCpu => metric != ErrorRate,
            Self::OutOfMemory | Self::OverloadedGenerator | Self::Capacity => true,
        }
    }
}

/// How much harm a finding does.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Objectives are missed, and this is most of the reason.
    Critical,
    /// It costs much, or is part of why objectives are missed.
    Moderate,
    /// It is there, and does no harm.
    Acceptable,
}

/// How sure a finding is.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Confidence {
    /// Measured where it happens.
    High,
    /// Measured on one side, or by a proxy.
    Medium,
    /// Inferred from what is left.
    Low,
}

/// One thing that makes it slow.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Its class.
    pub class: Class,
    /// How much harm it does.
    pub severity: Severity,
    /// How sure it is.
    pub confidence: Confidence,
    /// The scenario where it is worst.
    pub scenario: String,
    /// The share that it has in what is lost, 0 to 1; what of is in `share_of`.
    pub share: f64,
    /// What `share` is a share of.
    pub share_of: String,
    /// Why it happens.
    pub cause: String,
    /// The figures that show it.
    pub evidence: Vec<Proof>,
}

/// A figure that shows something, and where it was measured.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// What was measured.
    pub what: String,
    /// The value, with its unit.
    pub value: String,
    /// Where it comes from.
    pub source: String,
}

/// As recommendations quote it.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.what, self.value, self.source)
    }
}

/// Where a figure comes from.
#[derive(Clone, Copy)]
enum Source {
    Metrics,
    Client,
    Traces,
    Probe,
    Generator,
    Kubernetes,
}

fn proof(what: &str, value: String, source: Source) -> Proof {
    let source = match source {
        Source::Metrics => "server metrics",
        Source::Client => "client",
        Source::Traces => "traces",
        Source::Probe => "probe",
        Source::Generator => "load generator",
        Source::Kubernetes => "Kubernetes",
    };
    Proof {
        what: what.to_owned(),
        value,
        source: source.to_owned(),
    }
}

/// Everything that rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// All scenarios.
    pub levels: &'a [Level],
    /// Critical-path shares by scenario; empty without traces.
    pub rankings: &'a [(String, Ranking)],
    /// How much of the machine each scenario used, where that is known.
    pub utilisation: &'a [Utilisation],
    /// The model.
    pub model: Option<&'a ModelFacts>,
    /// What the deployment asks for.
    pub deployment: Option<&'a LLMDeploymentSpec>,
    /// Pods that the observed sums are of.
    pub pods: f64,
    /// How the first request fared.
    pub cold_start: Option<&'a ColdStart>,
    /// The last start of the model.
    pub model_load: Option<&'a ModelLoad>,
}

/// What rules look at for one scenario.
#[derive(Clone, Copy)]
struct View<'a> {
    level: &'a Level,
    ranking: Option<&'a Ranking>,
    utilisation: Option<&'a Utilisation>,
    model: Option<&'a ModelFacts>,
    deployment: Option<&'a LLMDeploymentSpec>,
    pods: f64,
}

impl View<'_> {
    /// Mean TTFT that clients saw, in seconds.
    fn ttft(&self) -> Option<f64> {
        self.level.figures.ttft.map(|ttft| ttft.mean / 1e6)
    }

    /// Mean self time of an operation in seconds, and its share of all time.
    fn operation(&self, name: &str) -> Option<(f64, f64)> {
        let found = self
            .ranking?
            .operations
            .iter()
            .find(|one| one.name == name)?;
        Some((found.mean as f64 / 1e9, found.share))
    }

    /// Places of the batches of all pods.
    fn places(&self) -> Option<f64> {
        let spec = self.deployment?;
        Some(self.pods * f64::from(spec.engine.max_batch_size))
    }

    /// Whether an objective is missed that a class can be the reason of.
    fn misses_by(&self, class: Class) -> bool {
        let verdicts = self.level.verdicts.iter();
        let mut missed = verdicts.filter(|one| one.met() == Some(false));
        missed.any(|one| class.bears_on(one.objective.metric))
    }

    /// By how much is lost, and whether objectives are missed for it.
    fn severity(&self, class: Class, share: f64) -> Severity {
        match (self.misses_by(class), share) {
            (true, share) if share >= 0.5 => Severity::Critical,
            (true, share) if share >= 0.2 => Severity::Moderate,
            (false, share) if share >= 0.5 => Severity::Moderate,
            _ => Severity::Acceptable,
        }
    }

    fn finding(&self, class: Class, (share, of): (f64, &str), cause: String) -> Finding {
        Finding {
            class,
            severity: self.severity(class, share),
            confidence: Confidence::High,
            scenario: self.level.name.clone(),
            share: share.clamp(0.0, 1.0),
            share_of: of.to_owned(),
            cause,
            evidence: vec![],
        }
    }
}

impl Finding {
    fn shown_by(mut self, evidence: impl IntoIterator<Item = Proof>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    fn with_confidence(mut self, confidence: Confidence) -> Self {
        self.confidence = confidence;
        self
    }

    fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn ms(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}

/// All findings, the worst first; each class once.
pub fn findings(scene: Scene<'_>) -> Vec<Finding> {
    let mut all: Vec<Finding> = vec![];
    for level in scene.levels {
        let view = View {
            level,
            ranking: scene
                .rankings
                .iter()
                .find(|(scenario, _)| *scenario == level.name)
                .map(|(_, ranking)| ranking),
            utilisation: scene
                .utilisation
                .iter()
                .find(|one| one.scenario == level.name),
            model: scene.model,
            deployment: scene.deployment,
            pods: scene.pods,
        };
        all.extend(of_level(view));
    }
    let start = scene.cold_start;
    all.extend(start.and_then(|start| start::finding(start, scene.model_load)));
    all.extend(ended::out_of_memory(scene));
    all.sort_by(|a, b| {
        (a.severity, a.class.rank())
            .cmp(&(b.severity, b.class.rank()))
            .then(b.share.total_cmp(&a.share))
            .then(a.class.cmp(&b.class))
    });
    let mut seen = vec![];
    all.retain(|one| {
        let new = !seen.contains(&one.class);
        seen.push(one.class);
        new
    });
    all
}

fn of_level(view: View<'_>) -> Vec<Finding> {
    let mut found: Vec<_> = [
        client::generator(view),
        waiting::throttled(view),
        waiting::kv_cache(view).or_else(|| waiting::queueing(view)),
        waiting::capacity(view),
        waiting::tokenisation(view),
        client::upstream(view),
        client::slow_client(view),
    ]
    .into_iter()
    .flatten()
    .collect();
    let explained = explained(view, &found);
    found.extend(compute::limit(view, explained));
    found
}

/// The largest share of what is missed that findings account for. Memory that is full and a generator
/// that is late are shares of something else, and what does no harm explains none.
fn explained(view: View<'_>, found: &[Finding]) -> f64 {
    let accounts = |one: &&Finding| {
        !matches!(one.class, Class::Capacity | Class::OverloadedGenerator)
            && view.misses_by(one.class)
    };
    let shares = found.iter().filter(accounts).map(|one| one.share);
    shares.fold(0.0, f64::max)
}

/// The finding that limits the run: the worst that is not acceptable.
pub fn primary(findings: &[Finding]) -> Option<&Finding> {
    findings
        .first()
        .filter(|finding| finding.severity != Severity::Acceptable)
}

#[cfg(test)]
mod tests;
