//! Live figures and alerts of each resource, from the pods' own metrics: no Prometheus is needed.
//!
//! [`scrape`] asks the pods → [`snapshot`] reads their answers → [`window`] tells what happened in
//! the last minutes → [`performance`] and [`alerts`] say it for people, and [`scaling`] chooses the
//! number of pods. Only `scrape` does I/O.
mod alerts;
mod histogram;
mod performance;
pub(super) mod restarts;
mod scaling;
pub(super) mod scrape;
mod snapshot;
mod unread;
mod window;

use super::autoscale::Decision;
use candlepower_api::deployment::{
    LLMDeploymentStatus,
    status::{AlertStatus, Performance},
};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
#[cfg(test)]
pub(super) use unread::Unread;
pub(super) use unread::{UNREAD, Unreads};

/// Namespace and name of a resource.
pub(super) type Key = (String, String);

/// What a status says of a resource's figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) performance: Option<Performance>,
    pub(super) alerts: Option<AlertStatus>,
    /// Pods that are not in it, because they give no metrics.
    pub(super) unread: Unreads,
    /// Whether spans were lost in the window, time and again.
    pub(super) loses_spans: bool,
    /// The number of pods that the requests call for, where the operator chooses it.
    pub(super) scale: Option<Decision>,
}

impl Reading {
    /// What a status says already; another operator may have written it.
    pub(super) fn told(status: Option<&LLMDeploymentStatus>) -> Self {
        Self {
            performance: status.and_then(|status| status.performance.clone()),
            alerts: status.and_then(|status| status.alerts.clone()),
            unread: status.map(Unreads::told).unwrap_or_default(),
            loses_spans: false,
            scale: status.and_then(Decision::told),
        }
    }
}

/// The newest reading of each resource.
#[derive(Debug, Default)]
pub(super) struct Figures(Mutex<HashMap<Key, Reading>>);

impl Figures {
    /// The newest reading of a resource; `None` before its first scrape.
    pub(super) fn of(&self, namespace: &str, name: &str) -> Option<Reading> {
        let key = (namespace.to_owned(), name.to_owned());
        self.lock().get(&key).cloned()
    }

    /// Replaces all readings, each with what its resource's status says, and gives back the
    /// resources whose reading is another one now.
    fn replace(&self, readings: HashMap<Key, (Reading, Reading)>) -> Vec<Key> {
        let mut current = self.lock();
        let changed = readings
            .iter()
            .filter(|(key, (reading, told))| {
                !says_the_same(current.get(*key).unwrap_or(told), reading)
            })
            .map(|(key, _)| key.clone())
            .collect();
        *current = readings
            .into_iter()
            .map(|(key, (reading, _))| (key, reading))
            .collect();
        changed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two readings differ in nothing but the time at which they were taken, and the figures in a
/// message.
pub(super) fn says_the_same(one: &Reading, other: &Reading) -> bool {
    let timeless = |reading: &Reading| {
        let mut reading = reading.clone();
        if let Some(performance) = &mut reading.performance {
            performance.observed_at.clear();
        }
        if let Some(scale) = &mut reading.scale {
            scale.message.clear();
        }
        reading
    };
    timeless(one) == timeless(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candlepower_api::value::Duration;

    fn reading(tokens: &str, at: &str) -> Reading {
        Reading {
            performance: Some(Performance {
                ttft: None,
                tpot: None,
                tokens_per_second: tokens.to_owned(),
                requests_per_second: "1".to_owned(),
                error_rate: "0%".to_owned(),
                window: Duration::from_secs(300),
                observed_at: at.to_owned(),
            }),
            ..Reading::default()
        }
    }

    #[test]
    fn only_a_reading_that_says_something_new_is_reported() {
        let figures = Figures::default();
        let key = || ("team".to_owned(), "tiny".to_owned());
        let told = Reading::default;
        let put = |reading| figures.replace(HashMap::from([(key(), (reading, told()))]));
        assert_eq!(
            put(Reading::default()),
            [],
            "an idle resource at first sight"
        );
        assert_eq!(put(reading("60", "12:00")), [key()]);
        assert_eq!(put(reading("60", "12:01")), [], "only the time is new");
        assert_eq!(put(reading("61", "12:02")), [key()]);
        assert_eq!(put(Reading::default()), [key()], "it has become idle");
        assert_eq!(put(Reading::default()), []);
    }

    #[test]
    fn what_an_operator_before_has_told_is_taken_back() {
        let figures = Figures::default();
        let key = || ("team".to_owned(), "tiny".to_owned());
        let told = reading("60", "11:00");
        let first = HashMap::from([(key(), (Reading::default(), told))]);
        assert_eq!(figures.replace(first), [key()]);
    }
}
