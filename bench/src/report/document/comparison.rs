//! Section 7: what a change brought, measured under the same load; and what tokens cost.
use super::{Block, Cell, Mark, Section, label, list, pictures, table, text};
use crate::{
    analysis::comparison::{Change, Compared, Comparison, Estimate, LevelComparison, Row},
    report::{model::Report, plot, words},
};

pub(super) fn section(report: &Report) -> Section {
    Section::new("7", "Performance Improvements").under([
        Section::new("7.1", "Before vs After").with(measured(report)),
        Section::new("7.2", "Cost-Benefit Analysis").with(costs(report)),
    ])
}

fn measured(report: &Report) -> Vec<Block> {
    if report.comparisons.is_empty() {
        return vec![text(
            "Not measured: no other run of the same workload was given to compare with.",
        )];
    }
    let mut blocks = vec![text(
        "Figures with their 95 % confidence intervals. An improvement above 0 is a gain: less time, fewer errors, more \
         tokens. There is a verdict only where the intervals do not overlap.",
    )];
    blocks.extend(report.comparisons.iter().flat_map(blocks_of));
    blocks
}

/// One comparison, as tables and plots.
pub(in crate::report) fn blocks_of(comparison: &Comparison) -> Vec<Block> {
    let mut blocks = vec![];
    for level in &comparison.levels {
        blocks.push(label(&format!(
            "{} → {} ({}, {})",
            comparison.before, comparison.after, level.scenario, level.load
        )));
        blocks.push(rows(level));
        blocks.extend(pictures([plot::before_after(comparison, level)]));
    }
    if !comparison.left_out.is_empty() {
        blocks.push(text(format!(
            "Only one of the two ran: {}.",
            comparison.left_out.join(", ")
        )));
    }
    blocks
}

pub(in crate::report) const fn name(metric: Compared) -> &'static str {
    match metric {
        Compared::TtftP50 => "TTFT P50",
        Compared::TtftP95 => "TTFT P95",
        Compared::Tpot => "TPOT Avg",
        Compared::Throughput => "Throughput",
        Compared::ErrorRate => "Error rate",
    }
}

fn value(metric: Compared, estimate: Estimate) -> String {
    let unit = match metric {
        Compared::Throughput => words::tokens_per_second,
        Compared::ErrorRate => words::percent,
        _ => words::micros,
    };
    words::with_interval(estimate.value, estimate.interval, unit)
}

fn rows(level: &LevelComparison) -> Block {
    let rows = level.rows.iter().map(|row: &Row| {
        let improvement = row.improvement();
        let improvement = improvement.map(|share| format!("{:+.1} %", share * 100.0));
        let (mark, verdict) = match row.verdict {
            Change::Better => (Mark::Good, "better"),
            Change::Worse => (Mark::Bad, "worse"),
            Change::NoDifference => (Mark::None, "no verdict: the intervals overlap"),
            Change::NotKnown => (Mark::Unknown, "no verdict: too few requests"),
        };
        [
            name(row.metric).into(),
            value(row.metric, row.before).into(),
            value(row.metric, row.after).into(),
            improvement.unwrap_or_else(|| "—".to_owned()).into(),
            Cell::marked(mark, verdict),
        ]
    });
    table(
        "Before and after",
        ["Metric", "Before", "After", "Improvement", "Verdict"],
        rows,
    )
}

fn costs(report: &Report) -> Vec<Block> {
    let Some(price) = &report.price else {
        return vec![text("Not computed: no price was given for the machine.")];
    };
    let rows = report.costs.iter().map(|cost| {
        [
            cost.scenario.as_str().into(),
            format!("{:.2} {}", cost.per_million_tokens, price.currency).into(),
        ]
    });
    let mut blocks = vec![
        text(format!(
            "At {:.2} {} an hour: price / (output tokens per second · 3600) · 10⁶.",
            price.per_hour, price.currency
        )),
        table(
            "Cost of a million output tokens",
            ["Scenario", "Cost"],
            rows,
        ),
    ];
    if !report.recommendations.is_empty() {
        blocks.push(label("Optimization Costs"));
        blocks.push(list(report.recommendations.iter().map(|one| {
            format!(
                "{}: effort {}, deployment risk {}",
                one.title,
                one.effort,
                super::recommendations::risk(one.risk)
            )
        })));
    }
    blocks
}
