//! Recording and alerting rules in Prometheus' own form, which is also a PrometheusRule's `spec`.
use super::Subject;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// The rules of one resource.
pub fn of_resource(_subject: &Subject<'_>) -> RuleFile {
    RuleFile::default()
}
