//! Section 7.2: what changes cost, and what they brought or should bring.
use super::{Block, Cell, comparison, label, list, table, text};
use crate::{
    analysis::{
        advice::Recommendation,
        comparison::{Change, Compared, Comparison, LevelComparison, Row},
        cost::{Price, per_million},
    },
    report::{
        model::Report,
        trial::{Trial, trial},
        words,
    },
};

/// Hours of a month, for what is saved in one.
const HOURS: f64 = 730.0;

pub(super) fn blocks(report: &Report) -> Vec<Block> {
    let mut blocks = vec![];
    if !report.recommendations.is_empty() {
        blocks.push(label("Optimization Costs"));
        blocks.push(efforts(report));
    }
    let changes: Vec<_> = report
        .comparisons
        .iter()
        .filter(|one| !one.is_drift())
        .collect();
    if !changes.is_empty() {
        blocks.push(label("Measured Benefits"));
        blocks.push(benefits(&changes));
    }
    blocks.extend(money(report, &changes));
    if !changes.is_empty() {
        blocks.push(label("ROI"));
        blocks.push(list(changes.iter().map(|one| verdict(one))));
    }
    blocks
}

fn efforts(report: &Report) -> Block {
    let rows = report.recommendations.iter().map(|one| {
        [
            one.title.as_str().into(),
            one.effort.as_str().into(),
            super::recommendations::risk(one.risk).into(),
            benefit(report, one).into(),
        ]
    });
    table(
        "Effort, risk and benefit of each recommendation",
        ["Recommendation", "Effort", "Deployment risk", "Benefit"],
        rows,
    )
}

fn benefit(report: &Report, one: &Recommendation) -> String {
    match trial(report, one) {
        Trial::Measured(found) => format!("measured: it {}", words::effect(found)),
        Trial::Failed(why) => format!("tried, but not measured: {why}"),
        Trial::None => one.impact.first().map_or_else(
            || "not projected".to_owned(),
            |impact| {
                format!(
                    "projected: {} {} → {}",
                    impact.metric, impact.now, impact.projected
                )
            },
        ),
    }
}

/// The heaviest scenario of a comparison, where a change of what is served shows.
fn heaviest(comparison: &Comparison) -> Option<&LevelComparison> {
    comparison.levels.last()
}

fn row(level: &LevelComparison, metric: Compared) -> Option<&Row> {
    level.rows.iter().find(|row| row.metric == metric)
}

fn benefits(changes: &[&Comparison]) -> Block {
    let rows = changes.iter().filter_map(|one| {
        let level = heaviest(one)?;
        let cell = |metric| {
            row(level, metric).map_or_else(Cell::default, |row| {
                let text = format!("{} ({})", words::improvement(row), words::change_name(row));
                Cell::marked(comparison::mark(row.verdict), text)
            })
        };
        Some([
            one.after.as_str().into(),
            level.load.as_str().into(),
            cell(Compared::Throughput),
            cell(Compared::TtftP95),
            cell(Compared::Tpot),
        ])
    });
    table(
        "Measured improvements under the heaviest load",
        ["Change", "Load", "Throughput", "TTFT P95", "TPOT Avg"],
        rows,
    )
}

/// Costs of tokens, and what changes would save.
fn money(report: &Report, changes: &[&Comparison]) -> Vec<Block> {
    let Some(price) = &report.price else {
        return vec![text(
            "No price was given for the machine, so nothing is said about money; give one by --price-per-hour.",
        )];
    };
    let rows = report.costs.iter().map(|cost| {
        [
            cost.scenario.as_str().into(),
            money_text(cost.per_million_tokens, price).into(),
        ]
    });
    let mut blocks = vec![
        label("Cost of Tokens"),
        text(format!(
            "At {} an hour: price / (output tokens per second · 3600) · 10⁶.",
            money_text(price.per_hour, price)
        )),
        table(
            "Cost of a million output tokens",
            ["Scenario", "Cost"],
            rows,
        ),
    ];
    if !changes.is_empty() {
        blocks.push(savings(report, changes, price));
        blocks.push(text(format!(
            "Saving per month = price · {HOURS} h · (1 − throughput before / throughput after), for a machine that is \
             busy all the time at this load and can be shared or switched off for the rest."
        )));
    }
    blocks
}

fn money_text(amount: f64, price: &Price) -> String {
    format!("{amount:.2} {}", price.currency)
}

fn savings(report: &Report, changes: &[&Comparison], price: &Price) -> Block {
    let rows = changes.iter().filter_map(|one| {
        let level = heaviest(one)?;
        let row = row(level, Compared::Throughput)?;
        let cost = |rate: Option<f64>| {
            let rate = rate.filter(|rate| *rate > 0.0);
            words::or_not(rate, |rate| {
                money_text(per_million(price.per_hour, rate), price)
            })
        };
        let other_machine = changes_the_machine(report, one);
        Some([
            one.after.as_str().into(),
            level.load.as_str().into(),
            cost(row.before.value).into(),
            if other_machine {
                "another machine, whose price is not known".into()
            } else {
                cost(row.after.value).into()
            },
            saving(row, price)
                .filter(|_| !other_machine)
                .unwrap_or_else(|| "none that is certain".to_owned())
                .into(),
        ])
    });
    table(
        "What a million output tokens cost before and after, under the heaviest load",
        ["Change", "Load", "Before", "After", "Saving per month"],
        rows,
    )
}

/// Of a certain change alone; negative where it costs more.
fn saving(row: &Row, price: &Price) -> Option<String> {
    let certain = matches!(row.verdict, Change::Better | Change::Worse);
    let rates = row.before.value.zip(row.after.value);
    let (before, after) = rates.filter(|(_, after)| certain && *after > 0.0)?;
    let share = 1.0 - before / after;
    Some(money_text(price.per_hour * HOURS * share, price))
}

/// More pods or another size of pod have another price than the one that was given.
fn changes_the_machine(report: &Report, one: &Comparison) -> bool {
    comparison::patch_of(report, one).is_some_and(|patch| {
        ["replicas", "resources", "autoscaling"]
            .iter()
            .any(|field| patch.get(field).is_some())
    })
}

fn verdict(one: &Comparison) -> String {
    let better = one.figures_that(Change::Better);
    let worse = one.figures_that(Change::Worse);
    let judged = match (better.is_empty(), worse.is_empty()) {
        (true, true) => "not shown",
        (false, true) => "positive",
        (true, false) => "negative",
        (false, false) => "a trade",
    };
    format!("{}: {judged}, because it {}", one.after, words::effect(one))
}
