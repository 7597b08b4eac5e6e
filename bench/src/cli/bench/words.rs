//! Figures, loads and the end of a search as the terminal says them.
use crate::{
    objectives::Metric,
    record::{AppliedLoad, Knee},
};

pub(super) fn load_in_words(load: &AppliedLoad) -> String {
    match load {
        AppliedLoad::Users { users, .. } => format!("{users} users"),
        AppliedLoad::Arrivals { process, rate } => format!("{rate:.2}/s {process}"),
    }
}

pub(super) fn knee_in_words(knee: &Knee) -> String {
    let missed = knee.missed_at.as_deref();
    match (&knee.scenario, missed) {
        (Some(met), Some(missed)) => format!(
            "the highest load within the objectives: {met} with a goodput of {:.2}/s; {missed} missed them",
            knee.goodput
        ),
        (Some(met), None) => format!(
            "the highest load of the search met the objectives: {met} with a goodput of {:.2}/s",
            knee.goodput
        ),
        (None, Some(missed)) => format!("even the lowest load missed the objectives: {missed}"),
        (None, None) => "the search did not begin".to_owned(),
    }
}

/// A figure in its unit.
pub(super) fn amount(metric: Metric, value: f64) -> String {
    match metric {
        Metric::TokensPerSecond => format!("{value:.1}/s"),
        Metric::ErrorRate => format!("{:.2}%", value * 100.0),
        _ => milliseconds(value),
    }
}

/// Microseconds as milliseconds, or as seconds from ten on.
pub(super) fn milliseconds(micros: f64) -> String {
    if micros < 10e6 {
        format!("{:.1} ms", micros / 1e3)
    } else {
        format!("{:.1} s", micros / 1e6)
    }
}
