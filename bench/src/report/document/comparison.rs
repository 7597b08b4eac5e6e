//! Section 7.1: what a change brought, measured under the same load.
use super::{Block, Cell, Mark, code, label, pictures, table, text, wide_table};
use crate::{
    analysis::comparison::{
        Borne, Capacity, Change, Comparison, DEPLOYMENT, LevelComparison, OtherMachine, Row,
    },
    report::{model::Report, plot, words},
};

pub(super) fn measured(report: &Report) -> Vec<Block> {
    if report.comparisons.is_empty() {
        return vec![text(
            "Not measured: no other run of the same workload was given to compare with.",
        )];
    }
    let mut blocks = vec![
        drift(report),
        text(
            "Figures with their 95 % confidence intervals. An improvement above 0 is a gain: less time, fewer errors, \
             less memory, more tokens. There is a verdict only where the intervals do not overlap.",
        ),
    ];
    let (last, changes): (Vec<_>, Vec<_>) =
        report.comparisons.iter().partition(|one| one.is_drift());
    if !changes.is_empty() {
        blocks.push(overview(&changes));
    }
    for comparison in changes.into_iter().chain(last) {
        blocks.extend(patch(report, comparison));
        blocks.extend(blocks_of(comparison));
    }
    blocks
}

/// How much the deployment differs from itself, which is what every change has to exceed.
fn drift(report: &Report) -> Block {
    let Some(drift) = report.comparisons.iter().find(|one| one.is_drift()) else {
        return text(
            "Neither run was repeated: where the machine itself changed between them, that looks like an effect.",
        );
    };
    if let Some(other) = drift
        .other_machine
        .as_ref()
        .filter(|other| other.of_other_kind)
    {
        return machine(other);
    }
    let prompts = "The last round's prompts had the same lengths and were made of other words, so that the prefix cache did \
                   not hold them.";
    let most = drift.levels.iter().filter_map(largest_change);
    let most: Vec<_> = most.collect();
    if most.is_empty() {
        return Block::Callout {
            mark: Mark::Good,
            text: format!(
                "The deployment was measured again at the end, with nothing changed about it, and did not differ for \
                 certain. {prompts}"
            ),
        };
    }
    let mut changes = report.comparisons.iter().filter(|one| !one.is_drift());
    let counted = changes.all(|one| {
        one.levels
            .iter()
            .flat_map(|level| &level.rows)
            .all(repeated)
    });
    let meaning = if counted {
        "A change that lies within that has no verdict: the machine may have made it."
    } else {
        "The verdicts below do not take that into account: a change of that size may be the machine's."
    };
    Block::Callout {
        mark: Mark::Warning,
        text: format!(
            "The deployment itself changed between its first and its last round, with nothing changed about it: {}. \
             {meaning} {prompts}",
            most.join("; ")
        ),
    }
}

const fn repeated(row: &Row) -> bool {
    row.again.is_some()
}

/// `TPOT Avg -44.1 % under 10 users`: the largest certain change in a scenario.
fn largest_change(level: &LevelComparison) -> Option<String> {
    let certain = |row: &&Row| matches!(row.verdict, Change::Better | Change::Worse);
    let size = |row: &Row| row.improvement().unwrap_or_default().abs();
    let largest = level
        .rows
        .iter()
        .filter(certain)
        .max_by(|a, b| size(a).total_cmp(&size(b)))?;
    Some(format!(
        "{} {} under {}",
        words::compared_name(largest.metric),
        words::improvement(largest),
        level.load
    ))
}

/// One row for each change.
fn overview(changes: &[&Comparison]) -> Block {
    let rows = changes.iter().map(|one| {
        let names = |change| {
            let names = words::figures(&one.figures_that(change));
            if one.is_of_another_machine() {
                "not known: on another machine".to_owned()
            } else if names.is_empty() {
                "nothing".to_owned()
            } else {
                names
            }
        };
        let capacity = one.capacity.as_ref();
        [
            named(one).into(),
            names(Change::Better).into(),
            names(Change::Worse).into(),
            capacity
                .map_or_else(
                    || "not compared".to_owned(),
                    |one| borne(one.after.as_ref()),
                )
                .into(),
        ]
    });
    table(
        "Every change that was measured, over all scenarios",
        [
            "Change",
            "Better in",
            "Worse in",
            "Highest load within the objectives",
        ],
        rows,
    )
}

/// What was measured, and beside what, if that is not the deployment as it is.
fn named(one: &Comparison) -> String {
    if one.before == DEPLOYMENT {
        one.after.clone()
    } else {
        format!("{}, beside {}", one.after, one.before)
    }
}

fn borne(one: Option<&Borne>) -> String {
    one.map_or_else(
        || "none that was measured".to_owned(),
        |one| one.load.clone(),
    )
}

/// The fields that were changed.
fn patch(report: &Report, comparison: &Comparison) -> Vec<Block> {
    let Some(patch) = patch_of(report, comparison) else {
        return vec![];
    };
    let spec = serde_json::to_string_pretty(&serde_json::json!({ "spec": patch }));
    vec![
        label(&format!("What {} changes", comparison.after)),
        code("json", spec.unwrap_or_default()),
    ]
}

/// The patch of a variant of the benchmark, or of a recommendation that was tried.
pub(super) fn patch_of<'a>(
    report: &'a Report,
    comparison: &Comparison,
) -> Option<&'a serde_json::Value> {
    let variant = || {
        let variants = report.benchmark.as_ref()?.get("variants")?.as_array()?;
        let name = serde_json::Value::from(comparison.after.as_str());
        variants
            .iter()
            .find(|one| one.get("name") == Some(&name))?
            .get("patch")
    };
    let recommended = || {
        let mut all = report.recommendations.iter();
        all.find(|one| one.id == comparison.after)?.patch.as_ref()
    };
    variant().or_else(recommended)
}

/// One comparison, as tables and plots.
pub(in crate::report) fn blocks_of(comparison: &Comparison) -> Vec<Block> {
    let mut blocks = vec![];
    blocks.extend(comparison.other_machine.as_ref().map(machine));
    for level in &comparison.levels {
        blocks.push(label(&format!(
            "{} → {} ({}, {})",
            comparison.before, comparison.after, level.scenario, level.load
        )));
        blocks.push(rows(level));
        blocks.extend(pictures([plot::before_after(comparison, level)]));
    }
    let capacity = comparison.capacity.as_ref();
    let alone = !comparison.is_of_another_machine();
    blocks.extend(capacity.map(|capacity| concurrency(capacity, alone)));
    if !comparison.left_out.is_empty() {
        blocks.push(text(format!(
            "Only one of the two ran: {}.",
            comparison.left_out.join(", ")
        )));
    }
    blocks
}

fn machine(other: &OtherMachine) -> Block {
    // Names stay as they are, at the beginning of a sentence, too.
    let text = format!("{}.", other.text);
    if other.of_other_kind {
        let mark = Mark::Warning;
        Block::Callout { mark, text }
    } else {
        super::text(text)
    }
}

/// A gain is told where the change `alone` can have brought it.
fn concurrency(capacity: &Capacity, alone: bool) -> Block {
    let sizes = capacity.before.as_ref().zip(capacity.after.as_ref());
    let sizes = sizes.filter(|_| alone);
    let gain = sizes.map(|(before, after)| (after.size / before.size - 1.0) * 100.0);
    table(
        "Concurrency: the highest of the loads measured under which every objective was met",
        ["Metric", "Before", "After", "Improvement"],
        [[
            "Concurrency".into(),
            borne(capacity.before.as_ref()).into(),
            borne(capacity.after.as_ref()).into(),
            gain.map_or_else(|| "—".to_owned(), |gain| format!("{gain:+.1} %"))
                .into(),
        ]],
    )
}

pub(super) const fn mark(change: Change) -> Mark {
    match change {
        Change::Better => Mark::Good,
        Change::Worse => Mark::Bad,
        Change::NoDifference | Change::WithinDrift => Mark::None,
        Change::CutOff | Change::OtherMachine | Change::NotKnown => Mark::Unknown,
    }
}

fn rows(level: &LevelComparison) -> Block {
    let repeated = level.rows.iter().any(repeated);
    let rows = level.rows.iter().map(|row| {
        let mut cells: Vec<Cell> = vec![
            words::compared_name(row.metric).into(),
            words::estimate(row.metric, row.before).into(),
        ];
        if repeated {
            let again = row.again.map(|again| words::estimate(row.metric, again));
            cells.push(
                again
                    .unwrap_or_else(|| words::NOT_MEASURED.to_owned())
                    .into(),
            );
        }
        cells.extend([
            words::estimate(row.metric, row.after).into(),
            words::improvement(row).into(),
            Cell::marked(mark(row.verdict), words::change_name(row)),
        ]);
        cells
    });
    let mut head = vec!["Metric", "Before"];
    head.extend(repeated.then_some("Before, measured again"));
    head.extend(["After", "Improvement", "Verdict"]);
    wide_table("Before and after", &head, rows.collect())
}
