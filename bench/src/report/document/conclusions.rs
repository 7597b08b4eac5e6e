//! Section 9: what it comes to, and what happens next.
use super::{Block, Section, findings::sentence, label, list, text};
use crate::{
    analysis::{
        advice::{Priority, Recommendation},
        findings::{Finding, Severity, primary},
    },
    report::{
        conclusion, gaps,
        model::Report,
        trial::{Trial, remedies, trial},
        words,
    },
};

pub(super) fn section(report: &Report) -> Section {
    Section::new("9", "Conclusions").under([
        Section::new("9.1", "Summary of Findings").with(summary(report)),
        Section::new("9.2", "Recommended Actions").with(actions(report)),
        Section::new("9.3", "Next Steps").with([next(report)]),
    ])
}

fn summary(report: &Report) -> Vec<Block> {
    let Some(finding) = primary(&report.findings) else {
        return vec![text(conclusion::summary(report))];
    };
    let mut blocks = vec![
        label(&format!("Primary Bottleneck: {}", finding.class.title())),
        list([
            format!(
                "Accounts for {} of {}",
                words::percent(finding.share),
                finding.share_of
            ),
            format!("Root cause: {}", finding.cause),
            format!("Addressable with: {}", addressable(report, finding)),
        ]),
    ];
    let others = report.findings.iter().skip(1);
    let others: Vec<_> = others
        .filter(|one| one.severity != Severity::Acceptable)
        .map(|one| format!("{}: {}", one.class.title(), one.cause))
        .collect();
    if !others.is_empty() {
        blocks.extend([label("Secondary Issues"), list(others)]);
    }
    blocks
}

/// Its remedies, with what came of those that were tried.
fn addressable(report: &Report, finding: &Finding) -> String {
    let named: Vec<_> = remedies(report, finding)
        .map(|one| match trial(report, one) {
            Trial::Measured(found) => {
                format!("{} (measured: it {})", one.title, words::effect(found))
            }
            Trial::Failed(_) | Trial::None => one.title.clone(),
        })
        .collect();
    if named.is_empty() {
        "nothing in the catalogue".to_owned()
    } else {
        named.join("; ")
    }
}

fn actions(report: &Report) -> Vec<Block> {
    [
        ("Immediate", Priority::High),
        ("Short-term", Priority::Medium),
        ("Long-term", Priority::Low),
    ]
    .into_iter()
    .flat_map(|(title, priority)| {
        let all = report.recommendations.iter();
        let items: Vec<_> = all
            .filter(|one| one.priority == priority && !trial(report, one).brought_nothing())
            .map(|one| one.title.clone())
            .collect();
        let todo = if items.is_empty() {
            text("Nothing.")
        } else {
            Block::Tasks { items }
        };
        [label(title), todo]
    })
    .chain(dismissed(report))
    .collect()
}

/// What was tried and need not be tried again.
fn dismissed(report: &Report) -> Vec<Block> {
    let all = report.recommendations.iter();
    let useless: Vec<_> = all
        .filter(|one| trial(report, one).brought_nothing())
        .map(|one| one.title.clone())
        .collect();
    if useless.is_empty() {
        return vec![];
    }
    vec![label("Tried, and not better"), list(useless)]
}

fn next(report: &Report) -> Block {
    let open = |one: &&Recommendation| one.patch.is_some() && trial(report, one) == Trial::None;
    let first = report.recommendations.iter().find(open);
    let mut steps = vec![];
    if let Some(first) = first {
        steps.push(sentence(&format!(
            "Try \"{}\" under the same seed and load, and compare: candlepower compare BEFORE AFTER",
            first.title
        )));
    }
    if !gaps::all(report).is_empty() {
        steps.push("Provide what section 10.4 lists as missing, and measure again.".to_owned());
    }
    if report.scalability.is_none() {
        steps.push("Measure at 1, 2 and 5 users too, for the scalability law.".to_owned());
    }
    steps.push("Re-test after every change of model, precision, engine or hardware.".to_owned());
    list(steps)
}
