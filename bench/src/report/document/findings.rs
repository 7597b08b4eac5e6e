//! Section 4.2: each bottleneck with its symptoms, its cause and what it does, and what is not one.
use super::{Block, Mark, Section, label, list, resources, summary::severity_mark, text};
use crate::{
    analysis::{
        findings::{Class, Confidence, Finding, MEMORY_BOUND, Severity, primary},
        level::Level,
        roofline::Utilisation,
    },
    objectives::{Metric, Verdict},
    report::{model::Report, words},
};
use candlepower_api::names::spans;

pub(super) fn sections(report: &Report) -> Vec<Section> {
    let mut sections: Vec<_> = report
        .findings
        .iter()
        .map(|finding| section(report, finding))
        .collect();
    let fine = acceptable(report);
    if !fine.is_empty() {
        sections.push(Section::new("", "Acceptable: what else was checked").with([
            Block::Callout {
                mark: Mark::Good,
                text: "Looked at, and no bottleneck.".to_owned(),
            },
            list(fine),
        ]));
    }
    sections
}

fn section(report: &Report, finding: &Finding) -> Section {
    let severity = match finding.severity {
        Severity::Critical => "Critical",
        Severity::Moderate => "Moderate",
        Severity::Acceptable => "Acceptable",
    };
    let title = format!(
        "{severity}: {} ({} of {})",
        finding.class.title(),
        words::percent(finding.share),
        finding.share_of
    );
    let mut levels = report.levels.iter();
    let level = levels.find(|level| level.name == finding.scenario);
    Section::new("", &title).with([
        Block::Callout {
            mark: severity_mark(finding.severity),
            text: format!(
                "Worst in {}; confidence: {}.",
                finding.scenario,
                match finding.confidence {
                    Confidence::High => "high",
                    Confidence::Medium => "medium",
                    Confidence::Low => "low",
                }
            ),
        },
        label("Symptoms"),
        list(level.map_or_else(Vec::new, |level| symptoms(report, level))),
        label("Root Cause"),
        text(sentence(&finding.cause)),
        label("Evidence"),
        list(finding.evidence.iter().map(ToString::to_string)),
        label("Impact"),
        list(impact(report, finding, level)),
    ])
}

/// What users feel against what was asked for, and how busy the machine was meanwhile.
fn symptoms(report: &Report, level: &Level) -> Vec<String> {
    let shown = |one: &&Verdict| one.met() == Some(false) || one.objective.metric == Metric::Tpot;
    let mut seen: Vec<_> = level
        .verdicts
        .iter()
        .filter(shown)
        .map(|one| {
            let status = match one.met() {
                Some(true) => "met",
                Some(false) => "missed",
                None => "not known",
            };
            format!(
                "{}: {} (target: {}, {status})",
                words::metric_name(one.objective.metric),
                words::judged(*one),
                words::target(one.objective)
            )
        })
        .collect();
    if level.verdicts.is_empty() {
        seen.push(format!(
            "TTFT P95: {} (no target)",
            words::ttft(level, Metric::TtftP95)
        ));
    }
    let used = &level.observed;
    if let Some(share) = used.gpu_utilization {
        seen.push(format!("GPU utilization: {}", words::percent(share)));
    }
    if used.cpu_cores.is_some() {
        seen.push(format!("CPU usage: {}", resources::cpu(used)));
    }
    if used.memory_max.is_some() {
        seen.push(format!(
            "RAM usage: {}",
            resources::memory(used.memory_max, used.memory_limit)
        ));
    }
    let levels = report
        .roofline
        .as_ref()
        .map_or(&[][..], |roof| &roof.levels);
    let mut levels = levels.iter();
    let utilisation = levels.find(|one| one.scenario == level.name);
    seen.extend(utilisation.and_then(bandwidth));
    seen
}

fn bandwidth(one: &Utilisation) -> Option<String> {
    let share = one.mbu?;
    let word = if share >= MEMORY_BOUND {
        "saturated"
    } else {
        "underutilized"
    };
    Some(format!(
        "Memory bandwidth: {word} (MBU {})",
        words::percent(share)
    ))
}

fn impact(report: &Report, finding: &Finding, level: Option<&Level>) -> Vec<String> {
    if finding.severity == Severity::Acceptable {
        return vec!["It does no harm at this load.".to_owned()];
    }
    let mut effects = vec![format!(
        "It explains {} of {} in this scenario.",
        words::percent(finding.share),
        finding.share_of
    )];
    effects.extend(level.map(experience));
    // What the run as a whole bears is the doing of what limits it.
    if primary(&report.findings).is_some_and(|first| first.class == finding.class) {
        effects.extend(throughput(report));
        effects.extend(scalability(report));
    }
    effects
}

fn experience(level: &Level) -> String {
    format!(
        "User experience under {}: the first token after {} (median), then one each {} on average.",
        level.load_text(),
        words::ttft(level, Metric::TtftP50),
        words::or_not(level.figures.tpot.map(|tpot| tpot.mean), words::micros)
    )
}

fn throughput(report: &Report) -> Option<String> {
    let rate = |level: &&Level| level.figures.output_tokens_per_second;
    let best = report
        .levels
        .iter()
        .max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    Some(format!(
        "Throughput: limited to {}, reached under {}.",
        words::tokens_per_second(rate(&best)),
        best.load_text()
    ))
}

/// The highest load that met every objective, and the lowest that missed one.
fn scalability(report: &Report) -> Option<String> {
    let by_load = |a: &&Level, b: &&Level| a.concurrency.total_cmp(&b.concurrency);
    let missed = report.levels.iter().filter(|level| level.misses());
    let missed = missed.min_by(by_load)?;
    let met = report.levels.iter().filter(|level| {
        !level.verdicts.is_empty() && level.verdicts.iter().all(|one| one.met() == Some(true))
    });
    let met = met.filter(|level| level.concurrency < missed.concurrency);
    Some(met.max_by(by_load).map_or_else(
        || {
            format!(
                "Scalability: {}, the lowest load that missed an objective, is already too much; no lower load met them all.",
                missed.load_text()
            )
        },
        |met| {
            format!(
                "Scalability: cannot bear {} within the objectives; {} is the most that was measured to.",
                missed.load_text(),
                met.load_text()
            )
        },
    ))
}

/// What was looked at and is none of the bottlenecks that were found.
fn acceptable(report: &Report) -> Vec<String> {
    let harmful = |class: Class| {
        let mut all = report.findings.iter();
        all.any(|one| one.class == class && one.severity != Severity::Acceptable)
    };
    let most =
        |value: fn(&Level) -> Option<f64>| report.levels.iter().filter_map(value).reduce(f64::max);
    let share = |name: &str| {
        let all = report
            .operations
            .iter()
            .flat_map(|one| &one.ranking.operations);
        let shares = all.filter(|one| one.name == name).map(|one| one.share);
        shares.reduce(f64::max)
    };
    let root = report.breakdowns.first().map(|one| one.root.name.as_str());
    let percent = |value: Option<f64>| value.map(words::percent);
    let checks = [
        (
            Class::Tokenisation,
            "Tokenisation of prompts: at most {} of the time of a request (traces)",
            percent(share(spans::TOKENIZE_INPUT)),
        ),
        (
            Class::SlowClient,
            "Decoding of answers into text: at most {} of the time of a request (traces)",
            percent(share(spans::DECODE_OUTPUT)),
        ),
        (
            Class::Upstream,
            "API overhead, which is the request's own time outside all steps: at most {} (traces)",
            percent(root.and_then(share)),
        ),
        (
            Class::ThrottledCpu,
            "CPU throttling: in at most {} of the periods (server metrics)",
            percent(most(|level| level.observed.throttled_periods)),
        ),
        (
            Class::KvCachePressure,
            "KV cache: at most {} reserved (server metrics)",
            percent(most(|level| level.observed.kv_cache_max)),
        ),
        (
            Class::OutOfMemory,
            "Out of memory: no server was ended for it{} (Kubernetes)",
            report.container_ends.as_ref().map(|_| String::new()),
        ),
        (
            Class::Capacity,
            "Memory: at most {} in use (server metrics)",
            most(|level| level.observed.memory_max).map(words::bytes),
        ),
        (
            Class::OverloadedGenerator,
            "Load generator: requests were sent at most {} late (P99)",
            most(|level| Some(level.generator.lag_p99 as f64)).map(words::micros),
        ),
    ];
    checks
        .into_iter()
        .filter(|(class, ..)| !harmful(*class))
        .filter_map(|(_, what, value)| Some(what.replace("{}", &value?)))
        .collect()
}

/// With a capital letter and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}
