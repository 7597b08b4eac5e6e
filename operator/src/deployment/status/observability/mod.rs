//! `ObservabilityReady`: whether what was chosen really collects.
mod prometheus;
mod sidecars;

use crate::events::find;
use crate::{
    conditions::{Truth, Verdict},
    deployment::{
        apply::{Applied, Outcome},
        dereference::{Observed, ObservedPod},
        figures::{Reading, UNREAD},
        monitoring::{
            Choice,
            prometheus::{Finding, WHILE_TROUBLED},
        },
    },
};
use candlepower_api::{
    deployment::{
        LLMDeployment, LLMDeploymentStatus, MetricsMode, TracingMode, status::ObservabilityStatus,
    },
    names::conditions as names,
};
use kube::ResourceExt;
use prometheus::judged;
use sidecars::broken_sidecar;
use std::time::Duration;

/// What the verdict is, and why.
type Found = (Truth, &'static str, String);

pub(super) fn observability_ready(
    resource: &LLMDeployment,
    observed: &Observed,
    outcome: &Outcome,
    pods: &[&ObservedPod],
) -> Verdict {
    let (truth, reason, message) = match outcome {
        Outcome::Rejected(rejection) => (
            Truth::Unknown,
            rejection.reason,
            "nothing is collected; see Ready".to_owned(),
        ),
        Outcome::Refused(refusal) => (Truth::False, names::CHILD_REFUSED, refusal.to_string()),
        Outcome::Applied(applied) => {
            let scaled_to_zero = resource.spec.desired_replicas() == 0;
            let found = verdict(observed, applied, pods, scaled_to_zero);
            with_unread(with_lost_spans(found, resource, observed), observed)
        }
    };
    Verdict::new(names::OBSERVABILITY_READY, truth, reason, message)
}

fn verdict(
    observed: &Observed,
    applied: &Applied,
    pods: &[&ObservedPod],
    scaled_to_zero: bool,
) -> Found {
    let choice = &observed.choice;
    let no = |reason, message: String| (Truth::False, reason, message);
    if choice.metrics == MetricsMode::None && choice.tracing == TracingMode::None {
        return (
            Truth::True,
            names::COLLECTION_OFF,
            "metrics.mode and tracing.mode are None".to_owned(),
        );
    }
    if choice.metrics == MetricsMode::PodMonitor && !choice.served.pod_monitor {
        return no(
            names::POD_MONITOR_NOT_SERVED,
            "the cluster does not serve PodMonitor: install prometheus-operator, or set observability.metrics.mode to Auto or Sidecar".to_owned(),
        );
    }
    if let Some(failure) = &applied.monitoring_failure {
        return no(names::CHILD_REFUSED, failure.clone());
    }
    if let Some((reason, message)) = pods.iter().find_map(|pod| broken_sidecar(pod)) {
        return no(reason, message);
    }
    if scaled_to_zero {
        return (
            Truth::Unknown,
            names::SCALED_TO_ZERO,
            "there are no pods to collect from".to_owned(),
        );
    }
    if !pods.iter().any(|pod| pod.pod.is_ready()) {
        return (
            Truth::Unknown,
            names::WAITING_FOR_PODS,
            format!("{}; no pod serves yet", chosen(choice)),
        );
    }
    match &observed.verified.answer {
        Some(finding) => judged(choice, finding),
        None if observed.verified.is_pending => as_before(observed).unwrap_or_else(|| {
            let message = format!("{}; no Prometheus has answered yet", chosen(choice));
            (Truth::Unknown, names::WAITING_FOR_PODS, message)
        }),
        None if choice.metrics == MetricsMode::PodMonitor && !choice.served.prometheus_rule => no(
            names::RULES_NOT_LOADED,
            format!(
                "{}; the cluster does not serve PrometheusRule, so that no alert can fire: install all CRDs of prometheus-operator",
                chosen(choice)
            ),
        ),
        None if choice.metrics == MetricsMode::PodMonitor => (
            Truth::Unknown,
            names::NOT_VERIFIED,
            format!(
                "{}; whether Prometheus uses it is not known: set prometheus.url in the chart",
                chosen(choice)
            ),
        ),
        None => (Truth::True, names::COLLECTING, chosen(choice)),
    }
}

/// What the last status says, as far as it is about pods that serve: nobody knows better until Prometheus answers.
fn as_before(observed: &Observed) -> Option<Found> {
    const LASTING: [&str; 6] = [
        names::COLLECTING,
        names::NOT_SCRAPED,
        names::RULES_NOT_LOADED,
        names::PROMETHEUS_UNREACHABLE,
        names::TRACES_NOT_EXPORTED,
        names::WAITING_FOR_PODS,
    ];
    let before = find(&observed.previous.conditions, names::OBSERVABILITY_READY)?;
    let reason = LASTING.into_iter().find(|it| *it == before.reason)?;
    Some((Truth::of(before), reason, before.message.clone()))
}

/// Whether the status `before` already says what the next one would after a silence of Prometheus: one that was silent
/// before the operator started is no news.
pub(in crate::deployment) fn is_told(
    before: &LLMDeploymentStatus,
) -> impl Fn(&Finding) -> bool + Send + use<> {
    let told = find(&before.conditions, names::OBSERVABILITY_READY);
    let told = told.map(|it| (it.reason.clone(), it.message.clone()));
    move |finding| {
        let (Some(why), Some((reason, message))) = (&finding.unreachable, &told) else {
            return false;
        };
        let unreachable =
            reason == names::PROMETHEUS_UNREACHABLE && *message == prometheus::unreachable(why);
        // That pods are not read comes before what Prometheus says.
        unreachable || (reason == names::NOT_SCRAPED && message.starts_with(UNREAD))
    }
}

/// The verdict, unless pods give the operator no metrics: then the status lacks their figures and
/// their alerts, however well others collect them.
fn with_unread(found: Found, observed: &Observed) -> Found {
    if found.0 == Truth::False {
        return found;
    }
    let told = Reading::told(Some(&observed.previous));
    let unread = &observed.reading.as_ref().unwrap_or(&told).unread;
    match unread.words() {
        Some(words) => (Truth::False, names::NOT_SCRAPED, words.into_owned()),
        None => found,
    }
}

/// The verdict, unless it would be good although spans are lost on their way.
fn with_lost_spans(found: Found, resource: &LLMDeployment, observed: &Observed) -> Found {
    let would_be_good = matches!(
        found.1,
        names::COLLECTING | names::NOT_VERIFIED | names::PROMETHEUS_UNREACHABLE
    );
    let choice = &observed.choice;
    let lost = observed.reading.as_ref().is_some_and(|it| it.loses_spans);
    if !(would_be_good && lost) || choice.tracing == TracingMode::None {
        return found;
    }
    let cure = match choice.tracing {
        TracingMode::Sidecar => {
            "raise the chart's sidecars.jaeger.memoryLimit, or lower sidecars.jaeger.maxTraces"
        }
        _ => "look at the collector, at network policies, and at the pods' logs",
    };
    let message = format!(
        "{}; spans were lost time and again in the last {}: {cure}",
        chosen(choice),
        resource.spec.alerts.window
    );
    (Truth::False, names::TRACES_NOT_EXPORTED, message)
}

/// The choice in words, and why.
fn chosen(choice: &Choice) -> String {
    let metrics = match choice.metrics {
        MetricsMode::PodMonitor => "metrics by PodMonitor",
        MetricsMode::Sidecar => "metrics by a Prometheus beside the model",
        MetricsMode::Auto | MetricsMode::None => "no metrics",
    };
    let traces = match (choice.tracing, &choice.endpoint) {
        (TracingMode::Sidecar, _) => "traces to a Jaeger beside the model".to_owned(),
        (_, Some(endpoint)) => format!("traces to {endpoint}"),
        _ => "no traces".to_owned(),
    };
    format!(
        "{metrics} {}, {traces} {}",
        choice.metrics_because, choice.tracing_because
    )
}

/// What was chosen, for the status.
pub(super) fn status(
    resource: &LLMDeployment,
    observed: &Observed,
    outcome: &Outcome,
) -> Option<ObservabilityStatus> {
    match outcome {
        Outcome::Applied(_) => Some(observed.choice.status(
            &resource.name_any(),
            &resource.namespace().unwrap_or_default(),
        )),
        Outcome::Rejected(_) | Outcome::Refused(_) => observed.previous.observability.clone(),
    }
}

/// When to ask Prometheus again, or to write what was refused.
pub(in crate::deployment) fn next_look(
    observed: &Observed,
    outcome: &Outcome,
    status: &LLMDeploymentStatus,
) -> Option<Duration> {
    let Outcome::Applied(applied) = outcome else {
        return None;
    };
    let pods_serve = status.ready_replicas > 0;
    match &observed.verified.answer {
        _ if applied.monitoring_failure.is_some() => Some(WHILE_TROUBLED),
        Some(finding) if finding.is_well() || pods_serve => observed.verified.again,
        _ => None,
    }
}

#[cfg(test)]
mod tests;
