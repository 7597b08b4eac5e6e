//! Section 8: how to keep watch after the run.
use super::{Section, list, table, text};
use crate::report::{model::Report, words};
use candlepower_api::names::alerts;

/// An alert, what it means, and how bad it is.
const ALERTS: [(&str, &str, &str, &str); 6] = [
    (
        alerts::TIME_TO_FIRST_TOKEN_HIGH,
        "TTFT P95 over its threshold for 5 minutes",
        "Warning",
        "Investigate traces",
    ),
    (
        alerts::MEMORY_HIGH,
        "memory over its threshold",
        "Critical",
        "Scale down traffic, or raise the limit",
    ),
    (
        alerts::ERROR_RATE_HIGH,
        "failures over their threshold",
        "Critical",
        "Investigate logs",
    ),
    (
        alerts::THROUGHPUT_LOW,
        "few tokens per second while requests run",
        "Warning",
        "Check CPU or GPU utilization",
    ),
    (
        alerts::QUEUE_FULL,
        "requests are refused",
        "Warning",
        "Add replicas or places",
    ),
    (
        alerts::COLD_START_SLOW,
        "the model loads far longer than it used to",
        "Warning",
        "Check storage",
    ),
];

pub(super) fn section(report: &Report) -> Section {
    let rows = ALERTS.map(|(name, condition, severity, action)| {
        [name, condition, severity, action].map(Into::into)
    });
    let targets: Vec<_> = report
        .objectives
        .iter()
        .map(|one| format!("{} {}", words::metric_name(one.metric), words::target(*one)))
        .collect();
    let targets = if targets.is_empty() {
        "This run had no objectives to derive thresholds from.".to_owned()
    } else {
        format!(
            "This run's objectives, as thresholds: {}.",
            targets.join("; ")
        )
    };
    Section::new("8", "Monitoring and Alerts").under([
        Section::new("8.1", "Recommended Dashboards").with([list([
            "Performance Overview: TTFT P50/P95/P99, TPOT, throughput",
            "Resource Utilization: GPU, memory, CPU, active requests",
            "Error Tracking: error rate, breakdown by type",
        ])]),
        Section::new("8.2", "Alert Rules").with([
            text(targets),
            table(
                "Alerts that come with an LLMDeployment; thresholds are in spec.alerts",
                ["Alert", "Condition", "Severity", "Action"],
                rows,
            ),
        ]),
    ])
}
