//! Recording and alerting rules in Prometheus' own form, which is also a PrometheusRule's `spec`.
mod alerts;
mod objectives;
mod operator;
pub mod recording;
#[cfg(test)]
mod tests;

use super::Subject;
use candlepower_api::{deployment::Severity, names::alerts::runbook};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use candlepower_api::names::alerts::DEFAULT_RUNBOOKS;
pub use operator::of_operator;

/// A server that was started again this often within [`CRASH_LOOP`] ends again and again.
pub const CRASH_LOOP_RESTARTS: i32 = 3;
/// How far back the operator's own count of restarts is looked at. Kubernetes waits up to five
/// minutes between two starts, so that fewer minutes would at times hold too few of them.
pub const CRASH_LOOP: std::time::Duration = std::time::Duration::from_secs(20 * 60);

/// A file of rules, or a PrometheusRule's `spec`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct RuleFile {
    /// The groups; each is evaluated by itself.
    pub groups: Vec<RuleGroup>,
}

/// Rules that are evaluated one after the other.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RuleGroup {
    /// Its name, which no other group of the same Prometheus has.
    pub name: String,
    /// How often it is evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// The rules, recording rules first.
    pub rules: Vec<Rule>,
}

/// A recording rule or an alert.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Rule {
    /// Name of the series to record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Name of the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// PromQL.
    pub expr: String,
    /// How long an alert's expression must hold.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Labels to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Texts for people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The rules of one resource. `runbooks` is the folder of the runbooks: each alert's page is
/// `<runbooks>/<alert>.md`.
pub fn of_resource(subject: &Subject<'_>, runbooks: &str) -> RuleFile {
    let interval = subject.spec.observability.metrics.interval;
    let group = |part: &str, rules: Vec<Rule>| RuleGroup {
        name: format!("candlepower:{}:{}:{part}", subject.namespace, subject.name),
        interval: Some(interval.to_string()),
        rules,
    };
    let groups = [
        group("recording", recording::rules(subject)),
        group("alerts", alerts::rules(subject, runbooks)),
        group("objectives", objectives::rules(subject, runbooks)),
    ];
    RuleFile {
        groups: groups
            .into_iter()
            .filter(|group| !group.rules.is_empty())
            .collect(),
    }
}

/// The names of the groups that have alerts in them.
pub fn groups_with_alerts(subject: &Subject<'_>, runbooks: &str) -> Vec<String> {
    of_resource(subject, runbooks)
        .groups
        .into_iter()
        .filter(|group| group.rules.iter().any(|rule| rule.alert.is_some()))
        .map(|group| group.name)
        .collect()
}

/// What all alerts have, whichever group they are in.
struct Alert<'a> {
    name: &'a str,
    expr: String,
    hold: String,
    severity: Severity,
    /// The same for each firing of the alert.
    summary: &'a str,
    /// With the resource and the value, filled in by Prometheus.
    description: String,
}

impl Alert<'_> {
    /// Of a resource, which the description names first.
    fn into_rule(mut self, runbooks: &str) -> Rule {
        self.description = format!(
            "{{{{ $labels.namespace }}}}/{{{{ $labels.llmdeployment }}}}: {}",
            self.description
        );
        self.into_plain_rule(runbooks)
    }

    fn into_plain_rule(self, runbooks: &str) -> Rule {
        let runbook = runbook(runbooks, self.name);
        Rule {
            alert: Some(self.name.to_owned()),
            expr: self.expr,
            hold: Some(self.hold),
            labels: text_map([("severity", severity(self.severity).to_owned())]),
            annotations: text_map([
                ("summary", self.summary.to_owned()),
                ("description", self.description),
                ("runbook_url", runbook),
            ]),
            ..Rule::default()
        }
    }
}

fn record(name: &str, expr: String) -> Rule {
    Rule {
        record: Some(name.to_owned()),
        expr,
        ..Rule::default()
    }
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

/// A number without the noise of binary fractions.
fn number(value: f64) -> String {
    ((value * 1e10).round() / 1e10).to_string()
}

fn text_map<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
