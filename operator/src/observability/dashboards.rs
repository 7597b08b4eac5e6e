//! Grafana dashboards, made from the same queries and thresholds as the rules.
mod board;
mod errors;
mod fleet;
mod panel;
mod performance;
mod resources;
#[cfg(test)]
mod tests;

use super::Subject;
use crate::sorted::sorted;
use board::{Board, View};
use candlepower_api::deployment::Alerts;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Values from which a figure is bad, as the alerts have them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Limits {
    /// Seconds.
    first_token: f64,
    /// 0 to 1.
    memory: f64,
    /// 0 to 1.
    errors: f64,
    /// Tokens per second.
    throughput: f64,
}

impl From<&Alerts> for Limits {
    fn from(alerts: &Alerts) -> Self {
        Self {
            first_token: alerts
                .time_to_first_token_p95
                .threshold
                .as_std()
                .as_secs_f64(),
            memory: alerts.memory_utilization.threshold.fraction(),
            errors: alerts.error_rate.threshold.fraction(),
            throughput: f64::from(alerts.throughput.threshold),
        }
    }
}

fn of_models(limits: Limits) -> [Board; 3] {
    [
        performance::board(limits),
        resources::board(limits),
        errors::board(limits),
    ]
}

/// The dashboards of one resource: file names and their JSON. The names differ between resources,
/// because Grafana's sidecar puts the files of all into one folder.
pub fn of_resource(subject: &Subject<'_>) -> BTreeMap<String, String> {
    let view = View::Resource {
        namespace: subject.namespace,
        name: subject.name,
    };
    drawn(Limits::from(&subject.spec.alerts))
        .iter()
        .map(|(board, panels)| {
            let file = format!("{}-{}-{}.json", subject.namespace, subject.name, board.name);
            (file, board.text(view, panels))
        })
        .collect()
}

/// Boards, each with the text of its panels.
type Drawn = Arc<[(Board, String); 3]>;

/// Sets of limits whose boards are remembered.
const REMEMBERED: usize = 16;

/// The boards of models. Most resources have the default limits, and to draw the panels anew for each would be most of
/// the work of a reconcile.
fn drawn(limits: Limits) -> Drawn {
    static KNOWN: Mutex<Vec<(Limits, Drawn)>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, drawn)) = known.iter().find(|(of, _)| *of == limits) {
        return drawn.clone();
    }
    let drawn = Arc::new(of_models(limits).map(|board| {
        let panels = board.panels_text();
        (board, panels)
    }));
    if known.len() >= REMEMBERED {
        known.remove(0);
    }
    known.push((limits, drawn.clone()));
    drawn
}

/// The dashboards of all resources, with the alerts' default thresholds, by name.
pub fn generic() -> BTreeMap<&'static str, Value> {
    let limits = Limits::from(&Alerts::default());
    of_models(limits)
        .into_iter()
        .chain([fleet::board(limits)])
        .map(|board| (board.name, sorted(board.json(View::All))))
        .collect()
}
