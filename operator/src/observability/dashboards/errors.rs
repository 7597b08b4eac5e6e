//! What fails, and why.
use super::{
    Limits,
    board::{Board, Choice},
    panel::{Bad, Kind, Panel, Searched},
    performance::MODEL,
};
use crate::observability::queries::Scope;
use candlepower_api::names::metrics as names;

/// What Grafana replaces with the time that the dashboard shows.
const SHOWN: &str = "$__range";

pub(super) fn board(limits: Limits) -> Board {
    Board {
        name: "errors",
        title: "Errors",
        description: "Failed and refused requests, why answers end, and the export of spans.",
        choice: Choice::Pods,
        rows: vec![
            ("Rate", rate(limits)),
            ("Breakdown", breakdown()),
            ("Causes", causes()),
        ],
    }
}

fn rate(limits: Limits) -> Vec<Panel> {
    let scope = Scope::of_dashboard();
    vec![
        Panel::new(
            Kind::Stat,
            "Error rate",
            "percentunit",
            "Share of the requests that fail through the server's fault; red above the alert's threshold.",
        )
        .query(scope.error_ratio(), MODEL)
        .bad(Bad::Above(limits.errors))
        .width(6),
        Panel::new(
            Kind::Lines,
            "Error rate over time",
            "percentunit",
            "Share of the requests that fail through the server's fault. The red line is the alert's threshold. Its link leads to the traces of failed requests.",
        )
        .query(scope.error_ratio(), MODEL)
        .bad(Bad::Above(limits.errors))
        .leads_to(Searched::Failed)
        .width(18),
    ]
}

fn breakdown() -> Vec<Panel> {
    let scope = Scope::of_dashboard();
    vec![
        Panel::new(
            Kind::Pie,
            "Errors by type",
            "short",
            "Requests refused or failed in the time shown, whoever's fault it was.",
        )
        .query(
            scope
                .over(SHOWN)
                .increase_by(names::REQUEST_ERRORS, names::LABEL_ERROR_TYPE),
            "{{error_type}}",
        )
        .width(8),
        Panel::new(
            Kind::Pie,
            "Errors by fault",
            "short",
            "Errors of the server, which alerts count, and of wrong requests, which they do not.",
        )
        .query(
            scope
                .over(SHOWN)
                .increase_by(names::REQUEST_ERRORS, names::LABEL_FAULT),
            "{{fault}}",
        )
        .width(8),
        Panel::new(
            Kind::Pie,
            "Why answers end",
            "short",
            "stop: the model ended; length: the limit was reached; abort: the client went away.",
        )
        .query(
            scope
                .over(SHOWN)
                .increase_by(names::REQUEST_SUCCESS, names::LABEL_FINISHED_REASON),
            "{{finished_reason}}",
        )
        .width(8),
    ]
}

fn causes() -> Vec<Panel> {
    let scope = Scope::of_dashboard();
    vec![
        Panel::new(
            Kind::StackedLines,
            "Errors by type over time",
            "reqps",
            "Requests refused or failed per second.",
        )
        .query(
            scope.rate_by(names::REQUEST_ERRORS, names::LABEL_ERROR_TYPE),
            "{{error_type}} {{namespace}}/{{llmdeployment}}",
        )
        .leads_to(Searched::Failed),
        Panel::new(
            Kind::StackedLines,
            "Answers by their end",
            "reqps",
            "Requests answered per second.",
        )
        .query(
            scope.rate_by(names::REQUEST_SUCCESS, names::LABEL_FINISHED_REASON),
            "{{finished_reason}} {{namespace}}/{{llmdeployment}}",
        ),
        Panel::new(
            Kind::Lines,
            "Refused because the queue was full",
            "short",
            "Requests that got 429, in each window.",
        )
        .query(scope.refused_by_full_queue(), MODEL),
        Panel::new(
            Kind::Lines,
            "Export of spans",
            "suffix: spans/s",
            "Spans that the collector took, spans that were lost, and batches that could not be sent.",
        )
        .query(
            scope.rate(names::TRACE_SPANS_EXPORTED),
            &format!("exported {MODEL}"),
        )
        .query(
            scope.rate(names::TRACE_SPANS_DROPPED),
            &format!("dropped {MODEL}"),
        )
        .query(
            scope.rate(names::TRACE_EXPORT_FAILURES),
            &format!("failed batches {MODEL}"),
        ),
    ]
}
