//! Section 6: what to do, grouped by how soon.
use super::{Block, Section, code, findings::sentence, label, list, table, text};
use crate::{
    analysis::{
        advice::{Priority, Recommendation, Risk},
        comparison::{Compared, Comparison, LevelComparison},
    },
    report::{
        model::Report,
        trial::{Trial, cause, trial},
        words,
    },
};

const GROUPS: [(&str, &str, Priority); 3] = [
    ("6.1", "High Priority (Quick Wins)", Priority::High),
    ("6.2", "Medium Priority", Priority::Medium),
    ("6.3", "Long-term Improvements", Priority::Low),
];

pub(super) fn section(report: &Report) -> Section {
    let groups = GROUPS.map(|(number, title, priority)| {
        let all = report.recommendations.iter().enumerate();
        let ours: Vec<_> = all.filter(|(_, one)| one.priority == priority).collect();
        let section = Section::new(number, title);
        if ours.is_empty() {
            return section.with([text("None: nothing in the evidence calls for one.")]);
        }
        section.under(
            ours.into_iter()
                .map(|(place, one)| recommendation(report, place + 1, one)),
        )
    });
    Section::new("6", "Optimization Recommendations")
        .with([text(
            "Expected impacts are projected by the formulas given, not measured. Where a recommendation was tried, what \
             was measured stands below; section 7.1 has its figures.",
        )])
        .under(groups)
}

fn recommendation(report: &Report, place: usize, one: &Recommendation) -> Section {
    let mut blocks = vec![
        label("Problem"),
        text(sentence(&one.problem)),
        label("Solution"),
        text(&one.solution),
    ];
    if let Some(patch) = &one.patch {
        let spec = serde_json::json!({"spec": patch});
        let patch = serde_json::to_string_pretty(&spec).unwrap_or_default();
        blocks.push(code("json", patch));
    }
    blocks.extend([
        label("Evidence"),
        list(one.evidence.clone()),
        label("Expected Impact"),
    ]);
    blocks.push(if one.impact.is_empty() {
        text("Not projected.")
    } else {
        impact(one)
    });
    blocks.extend(outcome(report, one));
    blocks.push(list([
        format!("Effort: {}", one.effort),
        format!("Risk: {}", risk(one.risk)),
        format!("Priority: {}", priority(one.priority)),
    ]));
    Section::new("", &format!("Recommendation {place}: {}", one.title)).with(blocks)
}

/// What came of it, where it was tried.
fn outcome(report: &Report, one: &Recommendation) -> Vec<Block> {
    let found = match trial(report, one) {
        Trial::None => return vec![],
        Trial::Failed(why) => {
            return vec![label("Measured"), text(format!("Not measured: {why}."))];
        }
        Trial::Measured(found) => found,
    };
    let held = if trial(report, one).brought_nothing() {
        "It was tried, and did not hold"
    } else {
        "It was tried"
    };
    let projected = one.impact.iter().map(|impact| {
        format!(
            "Projected: {} {} → {}",
            impact.metric, impact.now, impact.projected
        )
    });
    let measured = shown(report, one, found).map(measured);
    vec![
        label("Measured"),
        text(format!(
            "{held}: it {} (section 7.1).",
            words::effect(found)
        )),
        list(projected.chain(measured)),
    ]
}

/// The scenario where what it answers is worst, or else the heaviest.
fn shown<'a>(
    report: &Report,
    one: &Recommendation,
    found: &'a Comparison,
) -> Option<&'a LevelComparison> {
    let worst = cause(report, one).map(|finding| &finding.scenario);
    let mut levels = found.levels.iter();
    levels
        .find(|level| Some(&level.scenario) == worst)
        .or_else(|| found.levels.last())
}

fn measured(level: &LevelComparison) -> String {
    let wanted = [
        Compared::TtftP50,
        Compared::TtftP95,
        Compared::Tpot,
        Compared::Throughput,
    ];
    let rows = level.rows.iter().filter(|row| wanted.contains(&row.metric));
    let rows: Vec<_> = rows
        .map(|row| {
            format!(
                "{} {} → {} ({})",
                words::compared_name(row.metric),
                words::estimate(row.metric, row.before),
                words::estimate(row.metric, row.after),
                words::change_name(row)
            )
        })
        .collect();
    format!("Measured under {}: {}", level.load, rows.join("; "))
}

fn impact(one: &Recommendation) -> Block {
    let rows = one.impact.iter().map(|projection| {
        [
            projection.metric.as_str().into(),
            projection.now.as_str().into(),
            projection.projected.as_str().into(),
            projection.formula.as_str().into(),
        ]
    });
    table(
        "Projected, not measured",
        ["Figure", "Now (measured)", "Then (projected)", "Formula"],
        rows,
    )
}

pub(super) const fn risk(risk: Risk) -> &'static str {
    match risk {
        Risk::Low => "Low",
        Risk::Medium => "Medium",
        Risk::High => "High",
    }
}

pub(super) const fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "High",
        Priority::Medium => "Medium",
        Priority::Low => "Low",
    }
}
