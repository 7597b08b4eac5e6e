//! A whole dashboard: its panels in rows, its variables and its identity.
use super::panel::{DATASOURCE, DataSource, Panel, TRACES};
use crate::sorted::sorted;
use candlepower_api::names::{metrics, operator_metrics as operator};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;

const HEIGHT: u32 = 8;
/// Columns of Grafana's grid.
pub(super) const COLUMNS: u32 = 24;

/// Whose figures are shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'a> {
    /// Those that the reader chooses.
    All,
    /// Those of one resource.
    Resource { namespace: &'a str, name: &'a str },
}

/// What chooses the series of a dashboard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Choice {
    /// Namespace, resource and pod.
    Pods,
    /// Namespace and resource, and the operator's own namespace.
    Fleet,
}

/// A dashboard, whoever looks at it.
#[derive(Clone, Debug)]
pub(super) struct Board {
    /// Its file's name without the ending.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) choice: Choice,
    /// Titles of rows, and their panels from left to right.
    pub(super) rows: Vec<(&'static str, Vec<Panel>)>,
}

/// Stands in a dashboard's text where its panels belong. No string of JSON can hold it, because of the quotes.
const PANELS: &str = r#""panels":null"#;

impl Board {
    pub(super) fn json(&self, view: View<'_>) -> Value {
        let mut frame = self.frame(view);
        frame["panels"] = self.panels().into();
        frame
    }

    /// [`Self::json`] as text, with panels by [`Self::panels_text`].
    pub(super) fn text(&self, view: View<'_>, panels: &str) -> String {
        let frame = sorted(self.frame(view)).to_string();
        frame.replacen(PANELS, &format!(r#""panels":{panels}"#), 1)
    }

    /// The panels, which do not depend on whose figures are shown.
    pub(super) fn panels_text(&self) -> String {
        sorted(self.panels().into()).to_string()
    }

    /// Everything but the panels.
    fn frame(&self, view: View<'_>) -> Value {
        let title = match view {
            View::All => format!("Candlepower / {}", self.title),
            View::Resource { namespace, name } => {
                format!("Candlepower / {namespace}/{name} / {}", self.title)
            }
        };
        json!({
            "uid": self.uid(view),
            "title": title,
            "description": self.description,
            "tags": ["candlepower"],
            "editable": false,
            "graphTooltip": 1,
            "schemaVersion": 39,
            "version": 1,
            "timezone": "browser",
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "annotations": {"list": []},
            "links": [{
                "type": "dashboards", "title": "Candlepower", "tags": ["candlepower"],
                "asDropdown": true, "includeVars": true, "keepTime": true,
            }],
            "templating": {"list": self.variables(view)},
            "panels": null,
        })
    }

    /// At most 40 characters, and the same for the same resource.
    fn uid(&self, view: View<'_>) -> String {
        match view {
            View::All => format!("candlepower-{}", self.name),
            View::Resource { namespace, name } => {
                let hash = Sha256::digest(format!("{namespace}/{name}"));
                let id = hash.iter().take(6).fold(String::new(), |mut id, byte| {
                    // Writing to a string cannot fail.
                    let _ = write!(id, "{byte:02x}");
                    id
                });
                format!("candlepower-{}-{id}", self.name)
            }
        }
    }

    fn panels(&self) -> Vec<Value> {
        let mut panels = Vec::new();
        let mut y = 0;
        let mut id = 0;
        for (title, row) in &self.rows {
            id += 1;
            panels.push(json!({
                "id": id, "type": "row", "title": title, "collapsed": false, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }));
            y += 1;
            let mut x = 0;
            for panel in row {
                if x + panel.width > COLUMNS {
                    x = 0;
                    y += HEIGHT;
                }
                id += 1;
                panels.push(panel.json(id, (x, y), HEIGHT));
                x += panel.width;
            }
            y += HEIGHT;
        }
        panels
    }

    fn variables(&self, view: View<'_>) -> Vec<Value> {
        let mut variables = vec![data_source(&DATASOURCE, "Prometheus")];
        let source = match self.choice {
            Choice::Pods => metrics::MODEL_LOADED,
            Choice::Fleet => operator::INFO,
        };
        match view {
            View::All => {
                variables.push(choice("namespace", "Namespace", source, ""));
                variables.push(choice(
                    "llmdeployment",
                    "Deployment",
                    source,
                    "namespace=~\"$namespace\"",
                ));
            }
            View::Resource { namespace, name } => {
                variables.push(preset("namespace", "Namespace", namespace));
                variables.push(preset("llmdeployment", "Deployment", name));
            }
        }
        match self.choice {
            Choice::Pods => {
                let matchers = "namespace=~\"$namespace\",llmdeployment=~\"$llmdeployment\"";
                variables.push(choice("pod", "Pod", source, matchers));
            }
            Choice::Fleet => {
                let mut variable = choice("operator", "Operator's namespace", "", "");
                let query = format!("label_values({}, namespace)", operator::RECONCILES);
                variable["query"] = json!({"query": query, "refId": "operator"});
                variable["definition"] = json!(query);
                variables.push(variable);
            }
        }
        let mut panels = self.rows.iter().flat_map(|(_, row)| row);
        if panels.any(Panel::uses_traces) {
            variables.push(data_source(&TRACES, "Traces"));
        }
        variables
    }
}

fn data_source(source: &DataSource, label: &str) -> Value {
    json!({
        "type": "datasource", "name": source.name, "label": label, "query": source.kind,
        "current": {}, "hide": 0, "includeAll": false, "multi": false, "options": [], "refresh": 1, "regex": "",
    })
}

/// Everything that a label can be; `.*` also matches where it is absent.
fn choice(label: &str, title: &str, metric: &str, matchers: &str) -> Value {
    let series = if matchers.is_empty() {
        metric.to_owned()
    } else {
        format!("{metric}{{{matchers}}}")
    };
    let query = format!("label_values({series}, {label})");
    json!({
        "type": "query", "name": label, "label": title, "datasource": DATASOURCE.json(),
        "query": {"query": query, "refId": label}, "definition": query,
        "multi": true, "includeAll": true, "allValue": ".*",
        "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
        "refresh": 2, "sort": 1, "hide": 0, "regex": "", "options": [],
    })
}

/// The one value that the dashboard is about.
fn preset(label: &str, title: &str, value: &str) -> Value {
    json!({
        "type": "custom", "name": label, "label": title, "query": value,
        "multi": true, "includeAll": false, "allValue": null,
        "current": {"selected": true, "text": [value], "value": [value]},
        "options": [{"selected": true, "text": value, "value": value}],
        "hide": 0,
    })
}
