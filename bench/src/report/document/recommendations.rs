//! Section 6: what to do, grouped by how soon.
use super::{Block, Section, bottlenecks::sentence, code, label, list, table, text};
use crate::{
    analysis::advice::{Priority, Recommendation, Risk},
    report::model::Report,
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
                .map(|(place, one)| recommendation(place + 1, one)),
        )
    });
    Section::new("6", "Optimization Recommendations")
        .with([text(
            "Impacts are projected by the formulas given, not measured; section 7 has what was \
             measured.",
        )])
        .under(groups)
}

fn recommendation(place: usize, one: &Recommendation) -> Section {
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
    blocks.push(list([
        format!("Effort: {}", one.effort),
        format!("Risk: {}", risk(one.risk)),
        format!("Priority: {}", priority(one.priority)),
    ]));
    Section::new("", &format!("Recommendation {place}: {}", one.title)).with(blocks)
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
