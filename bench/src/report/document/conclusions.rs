//! Section 9: what it comes to, and what happens next.
use super::{Block, Section, bottlenecks::sentence, label, list, text};
use crate::{
    analysis::{
        advice::Priority,
        findings::{Severity, primary},
    },
    report::{model::Report, words},
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
        return vec![text(&report.conclusion.summary)];
    };
    let remedy = report.recommendations.first();
    let mut blocks = vec![
        label(&format!("Primary Bottleneck: {}", finding.class.title())),
        list([
            format!(
                "Accounts for {} of {}",
                words::percent(finding.share),
                finding.share_of
            ),
            format!("Root cause: {}", finding.cause),
            format!(
                "Addressable with: {}",
                remedy.map_or("nothing in the catalogue", |one| one.title.as_str())
            ),
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
            .filter(|one| one.priority == priority)
            .map(|one| one.title.clone())
            .collect();
        let todo = if items.is_empty() {
            text("Nothing.")
        } else {
            Block::Tasks { items }
        };
        [label(title), todo]
    })
    .collect()
}

fn next(report: &Report) -> Block {
    let first = report
        .recommendations
        .iter()
        .find(|one| one.patch.is_some());
    let mut steps = vec![];
    if let Some(first) = first {
        steps.push(sentence(&format!(
            "Try \"{}\" under the same seed and load, and compare: candlepower compare BEFORE AFTER",
            first.title
        )));
    }
    if !report.missing.is_empty() {
        steps.push("Provide what section 10.4 lists as missing, and measure again.".to_owned());
    }
    if report.scalability.is_none() {
        steps.push("Measure at 1, 2 and 5 users too, for the scalability law.".to_owned());
    }
    steps.push("Re-test after every change of model, precision, engine or hardware.".to_owned());
    list(steps)
}
