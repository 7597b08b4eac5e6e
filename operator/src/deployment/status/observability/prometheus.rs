//! What Prometheus says of the pods and the rules, as a verdict.
use super::{Found, chosen};
use crate::{
    conditions::Truth,
    deployment::monitoring::{Choice, prometheus::Finding},
};
use candlepower_api::{deployment::MetricsMode, names::conditions as names};

/// That it gave no answer.
pub(super) fn unreachable(why: &str) -> String {
    format!("Prometheus does not answer: {why}")
}

/// What Prometheus' answer means.
pub(super) fn judged(choice: &Choice, finding: &Finding) -> Found {
    if let Some(why) = &finding.unreachable {
        return (
            Truth::Unknown,
            names::PROMETHEUS_UNREACHABLE,
            unreachable(why),
        );
    }
    if finding.up == 0 && finding.down == 0 {
        return (
            Truth::False,
            names::NOT_SCRAPED,
            match choice.metrics {
                MetricsMode::PodMonitor => "Prometheus has no target for the pods: compare the PodMonitor's labels with its podMonitorSelector; the chart sets them by podMonitor.labels",
                _ => "the Prometheus beside the model has not scraped it yet",
            }
            .to_owned(),
        );
    }
    if finding.down > 0 {
        return (
            Truth::False,
            names::NOT_SCRAPED,
            format!(
                "Prometheus cannot scrape {} of {} targets: check network policies, and /metrics of the pods",
                finding.down,
                finding.up + finding.down
            ),
        );
    }
    if finding.up < finding.expected {
        let cure = match choice.metrics {
            MetricsMode::PodMonitor => "look at its page of targets, and at the PodMonitor",
            _ => "look at the log of the Prometheus in the others",
        };
        return (
            Truth::False,
            names::NOT_SCRAPED,
            format!(
                "Prometheus scrapes {} of {} pods that have served for two minutes: {cure}",
                finding.up, finding.expected
            ),
        );
    }
    if !finding.missing_groups.is_empty() {
        let cure = match choice.metrics {
            MetricsMode::PodMonitor if !choice.served.prometheus_rule => {
                "the cluster does not serve PrometheusRule"
            }
            MetricsMode::PodMonitor => {
                "compare the PrometheusRule's labels with its ruleSelector; the chart sets them by prometheusRule.labels"
            }
            _ => "it takes up to two minutes after a change",
        };
        return (
            Truth::False,
            names::RULES_NOT_LOADED,
            format!(
                "Prometheus has not loaded {}: {cure}",
                finding.missing_groups.join(", ")
            ),
        );
    }
    (
        Truth::True,
        names::COLLECTING,
        format!(
            "{}; the pods are scraped and the rules are loaded",
            chosen(choice)
        ),
    )
}
