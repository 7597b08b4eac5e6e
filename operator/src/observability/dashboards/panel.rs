//! One panel of a dashboard, in Grafana's form.
use crate::sorted::sorted;
use candlepower_api::names::labels;
use serde_json::{Value, json};

/// How a panel is drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Lines,
    StackedLines,
    Gauge,
    Stat,
    Pie,
    Heatmap,
}

/// On which side of the threshold a value is bad.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bad {
    Above(f64),
    Below(f64),
}

/// One query and the name of what it finds.
#[derive(Clone, Debug)]
struct Target {
    expr: String,
    legend: String,
}

/// A panel; it is placed by its row.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    kind: Kind,
    /// Columns, of 24.
    pub(super) width: u32,
    targets: Vec<Target>,
    bad: Option<Bad>,
    range: Option<(f64, f64)>,
    exemplars: bool,
    /// What its traces are searched by, where it leads to a search.
    searched: Option<Searched>,
}

/// Which requests a panel leads to. The server exports all that failed or came late.
#[derive(Clone, Copy, Debug)]
pub(super) enum Searched {
    /// Answered with a status of 500 or more: their spans are marked as errors.
    Failed,
    /// That took at least so many seconds.
    Slow(f64),
}

impl Panel {
    pub(super) const fn new(
        kind: Kind,
        title: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            title,
            description,
            unit,
            kind,
            width: 12,
            targets: Vec::new(),
            bad: None,
            range: None,
            exemplars: false,
            searched: None,
        }
    }

    /// Adds a query; `legend` is Grafana's template.
    pub(super) fn query(mut self, expr: String, legend: &str) -> Self {
        self.targets.push(Target {
            expr,
            legend: legend.to_owned(),
        });
        self
    }

    pub(super) const fn width(mut self, width: u32) -> Self {
        self.width = width;
        self
    }

    pub(super) const fn bad(mut self, bad: Bad) -> Self {
        self.bad = Some(bad);
        self
    }

    /// The axis' ends.
    pub(super) const fn range(mut self, least: f64, most: f64) -> Self {
        self.range = Some((least, most));
        self
    }

    /// Marks single requests, each of which leads to its trace.
    pub(super) const fn with_exemplars(mut self) -> Self {
        self.exemplars = true;
        self
    }

    /// Leads to the traces of such requests.
    pub(super) const fn leads_to(mut self, searched: Searched) -> Self {
        self.searched = Some(searched);
        self
    }

    /// Whether one of its links leads to a trace.
    pub(super) const fn uses_traces(&self) -> bool {
        self.exemplars || self.searched.is_some()
    }

    pub(super) fn json(&self, id: u32, (x, y): (u32, u32), height: u32) -> Value {
        let targets: Vec<_> = (b'A'..=b'Z')
            .zip(&self.targets)
            .map(|(letter, target)| self.target(char::from(letter), target))
            .collect();
        json!({
            "id": id,
            "type": self.grafana_type(),
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE.json(),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": height},
            "fieldConfig": {"defaults": self.field_defaults(), "overrides": []},
            "options": self.options(),
            "targets": targets,
        })
    }

    const fn grafana_type(&self) -> &'static str {
        match self.kind {
            Kind::Lines | Kind::StackedLines => "timeseries",
            Kind::Gauge => "gauge",
            Kind::Stat => "stat",
            Kind::Pie => "piechart",
            Kind::Heatmap => "heatmap",
        }
    }

    /// Whether only the newest value is shown.
    const fn is_instant(&self) -> bool {
        matches!(self.kind, Kind::Gauge | Kind::Stat | Kind::Pie)
    }

    fn target(&self, letter: char, target: &Target) -> Value {
        let format = if self.kind == Kind::Heatmap {
            "heatmap"
        } else {
            "time_series"
        };
        json!({
            "refId": letter.to_string(),
            "datasource": DATASOURCE.json(),
            "editorMode": "code",
            "expr": target.expr,
            "legendFormat": target.legend,
            "format": format,
            "instant": self.is_instant(),
            "range": !self.is_instant(),
            "exemplar": self.exemplars,
        })
    }

    fn field_defaults(&self) -> Value {
        let steps = match self.bad {
            None => json!([{"color": "green", "value": null}]),
            Some(Bad::Above(value)) => {
                json!([{"color": "green", "value": null}, {"color": "red", "value": value}])
            }
            Some(Bad::Below(value)) => {
                json!([{"color": "red", "value": null}, {"color": "green", "value": value}])
            }
        };
        let mut defaults = json!({
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": steps},
        });
        if let Some((least, most)) = self.range {
            defaults["min"] = json!(least);
            defaults["max"] = json!(most);
        }
        if matches!(self.kind, Kind::Lines | Kind::StackedLines) {
            let stacked = self.kind == Kind::StackedLines;
            defaults["min"] = json!(0);
            defaults["color"] = json!({"mode": "palette-classic"});
            defaults["custom"] = json!({
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": if stacked { 40 } else { 8 },
                "showPoints": "never",
                "spanNulls": false,
                "stacking": {"mode": if stacked { "normal" } else { "none" }, "group": "A"},
                "thresholdsStyle": {"mode": if self.bad.is_some() { "line" } else { "off" }},
            });
        }
        if self.kind == Kind::Pie {
            defaults["color"] = json!({"mode": "palette-classic"});
        }
        let one = self.exemplars.then(trace_link);
        let links: Vec<_> = one
            .into_iter()
            .chain(self.searched.map(search_link))
            .collect();
        if !links.is_empty() {
            defaults["links"] = json!(links);
        }
        defaults
    }

    fn options(&self) -> Value {
        let newest = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
        match self.kind {
            Kind::Lines | Kind::StackedLines => json!({
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Kind::Gauge => json!({
                "reduceOptions": newest, "orientation": "auto",
                "showThresholdLabels": false, "showThresholdMarkers": true,
            }),
            Kind::Stat => json!({
                "reduceOptions": newest, "orientation": "auto", "textMode": "auto",
                "colorMode": "value", "graphMode": "none", "justifyMode": "auto",
            }),
            Kind::Pie => json!({
                "reduceOptions": newest, "pieType": "pie",
                "legend": {"displayMode": "table", "placement": "right", "showLegend": true, "values": ["value", "percent"]},
                "tooltip": {"mode": "single", "sort": "none"},
            }),
            Kind::Heatmap => json!({
                "calculate": false,
                "cellGap": 1,
                "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange", "reverse": false},
                "exemplars": {"color": "rgba(255,0,255,0.7)"},
                "filterValues": {"le": 1e-9},
                "legend": {"show": true},
                "rowsFrame": {"layout": "auto"},
                "tooltip": {"mode": "single", "yHistogram": false, "showColorScale": true},
                "yAxis": {"axisPlacement": "left", "reverse": false, "unit": self.unit},
            }),
        }
    }
}

/// A dashboard's variable that stands for a data source.
pub(super) struct DataSource {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
}

/// Where all figures come from.
pub(super) const DATASOURCE: DataSource = DataSource {
    name: "datasource",
    kind: "prometheus",
};
/// Where traces are.
pub(super) const TRACES: DataSource = DataSource {
    name: "traces",
    kind: "jaeger",
};

impl DataSource {
    pub(super) fn json(&self) -> Value {
        json!({"type": self.kind, "uid": format!("${{{}}}", self.name)})
    }
}

/// From an exemplar to its trace. A series' own points have no trace id, and the link is then the
/// traces' search page.
fn trace_link() -> Value {
    link(
        "Trace of this request",
        json!({"query": "${__data.fields.trace_id}"}),
    )
}

/// From a panel to the traces of the time shown that explain it.
fn search_link(searched: Searched) -> Value {
    let (title, key, value) = match searched {
        Searched::Failed => ("Failed requests", "tags", "error=true".to_owned()),
        Searched::Slow(seconds) => {
            let milliseconds = (seconds * 1000.0).round();
            ("Slow requests", "minDuration", format!("{milliseconds}ms"))
        }
    };
    link(
        title,
        json!({"queryType": "search", "service": labels::SERVER_NAME, key: value}),
    )
}

/// A link to Explore, with a query of the traces' data source.
fn link(title: &str, mut query: Value) -> Value {
    query["refId"] = json!("A");
    query["datasource"] = TRACES.json();
    let panes = sorted(json!({"traces": {
        "datasource": format!("${{{}}}", TRACES.name),
        "queries": [query],
        "range": {"from": "${__from}", "to": "${__to}"},
    }}));
    json!({
        "title": title,
        "url": format!("/explore?schemaVersion=1&panes={panes}"),
        "targetBlank": true,
    })
}
