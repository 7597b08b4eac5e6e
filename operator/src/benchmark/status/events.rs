//! What of a status is news: one event for each transition, none for a visit.
use crate::events::{event, find};
use candlepower_api::{benchmark::LLMBenchmarkStatus, names::conditions};
use kube::runtime::events::{Event, EventType};

/// Reasons that are a part of every run.
const USUAL: [&str; 5] = [
    conditions::QUEUED,
    conditions::JOB_PENDING,
    conditions::RUNNING,
    conditions::SCHEDULE_ACTIVE,
    conditions::REPORT_WRITTEN,
];

pub(super) fn transitions(
    previous: &LLMBenchmarkStatus,
    current: &LLMBenchmarkStatus,
) -> Vec<Event> {
    let changed = |type_: &str| {
        let before = find(&previous.conditions, type_).map(|condition| &condition.reason);
        find(&current.conditions, type_).filter(|now| before != Some(&now.reason))
    };
    let mut events = Vec::new();
    if let Some(complete) = changed(conditions::COMPLETE) {
        let type_ = if USUAL.contains(&complete.reason.as_str()) {
            EventType::Normal
        } else {
            EventType::Warning
        };
        events.push(event(complete, "Measure", type_));
    }
    if let Some(regressed) = changed(conditions::REGRESSED) {
        let type_ = if regressed.status == "True" {
            EventType::Warning
        } else {
            EventType::Normal
        };
        events.push(event(regressed, "Compare", type_));
    }
    events
}
