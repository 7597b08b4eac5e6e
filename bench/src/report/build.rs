//! From a run and its evidence to a report.
use super::{
    conclusion, gaps,
    model::{Breakdown, Conclusion, Operations, Outcome, Report, RunInfo},
    timeline::timeline,
};
use crate::{
    analysis::{
        advice::{Patient, recommend},
        breaking_point::breaking_point,
        comparison::Comparison,
        cost::{Price, token_costs},
        ends,
        findings::{Class, Finding, Scene, Severity, cold_start, findings, primary},
        level::{Level, mark_saturated_users},
        model_load::ModelLoad,
        operations::{Ranking, rank},
        roofline::roofline,
        span_tree::tree,
        usl,
    },
    evidence::{Evidence, Missing, sample::Role},
    figures::output_tokens,
    knee,
    objectives::Objective,
    record::{Run, SamplePrompt},
};
use candlepower_api::benchmark::LLMBenchmarkSpec;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

/// What a report is told beside the run and its evidence.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Its title; the model and address where absent.
    pub title: Option<String>,
    /// Who is responsible for it.
    pub author: Option<String>,
    /// What counts as good enough.
    pub objectives: Vec<Objective>,
    /// What the machine costs.
    pub price: Option<Price>,
    /// What the LLMBenchmark asks for, where the run is one.
    pub benchmark: Option<LLMBenchmarkSpec>,
    /// Comparisons with other runs, made by [`crate::analysis::comparison::compare`].
    pub comparisons: Vec<Comparison>,
}

/// Analyses a run.
pub fn build(run: &Run, evidence: &Evidence, options: &Options) -> Report {
    let seed = run.workload.seed.unsigned_abs();
    let level = |one| Level::of(one, evidence, &options.objectives, seed);
    let mut levels: Vec<_> = run.scenarios.iter().map(level).collect();
    mark_saturated_users(&mut levels);
    let ends = evidence.container_ends.as_deref().unwrap_or_default();
    ends::place(&mut levels, run, ends);
    let mut missing = evidence.missing.clone();
    let operations = operations(run, evidence);
    let (prompt, output) = mean_tokens(run);
    let mut lack = |what: &str, why: String| {
        missing.push(Missing {
            what: what.to_owned(),
            why,
        });
    };
    let roofline = roofline(evidence, &levels, prompt, output)
        .inspect_err(|why| lack("model bandwidth and FLOP/s utilisation", why.to_string()))
        .ok();
    let points: Vec<_> = levels
        .iter()
        .map(|level| (level.concurrency, level.figures.output_tokens_per_second))
        .collect();
    let scalability = usl::fit(&points)
        .inspect_err(|why| lack("fit of the scalability law", why.to_string()))
        .ok();
    missing.extend(gaps::of_tokens(run));
    let cold_start = cold_start(run, evidence);
    let model_load = evidence.model_load.as_ref();
    let model_load = model_load.and_then(|trace| ModelLoad::of(trace, run));
    let rankings: Vec<_> = operations
        .iter()
        .map(|one| (one.scenario.clone(), one.ranking.clone()))
        .collect();
    let findings = findings(Scene {
        levels: &levels,
        rankings: &rankings,
        utilisation: roofline.as_ref().map_or(&[], |roof| &roof.levels),
        model: evidence.model.as_ref(),
        deployment: evidence.deployment.as_ref(),
        pods: evidence.pods(),
        cold_start: cold_start.as_ref(),
        model_load: model_load.as_ref(),
    });
    let recommendations = recommend(&Patient {
        findings: &findings,
        levels: &levels,
        workload: &run.workload,
        deployment: evidence.deployment.as_ref(),
        pods: evidence.pods(),
        dialect: evidence.dialect,
        model: evidence.model.as_ref(),
        cold_start: cold_start.as_ref(),
    });
    let price = options.price.clone();
    let costs = price.as_ref().map(|price| token_costs(&levels, price));
    let mut report = Report {
        title: title(run, options),
        author: options.author.clone(),
        written_by: format!("candlepower {}", env!("CARGO_PKG_VERSION")),
        run: run_info(run),
        objectives: options.objectives.clone(),
        conclusion: Conclusion {
            outcome: outcome(run, &levels, &findings, &options.objectives),
            primary_bottleneck: primary(&findings).map(|finding| finding.class),
            summary: String::new(),
        },
        model: evidence.model.clone(),
        server: evidence.server.clone(),
        versions: evidence.versions.clone(),
        machine: evidence.machine.clone(),
        nodes: evidence.nodes.clone(),
        deployment: as_value(evidence.deployment.as_ref()),
        benchmark: as_value(options.benchmark.as_ref()),
        metrics_source: evidence.metrics_source.clone(),
        gpu_source: evidence.gpu_source.clone(),
        traces_source: evidence.traces_source.clone(),
        container_ends: evidence.container_ends.clone(),
        breaking_point: breaking_point(&levels),
        levels,
        operations,
        breakdowns: breakdowns(evidence),
        roofline,
        scalability,
        cold_start,
        model_load,
        findings,
        recommendations,
        comparisons: options.comparisons.clone(),
        price,
        costs: costs.unwrap_or_default(),
        timeline: timeline(run, evidence),
        missing,
    };
    report.missing = gaps::all(&report);
    report.conclusion.summary = conclusion::summary(&report);
    report
}

fn as_value<T: Serialize>(spec: Option<&T>) -> Option<serde_json::Value> {
    serde_json::to_value(spec?).ok()
}

fn title(run: &Run, options: &Options) -> String {
    let named = options.title.clone();
    named.unwrap_or_else(|| format!("{} at {}", run.model, run.url))
}

fn outcome(run: &Run, levels: &[Level], findings: &[Finding], objectives: &[Objective]) -> Outcome {
    let overloaded = |one: &Finding| {
        one.class == Class::OverloadedGenerator && one.severity == Severity::Critical
    };
    let mut verdicts = levels.iter().flat_map(|level| &level.verdicts);
    if levels.iter().all(|level| level.figures.succeeded == 0) {
        Outcome::NoAnswers
    } else if let Some(met) = run
        .knee
        .as_ref()
        .and_then(|knee| knee::met(run, knee, objectives))
    {
        if met { Outcome::Met } else { Outcome::Missed }
    } else if findings.iter().any(overloaded) {
        Outcome::Void
    } else if run.knee.is_some() {
        Outcome::Inconclusive
    } else if levels.iter().any(Level::misses) {
        Outcome::Missed
    } else if run.stopped.is_some() || verdicts.any(|one| one.met().is_none()) {
        Outcome::Inconclusive
    } else {
        Outcome::Met
    }
}

/// Signs of a prompt that a report shows: enough to see what it is made of.
const SHOWN: usize = 200;

fn beginning(prompt: &SamplePrompt) -> SamplePrompt {
    let mut text: String = prompt.text.chars().take(SHOWN).collect();
    if text.len() < prompt.text.len() {
        text.push('…');
    }
    let tokens = prompt.tokens;
    SamplePrompt { tokens, text }
}

fn run_info(run: &Run) -> RunInfo {
    let micros = i64::try_from(run.started_at).unwrap_or(i64::MAX);
    let started = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    let end = run.scenarios.iter().map(|one| one.ended).max();
    RunInfo {
        started_at: format!("{started:.0}"),
        seconds: end.unwrap_or_default() as f64 / 1e6,
        url: run.url.clone(),
        model: run.model.clone(),
        workload: run.workload.clone(),
        prompt_lengths: run.prompt_lengths.clone(),
        output_lengths: run.output_lengths.clone(),
        generator: run.generator.clone(),
        stopped: run.stopped.clone(),
        knee: run.knee.clone(),
        prompts: run.prompts.iter().map(beginning).collect(),
    }
}

/// Mean prompt and output tokens of all answers, as the server counted them.
fn mean_tokens(run: &Run) -> (f64, f64) {
    let requests = || run.scenarios.iter().flat_map(|one| &one.requests);
    let answered = || requests().filter(|one| crate::figures::succeeded(one));
    let count = answered().count().max(1) as f64;
    let prompt =
        answered().map(|one| f64::from(one.prompt_tokens.unwrap_or(one.asked_prompt_tokens)));
    let output = answered().map(|one| f64::from(output_tokens(one)));
    (prompt.sum::<f64>() / count, output.sum::<f64>() / count)
}

fn operations(run: &Run, evidence: &Evidence) -> Vec<Operations> {
    let of = |scenario: &str| -> Ranking {
        let sample = evidence.traces.iter();
        rank(
            sample
                .filter(|one| one.role == Role::Sample && one.scenario == scenario)
                .map(|one| &one.trace),
        )
    };
    let all = run.scenarios.iter().map(|one| Operations {
        scenario: one.name.clone(),
        ranking: of(&one.name),
    });
    all.filter(|one| one.ranking.traces > 0).collect()
}

fn breakdowns(evidence: &Evidence) -> Vec<Breakdown> {
    let chosen = evidence
        .traces
        .iter()
        .filter(|one| one.role != Role::Sample);
    chosen
        .filter_map(|one| {
            Some(Breakdown {
                scenario: one.scenario.clone(),
                role: one.role,
                root: tree(&one.trace)?,
            })
        })
        .collect()
}
