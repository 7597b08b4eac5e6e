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

/// How long a resource may be unready, or serve nothing, before that is an alert.
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
    let unready = unready(resource, now);
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
        (
            alerts::NOT_READY,
            unready.is_some(),
            unready.unwrap_or_default(),
        ),
        (alerts::NOT_SERVING, window.stuck, NO_TOKEN),
        (alerts::CRASH_LOOPING, window.crash_looping, Duration::ZERO),
        (alerts::QUEUE_FULL, window.counted.queue_full > 0.0, FULL),
        (
            alerts::TRACE_EXPORT_FAILING,
            window.counted.spans_lost > 0.0,
            SPANS_LOST,
        ),
    ]
    .into_iter()
    .filter_map(|(name, holds, hold)| holds.then_some((name, hold)))
    .collect()
}

/// Where the resource is not what it should be, as its last status says: how much longer that may
/// be so. How long it has been unready, the condition tells.
fn unready(resource: &LLMDeployment, now: Timestamp) -> Option<Duration> {
    if resource.spec.desired_replicas() == 0 {
        return None;
    }
    let status = resource.status.as_ref()?;
    let mut all = status.conditions.iter();
    let ready = all.find(|condition| condition.type_ == conditions::READY)?;
    if ready.status == "True" {
        return (status.ready_replicas == 0).then_some(UNREADY);
    }
    let since = now.duration_since(ready.last_transition_time.0);
    let long = Duration::try_from(since).is_ok_and(|unready| unready >= UNREADY);
    (ready.status == "False" && long).then_some(Duration::ZERO)
}

/// `status.alerts`; absent while nothing fires.
pub(super) fn status(firing: Vec<String>, runbooks_url: &str) -> Option<AlertStatus> {
    let first = firing.first()?;
    let name = first.strip_prefix(COMMON_PREFIX).unwrap_or(first);
    let summary = match firing.len() {
        1 => name.to_owned(),
        more => format!("{name} +{}", more - 1),
    };
    Some(AlertStatus {
        summary,
        firing,
        runbooks_url: Some(runbooks_url.to_owned()),
    })
}

#[cfg(test)]
mod tests;
