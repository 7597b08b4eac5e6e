//! Section 8: how to keep watch after the run.
use super::{Block, Cell, Section, list, table, text};
use crate::report::{model::Report, words};
use candlepower_api::{
    deployment::{Alerts, LLMDeploymentSpec, Severity},
    names::alerts,
};

pub(super) fn section(report: &Report) -> Section {
    Section::new("8", "Monitoring and Alerts").under([
        Section::new("8.1", "Recommended Dashboards").with([list([
            "Performance Overview: TTFT P50/P95/P99 (line chart), TPOT (line chart), throughput (gauge)",
            "Resource Utilization: GPU utilization, memory, CPU, active requests (gauges and line charts)",
            "Error Tracking: error rate (line chart), breakdown by type (stacked chart)",
        ])]),
        Section::new("8.2", "Alert Rules").with(rules(report)),
    ])
}

fn rules(report: &Report) -> Vec<Block> {
    let mut blocks = vec![text(thresholds(report))];
    let spec = report.deployment.clone();
    let spec = spec.and_then(|spec| serde_json::from_value::<LLMDeploymentSpec>(spec).ok());
    blocks.push(match spec {
        Some(spec) => table(
            "Alerts of this LLMDeployment, with the thresholds of its spec.alerts",
            ["Alert", "Condition", "Severity", "Action"],
            rows(&spec.alerts),
        ),
        None => text(
            "The target is no LLMDeployment, so no alerts come with it: set some up by these thresholds.",
        ),
    });
    blocks
}

fn thresholds(report: &Report) -> String {
    let all = report.objectives.iter();
    let all: Vec<_> = all
        .map(|one| format!("{} {}", words::metric_name(one.metric), words::target(*one)))
        .collect();
    if all.is_empty() {
        "This run had no objectives to derive thresholds from.".to_owned()
    } else {
        format!("This run's objectives, as thresholds: {}.", all.join("; "))
    }
}

fn rows(spec: &Alerts) -> Vec<[Cell; 4]> {
    let (ttft, memory) = (&spec.time_to_first_token_p95, &spec.memory_utilization);
    let (errors, throughput) = (&spec.error_rate, &spec.throughput);
    let row = |name: &str, condition: String, severity: &str, action: &str| {
        [
            name.into(),
            condition.into(),
            severity.into(),
            action.into(),
        ]
    };
    vec![
        row(
            alerts::TIME_TO_FIRST_TOKEN_HIGH,
            format!("TTFT P95 > {} for {}", ttft.threshold, ttft.r#for),
            urgency(ttft.enabled, ttft.severity),
            "Investigate traces",
        ),
        row(
            alerts::MEMORY_HIGH,
            format!("memory > {} for {}", memory.threshold, memory.r#for),
            urgency(memory.enabled, memory.severity),
            "Scale down traffic, or raise the limit",
        ),
        row(
            alerts::ERROR_RATE_HIGH,
            format!("error rate > {} for {}", errors.threshold, errors.r#for),
            urgency(errors.enabled, errors.severity),
            "Investigate logs",
        ),
        row(
            alerts::THROUGHPUT_LOW,
            format!(
                "< {} tok/s for {} while requests run",
                throughput.threshold, throughput.r#for
            ),
            urgency(throughput.enabled, throughput.severity),
            "Check CPU or GPU utilization",
        ),
        row(
            alerts::QUEUE_FULL,
            "requests are refused because the queue is full".to_owned(),
            urgency(true, Severity::Warning),
            "Add replicas or places",
        ),
        row(
            alerts::COLD_START_SLOW,
            "the model loads far longer than it used to".to_owned(),
            urgency(true, Severity::Warning),
            "Check storage",
        ),
    ]
}

const fn urgency(enabled: bool, severity: Severity) -> &'static str {
    match severity {
        _ if !enabled => "switched off",
        Severity::Critical => "Critical",
        Severity::Warning => "Warning",
        Severity::Info => "Info",
    }
}
