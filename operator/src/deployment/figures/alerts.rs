//! Which alerts fire, by the same thresholds as the rules, so that a status tells it where there is
//! no Prometheus.
use super::window::Window;
use candlepower_api::{
    deployment::{LLMDeployment, status::AlertStatus},
    names::{alerts, conditions},
};
use k8s_openapi::jiff::Timestamp;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long a resource may be unready before that is an alert.
const UNREADY: Duration = Duration::from_secs(600);
/// How long requests may wait for a token.
const NO_TOKEN: Duration = Duration::from_secs(120);
/// How long a full queue or lost spans are borne, as in the rules.
const FULL: Duration = Duration::from_secs(120);
const SPANS_LOST: Duration = Duration::from_secs(600);
/// An alert whose name is long is told without this in the table of `kubectl get`.
const COMMON_PREFIX: &str = "Candlepower";

/// Since when each alert's expression has held.
#[derive(Debug, Default)]
pub(super) struct Pending {
    since: BTreeMap<&'static str, Instant>,
    /// Alerts that fired under the operator before this one: while they hold, they go on.
    carried: Vec<String>,
}

impl Pending {
    /// Begins with the alerts that a status says fire already.
    pub(super) fn after(told: Option<&AlertStatus>) -> Self {
        Self {
            since: BTreeMap::new(),
            carried: told.map_or_else(Vec::new, |told| told.firing.clone()),
        }
    }

    /// Takes in what holds at `now`, with how long it has to hold, and gives back what fires.
    pub(super) fn update(
        &mut self,
        now: Instant,
        holds: Vec<(&'static str, Duration)>,
    ) -> Vec<String> {
        let held = |name: &str| holds.iter().any(|(held, _)| *held == name);
        self.since.retain(|name, _| held(name));
        self.carried.retain(|name| held(name));
        let mut firing: Vec<_> = holds
            .into_iter()
            .filter(|(name, hold)| {
                let since = *self.since.entry(name).or_insert(now);
                let carried = self.carried.iter().any(|carried| carried == name);
                carried || now.duration_since(since) >= *hold
            })
            .map(|(name, _)| name.to_owned())
            .collect();
        firing.sort_unstable();
        firing
    }
}

/// The alerts whose expression holds, each with how long it has to hold before it fires.
pub(super) fn holding(
    resource: &LLMDeployment,
    window: &Window,
    now: Timestamp,
) -> Vec<(&'static str, Duration)> {
    let thresholds = &resource.spec.alerts;
    let (ttft, memory, errors, throughput) = (
        &thresholds.time_to_first_token_p95,
        &thresholds.memory_utilization,
        &thresholds.error_rate,
        &thresholds.throughput,
    );
    let p95 = window.counted.first_token.quantile(0.95);
    let slow = p95.is_some_and(|p95| p95 > ttft.threshold.as_std().as_secs_f64());
    let full = window
        .memory
        .is_some_and(|share| share > memory.threshold.fraction());
    let failing = window
        .error_rate()
        .is_some_and(|rate| rate > errors.threshold.fraction());
    let weak = window
        .tokens_per_busy_second()
        .is_some_and(|rate| rate < f64::from(throughput.threshold));
    [
        (
            alerts::TIME_TO_FIRST_TOKEN_HIGH,
            ttft.enabled && slow,
            ttft.r#for.as_std(),
        ),
        (
            alerts::MEMORY_HIGH,
            memory.enabled && full,
            memory.r#for.as_std(),
        ),
        (
            alerts::ERROR_RATE_HIGH,
            errors.enabled && failing,
            errors.r#for.as_std(),
        ),
        (
            alerts::THROUGHPUT_LOW,
            throughput.enabled && weak,
            throughput.r#for.as_std(),
        ),
        (alerts::NOT_READY, is_unready(resource, now), Duration::ZERO),
        (alerts::NOT_SERVING, window.stuck, NO_TOKEN),
        (alerts::QUEUE_FULL, window.counted.queue_full > 0.0, FULL),
        (
            alerts::TRACE_EXPORT_FAILING,
            window.counted.spans_dropped > 0.0,
            SPANS_LOST,
        ),
    ]
    .into_iter()
    .filter_map(|(name, holds, hold)| holds.then_some((name, hold)))
    .collect()
}

/// Whether the resource has been unready for too long, as its last status says.
fn is_unready(resource: &LLMDeployment, now: Timestamp) -> bool {
    if resource.spec.desired_replicas() == 0 {
        return false;
    }
    let status = resource.status.as_ref();
    let ready = status.and_then(|status| {
        let mut all = status.conditions.iter();
        all.find(|condition| condition.type_ == conditions::READY)
    });
    ready.is_some_and(|ready| {
        let since = now.duration_since(ready.last_transition_time.0);
        ready.status == "False" && Duration::try_from(since).is_ok_and(|unready| unready >= UNREADY)
    })
}

/// `status.alerts`; absent while nothing fires.
pub(super) fn status(firing: Vec<String>) -> Option<AlertStatus> {
    let first = firing.first()?;
    let name = first.strip_prefix(COMMON_PREFIX).unwrap_or(first);
    let summary = match firing.len() {
        1 => name.to_owned(),
        more => format!("{name} +{}", more - 1),
    };
    Some(AlertStatus { summary, firing })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{
        figures::{histogram::Histogram, snapshot::Counters},
        testing,
    };
    use candlepower_api::names::buckets;
    use serde_json::json;

    fn names(spec: serde_json::Value, window: &Window) -> Vec<&'static str> {
        let resource = testing::resource(spec);
        holding(&resource, window, testing::now())
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    fn slow_window() -> Window {
        let mut first_token = Histogram::new(buckets::TIME_TO_FIRST_TOKEN);
        for le in [
            "5", "7.5", "10", "20", "40", "80", "160", "640", "2560", "+Inf",
        ] {
            first_token.set(le, 10);
        }
        Window {
            counted: Counters {
                first_token,
                tokens: 100.0,
                succeeded: 90.0,
                failed_by_server: 10.0,
                ..Counters::zero()
            },
            tokens_per_second: 2.0,
            busy: 0.5,
            memory: Some(0.95),
            ..Window::of([])
        }
    }

    #[test]
    fn the_four_alerts_hold_above_their_thresholds() {
        let held = names(json!({}), &slow_window());
        assert_eq!(
            held,
            [
                alerts::TIME_TO_FIRST_TOKEN_HIGH,
                alerts::MEMORY_HIGH,
                alerts::ERROR_RATE_HIGH,
                alerts::THROUGHPUT_LOW
            ]
        );
    }

    #[test]
    fn an_alert_that_is_switched_off_or_allows_more_does_not_hold() {
        let spec = json!({"alerts": {
            "timeToFirstTokenP95": {"threshold": "30s"},
            "memoryUtilization": {"threshold": "100%"},
            "errorRate": {"enabled": false},
            "throughput": {"threshold": 3},
        }});
        assert_eq!(names(spec, &slow_window()), Vec::<&str>::new());
    }

    #[test]
    fn an_idle_server_raises_nothing_even_with_thresholds_of_zero() {
        let spec = json!({"alerts": {"errorRate": {"threshold": "0%"}}});
        assert_eq!(names(spec, &Window::of([])), Vec::<&str>::new());
    }

    #[test]
    fn requests_without_tokens_a_full_queue_and_lost_spans_hold() {
        let window = Window {
            stuck: true,
            counted: Counters {
                queue_full: 1.0,
                spans_dropped: 1.0,
                ..Counters::zero()
            },
            ..Window::of([])
        };
        assert_eq!(
            names(json!({}), &window),
            [
                alerts::NOT_SERVING,
                alerts::QUEUE_FULL,
                alerts::TRACE_EXPORT_FAILING
            ]
        );
    }

    #[test]
    fn an_alert_fires_only_after_it_has_held_without_a_break() {
        let mut pending = Pending::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let hold = || vec![(alerts::MEMORY_HIGH, Duration::from_secs(60))];
        assert!(pending.update(at(0), hold()).is_empty());
        assert!(pending.update(at(59), hold()).is_empty());
        assert_eq!(pending.update(at(60), hold()), [alerts::MEMORY_HIGH]);
        assert!(pending.update(at(61), vec![]).is_empty());
        assert!(pending.update(at(62), hold()).is_empty(), "it begins anew");
    }

    #[test]
    fn an_alert_that_fired_before_the_operator_was_restarted_goes_on_while_it_holds() {
        let hold = || vec![(alerts::MEMORY_HIGH, Duration::from_secs(60))];
        let mut pending = Pending::after(status(vec![alerts::MEMORY_HIGH.to_owned()]).as_ref());
        let start = Instant::now();
        assert_eq!(pending.update(start, hold()), [alerts::MEMORY_HIGH]);
        assert!(pending.update(start, vec![]).is_empty());
        assert!(pending.update(start, hold()).is_empty(), "it begins anew");
    }

    #[test]
    fn the_table_shows_one_alert_and_how_many_more() {
        let told = |firing: &[&str]| {
            status(firing.iter().map(|name| (*name).to_owned()).collect()).map(|told| told.summary)
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[alerts::QUEUE_FULL]).unwrap(), "QueueFull");
        assert_eq!(
            told(&[alerts::MEMORY_HIGH, alerts::QUEUE_FULL]).unwrap(),
            "MemoryHigh +1"
        );
    }

    #[test]
    fn a_resource_that_has_been_unready_for_long_is_told() {
        let mut resource = testing::resource(json!({}));
        let unready = |since: &str| {
            serde_json::from_value(json!({"conditions": [{
                "type": "Ready", "status": "False", "reason": "CrashLoop", "message": "",
                "lastTransitionTime": since,
            }]}))
            .unwrap()
        };
        resource.status = Some(unready("2026-01-01T11:49:00Z"));
        assert!(is_unready(&resource, testing::now()));
        resource.status = Some(unready("2026-01-01T11:59:00Z"));
        assert!(!is_unready(&resource, testing::now()));
    }
}
