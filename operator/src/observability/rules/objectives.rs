//! Burn rates of error budgets, over several windows: a fast burn wakes somebody soon, a slow one
//! is seen before the budget of 30 days is gone.
use super::{Alert, Rule, number, record};
use crate::observability::{Subject, queries::Scope};
use candlepower_api::{
    deployment::Severity,
    names::alerts as names,
    value::{Duration, Percentage},
};

/// A burn rate that holds over a long window, and over a short one so that the alert ends soon
/// after the trouble.
struct Burn {
    factor: f64,
    long: &'static str,
    short: &'static str,
    hold: &'static str,
    severity: Severity,
}

const BURNS: [Burn; 4] = [
    Burn {
        factor: 14.4,
        long: "1h",
        short: "5m",
        hold: "2m",
        severity: Severity::Critical,
    },
    Burn {
        factor: 6.0,
        long: "6h",
        short: "30m",
        hold: "15m",
        severity: Severity::Critical,
    },
    Burn {
        factor: 3.0,
        long: "1d",
        short: "2h",
        hold: "1h",
        severity: Severity::Warning,
    },
    Burn {
        factor: 1.0,
        long: "3d",
        short: "6h",
        hold: "3h",
        severity: Severity::Warning,
    },
];
const WINDOWS: [&str; 7] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];

/// Beginning of the names of the recorded shares of failed requests; the window follows.
pub(super) const ERRORS: &str = "llmdeployment:llm_request_errors:ratio_rate";
/// Beginning of the names of the recorded shares of requests with a late first token.
pub(super) const SLOW: &str = "llmdeployment:llm_time_to_first_token_slow:ratio_rate";

pub(super) fn rules(subject: &Subject<'_>, runbooks: &str) -> Vec<Rule> {
    let scope = Scope::of_resource(subject);
    let objectives = &subject.spec.objectives;
    let mut rules = Vec::new();
    if let Some(target) = objectives.availability {
        rules.extend(WINDOWS.map(|window| {
            record(
                &format!("{ERRORS}{window}"),
                scope.over(window).error_ratio(),
            )
        }));
        rules.extend(alerts(
            &scope,
            runbooks,
            (names::AVAILABILITY_BUDGET_BURN, ERRORS),
            target,
            (
                "Requests fail so often that the availability objective is in danger.",
                "failed",
            ),
        ));
    }
    if let Some(objective) = &objectives.time_to_first_token {
        let late = |window: &str, threshold: Duration| {
            scope.over(window).slow_first_token_ratio(threshold)
        };
        rules.extend(WINDOWS.map(|window| {
            record(
                &format!("{SLOW}{window}"),
                late(window, objective.threshold),
            )
        }));
        rules.extend(alerts(
            &scope,
            runbooks,
            (names::LATENCY_BUDGET_BURN, SLOW),
            objective.target,
            (
                "First tokens come so late that the latency objective is in danger.",
                "waited too long for their first token",
            ),
        ));
    }
    rules
}

fn alerts(
    scope: &Scope,
    runbooks: &str,
    (alert, series): (&str, &str),
    target: Percentage,
    (summary, what): (&str, &str),
) -> Vec<Rule> {
    let budget = 1.0 - target.fraction();
    BURNS
        .iter()
        .map(|burn| {
            let limit = number(burn.factor * budget);
            let above = |window| {
                let series = scope.each(&format!("{series}{window}"));
                format!("{series} > {limit}")
            };
            let mut rule = Alert {
                name: alert,
                expr: format!("{} and {}", above(burn.long), above(burn.short)),
                hold: burn.hold.to_owned(),
                severity: burn.severity,
                summary,
                description: format!(
                    "{{{{ $value | humanizePercentage }}}} of the requests of the last {} {what}; the objective allows {}% and its budget burns more than {} times as fast as it may.",
                    burn.long,
                    number(budget * 100.0),
                    burn.factor
                ),
            }
            .into_rule(runbooks);
            rule.labels
                .insert("window".to_owned(), burn.long.to_owned());
            rule
        })
        .collect()
}
