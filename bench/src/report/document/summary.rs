//! The head of the report and its executive summary: the conclusion in the first screen.
use super::{Block, Cell, Item, Mark, Section, label, list, table};
use crate::{
    analysis::{
        advice::Projection,
        findings::{Finding, Severity},
    },
    objectives::Metric,
    report::{
        conclusion,
        model::{Outcome, Report},
        trial::{self, Trial, trial},
        words,
    },
};

pub(super) fn facts(report: &Report) -> Vec<(String, String)> {
    let author = report.author.clone();
    let status = match report.run.stopped {
        None => "Completed".to_owned(),
        Some(ref why) => format!("Incomplete: {why}"),
    };
    [
        ("Project", "LLM Inference Performance Analysis".to_owned()),
        (
            "Author",
            author.unwrap_or_else(|| report.written_by.clone()),
        ),
        ("Date", report.run.started_at.chars().take(10).collect()),
        ("Status", status),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

pub(super) fn mark(report: &Report) -> Mark {
    match report.conclusion.outcome {
        Outcome::Met => Mark::Good,
        Outcome::Missed => Mark::Bad,
        Outcome::Void | Outcome::NoAnswers | Outcome::Inconclusive => Mark::Unknown,
    }
}

pub(super) const fn severity_mark(severity: Severity) -> Mark {
    match severity {
        Severity::Critical => Mark::Bad,
        Severity::Moderate => Mark::Warning,
        Severity::Acceptable => Mark::Good,
    }
}

pub(super) fn section(report: &Report) -> Section {
    Section::new("", "Executive Summary").with([
        Block::Callout {
            mark: mark(report),
            text: format!("TL;DR: {}", conclusion::summary(report)),
        },
        label("Objectives"),
        list([
            "Identify latency bottlenecks in the LLM inference pipeline",
            "Measure Time to First Token (TTFT) and Time Per Output Token (TPOT)",
            "Analyze memory bandwidth utilization",
            "Provide actionable optimization recommendations",
        ]),
        label("Key Findings"),
        Block::List {
            items: findings(report),
        },
        label("Impact"),
        impact(report),
        list([improvement(report)]),
    ])
}

fn findings(report: &Report) -> Vec<Item> {
    let say = |finding: &Finding| Item {
        mark: severity_mark(finding.severity),
        text: format!(
            "{} bottleneck: {} in {} ({} of {})",
            match finding.severity {
                Severity::Critical => "Major",
                Severity::Moderate => "Minor",
                Severity::Acceptable => "Harmless",
            },
            finding.class.title(),
            finding.scenario,
            words::percent(finding.share),
            finding.share_of
        ),
        href: None,
    };
    let mut items: Vec<_> = report.findings.iter().map(say).collect();
    items.extend(kept(report));
    if items.is_empty() {
        items.push(Item {
            mark: Mark::Good,
            text: "No bottleneck was found".to_owned(),
            href: None,
        });
    }
    items
}

/// Objectives that were met under the heaviest load.
fn kept(report: &Report) -> Option<Item> {
    let heaviest = report
        .levels
        .iter()
        .max_by(|a, b| a.concurrency.total_cmp(&b.concurrency))?;
    let met = heaviest
        .verdicts
        .iter()
        .filter(|one| one.met() == Some(true));
    let met: Vec<_> = met
        .map(|one| words::metric_name(one.objective.metric))
        .collect();
    (!met.is_empty()).then(|| Item {
        mark: Mark::Good,
        text: format!(
            "Performance within acceptable range under the heaviest load ({}): {}",
            heaviest.load_text(),
            met.join(", ")
        ),
        href: None,
    })
}

/// The two figures that users feel, under every load.
fn impact(report: &Report) -> Block {
    let rows = report.levels.iter().flat_map(|level| {
        [Metric::TtftP95, Metric::Tpot]
            .into_iter()
            .filter_map(|metric| {
                let verdict = words::verdict(level, metric)?;
                Some([
                    format!("{} at {}", words::metric_name(metric), level.load_text()).into(),
                    words::judged(verdict).into(),
                    words::target(verdict.objective).into(),
                    Cell::met(verdict.met()),
                ])
            })
    });
    table(
        "Current figures against their targets",
        ["Figure", "Current", "Target", "Status"],
        rows,
    )
}

/// What the first recommendation should bring, or did bring where it was tried.
fn improvement(report: &Report) -> String {
    let Some(first) = trial::first(report) else {
        return "Estimated improvement: none, because nothing is recommended that was not tried in vain."
            .to_owned();
    };
    if let Trial::Measured(found) = trial(report, first) {
        return format!(
            "Improvement with \"{}\": measured, it {} (section 7.1)",
            first.title,
            words::effect(found)
        );
    }
    let Some(projection) = first.impact.first() else {
        return format!(
            "Estimated improvement with \"{}\": not projected",
            first.title
        );
    };
    format!(
        "Estimated improvement with \"{}\": {} {} → {}{} (projected, not measured)",
        first.title,
        projection.metric,
        projection.now,
        projection.projected,
        change(projection).map_or_else(String::new, |share| format!(", {share:+.1} %"))
    )
}

/// By how many percent the projected figure differs from what it is now.
fn change(projection: &Projection) -> Option<f64> {
    let now = words::amount(&projection.now).filter(|now| *now > 0.0)?;
    Some((words::amount(&projection.projected)? / now - 1.0) * 100.0)
}
