//! All deployments at a glance: one row each.
use super::text::table;
use candlepower_api::{deployment::LLMDeployment, names::conditions::READY};
use kube::ResourceExt;
use serde::Serialize;

/// The columns' titles.
pub(super) const HEAD: [&str; 12] = [
    "NAMESPACE",
    "NAME",
    "MODEL",
    "PRECISION",
    "READY",
    "TTFT P50",
    "TTFT P95",
    "TPOT P95",
    "TOK/S",
    "REQ/S",
    "ERRORS",
    "ALERTS",
];

/// One deployment; what is not known is absent.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) model: Option<String>,
    pub(super) precision: Option<String>,
    pub(super) ready: bool,
    /// Why it is ready or not.
    pub(super) reason: Option<String>,
    pub(super) ready_replicas: i32,
    pub(super) replicas: i32,
    pub(super) ttft_p50: Option<String>,
    pub(super) ttft_p95: Option<String>,
    pub(super) tpot_p95: Option<String>,
    pub(super) tokens_per_second: Option<String>,
    pub(super) requests_per_second: Option<String>,
    pub(super) error_rate: Option<String>,
    pub(super) alerts: Vec<String>,
}

/// Whether the condition `Ready` is true.
pub(super) fn is_ready(deployment: &LLMDeployment) -> bool {
    let conditions = deployment
        .status
        .iter()
        .flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .any(|condition| condition.type_ == READY && condition.status == "True")
}

impl Row {
    pub(super) fn of(deployment: &LLMDeployment) -> Self {
        let status = deployment.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|one| one.type_ == READY);
        let figures = status.performance.as_ref();
        let ttft = figures.and_then(|figures| figures.ttft.as_ref());
        let tpot = figures.and_then(|figures| figures.tpot.as_ref());
        Self {
            namespace: deployment.namespace().unwrap_or_default(),
            name: deployment.name_any(),
            model: status.model.as_ref().map(|model| model.name.clone()),
            precision: status.model.as_ref().map(|model| model.precision.clone()),
            ready: is_ready(deployment),
            reason: ready.map(|one| one.reason.clone()),
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
            ttft_p50: ttft.map(|times| times.p50.to_string()),
            ttft_p95: ttft.map(|times| times.p95.to_string()),
            tpot_p95: tpot.map(|times| times.p95.to_string()),
            tokens_per_second: figures.map(|figures| figures.tokens_per_second.clone()),
            requests_per_second: figures.map(|figures| figures.requests_per_second.clone()),
            error_rate: figures.map(|figures| figures.error_rate.clone()),
            alerts: status
                .alerts
                .map(|alerts| alerts.firing)
                .unwrap_or_default(),
        }
    }

    /// The row's text, in the order of [`HEAD`].
    pub(super) fn cells(&self) -> [String; 12] {
        let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let replicas = format!("{}/{}", self.ready_replicas, self.replicas);
        [
            self.namespace.clone(),
            self.name.clone(),
            or_dash(&self.model),
            or_dash(&self.precision),
            if self.ready {
                replicas
            } else {
                format!("{replicas} {}", or_dash(&self.reason))
            },
            or_dash(&self.ttft_p50),
            or_dash(&self.ttft_p95),
            or_dash(&self.tpot_p95),
            or_dash(&self.tokens_per_second),
            or_dash(&self.requests_per_second),
            or_dash(&self.error_rate),
            if self.alerts.is_empty() {
                "-".to_owned()
            } else {
                self.alerts.join(", ")
            },
        ]
    }
}

/// The rows as plain text.
pub(super) fn plain(rows: &[Row]) -> String {
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    table(HEAD, &cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{deployment, serving};
    use serde_json::json;

    #[test]
    fn a_row_has_the_figures_of_its_status() {
        let text = plain(&[Row::of(&serving())]);
        let line = text.lines().nth(1).unwrap();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "team",
                "tiny",
                "tiny-1b",
                "q4_1",
                "1/2",
                "110ms",
                "450ms",
                "21ms",
                "64.2",
                "1.5",
                "0.5%",
                "CandlepowerMemoryHigh"
            ]
        );
    }

    #[test]
    fn what_is_not_ready_says_why_and_what_is_not_known_is_a_dash() {
        let loading = json!({"replicas": 1, "conditions": [{"type": "Ready", "status": "False",
            "reason": "Loading", "message": "m", "lastTransitionTime": "2026-11-24T10:00:00Z"}]});
        let row = Row::of(&deployment("team", "tiny", &loading));
        assert_eq!(row.cells()[4], "0/1 Loading");
        assert_eq!(row.cells()[5], "-");
        assert!(!row.ready);
    }
}
