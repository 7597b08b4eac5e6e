//! Section 10: sources, settings, and what could not be measured.
use super::{Block, Section, code, list, table, text};
use crate::report::model::Report;

/// Pages of Candlepower's documentation that explain what stands here.
const DOCUMENTATION: [&str; 4] = [
    "docs/benchmark.md: how load is applied, and how figures, findings and recommendations are made",
    "docs/observability.md: metrics, traces, alerts and dashboards",
    "docs/resources.md: the fields of LLMDeployment that recommendations change",
    "docs/reference/report.schema.json: this report's JSON form",
];

pub(super) fn section(report: &Report) -> Section {
    Section::new("10", "Appendices").under([
        Section::new("10.1", "References").with([list(references(report))]),
        Section::new("10.2", "Related Documentation").with([list(DOCUMENTATION)]),
        Section::new("10.3", "Test Data").with(data(report)),
        Section::new("10.4", "What Was Not Measured").with([missing(report)]),
        Section::new("10.5", "Document Control").with([list([
            "Version: 1.0".to_owned(),
            format!("Last Updated: {}", report.run.started_at),
            format!("Written by: {}", report.written_by),
        ])]),
    ])
}

fn references(report: &Report) -> Vec<String> {
    let mut all = vec![format!("Target: {}", report.run.url)];
    all.extend(
        report
            .traces_source
            .as_ref()
            .map(|source| format!("Traces: {source}")),
    );
    all.extend(
        report
            .metrics_source
            .as_ref()
            .map(|source| format!("Metrics: {source}")),
    );
    for one in &report.breakdowns {
        if let Some(id) = &one.root.trace_id {
            all.push(format!("Trace of {:?} in {}: {id}", one.role, one.scenario));
        }
    }
    all
}

fn data(report: &Report) -> Vec<Block> {
    let workload = serde_json::to_string_pretty(&report.run.workload).unwrap_or_default();
    let mut blocks = vec![
        text("Prompts are generated from the seed; the workload that they follow:"),
        code("json", workload),
    ];
    if let Some(spec) = &report.deployment {
        let spec = serde_json::to_string_pretty(spec).unwrap_or_default();
        blocks.extend([text("The LLMDeployment's spec:"), code("json", spec)]);
    }
    blocks
}

fn missing(report: &Report) -> Block {
    if report.missing.is_empty() {
        return text("Everything that the report asks for was measured.");
    }
    let rows = report
        .missing
        .iter()
        .map(|one| [one.what.as_str().into(), one.why.as_str().into()]);
    table("Missing, and why", ["What", "Why"], rows)
}
