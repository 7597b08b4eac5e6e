//! `ObservabilityReady`: whether what was chosen really collects.
use super::{
    super::{
        apply::{Applied, Outcome},
        dereference::{Observed, ObservedPod, is_ready},
        monitoring::{
            Choice,
            prometheus::{Finding, WHILE_TROUBLED, WHILE_WELL},
            sidecar,
        },
    },
    conditions::{Truth, Verdict},
};
use candlepower_api::{
    deployment::{
        LLMDeployment, LLMDeploymentStatus, MetricsMode, TracingMode, status::ObservabilityStatus,
    },
    names::conditions as names,
};
use k8s_openapi::api::core::v1::ContainerStatus;
use kube::ResourceExt;
use std::time::Duration;

/// What the verdict is, and why.
type Found = (Truth, &'static str, String);

/// Pods that a message names.
const MOST_TOLD: usize = 3;

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
    if !pods.iter().any(|pod| is_ready(&pod.pod)) {
        return (
            Truth::Unknown,
            names::WAITING_FOR_PODS,
            format!("{}; no pod serves yet", chosen(choice)),
        );
    }
    match &observed.finding {
        Some(finding) => judged(choice, finding),
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

/// The verdict, unless pods give the operator no metrics: then the status lacks their figures and
/// their alerts, however well others collect them.
fn with_unread(found: Found, observed: &Observed) -> Found {
    let unread = observed.reading.as_ref().map(|reading| &reading.unread);
    let Some(unread) = unread.filter(|unread| !unread.is_empty() && found.0 != Truth::False) else {
        return found;
    };
    let mut told: Vec<_> = unread
        .iter()
        .take(MOST_TOLD)
        .map(|unread| format!("{}: {}", unread.pod, unread.why))
        .collect();
    if unread.len() > MOST_TOLD {
        told.push(format!("and {} more", unread.len() - MOST_TOLD));
    }
    let message = format!(
        "status.performance and status.alerts leave pods out that give the operator no metrics: \
         look at their logs, and at network policies ({})",
        told.join("; ")
    );
    (Truth::False, names::NOT_SCRAPED, message)
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

/// What Prometheus' answer means.
fn judged(choice: &Choice, finding: &Finding) -> Found {
    if let Some(why) = &finding.unreachable {
        return (
            Truth::Unknown,
            names::PROMETHEUS_UNREACHABLE,
            format!("Prometheus does not answer: {why}"),
        );
    }
    if finding.up == 0 && finding.down == 0 {
        return (
            Truth::False,
            names::NOT_SCRAPED,
            match choice.metrics {
                MetricsMode::PodMonitor => "Prometheus has no target for the pods: compare the PodMonitor's labels with its podMonitorSelector; the chart sets them by podMonitor.labels",
                _ => "the Prometheus beside the model has not scraped it yet",
            }
            .to_owned(),
        );
    }
    if finding.down > 0 {
        return (
            Truth::False,
            names::NOT_SCRAPED,
            format!(
                "Prometheus cannot scrape {} of {} targets: check network policies, and /metrics of the pods",
                finding.down,
                finding.up + finding.down
            ),
        );
    }
    if finding.up < finding.expected {
        let cure = match choice.metrics {
            MetricsMode::PodMonitor => "look at its page of targets, and at the PodMonitor",
            _ => "look at the log of the Prometheus in the others",
        };
        return (
            Truth::False,
            names::NOT_SCRAPED,
            format!(
                "Prometheus scrapes {} of {} pods that have served for two minutes: {cure}",
                finding.up, finding.expected
            ),
        );
    }
    if !finding.missing_groups.is_empty() {
        let cure = match choice.metrics {
            MetricsMode::PodMonitor if !choice.served.prometheus_rule => {
                "the cluster does not serve PrometheusRule"
            }
            MetricsMode::PodMonitor => {
                "compare the PrometheusRule's labels with its ruleSelector; the chart sets them by prometheusRule.labels"
            }
            _ => "it takes up to two minutes after a change",
        };
        return (
            Truth::False,
            names::RULES_NOT_LOADED,
            format!(
                "Prometheus has not loaded {}: {cure}",
                finding.missing_groups.join(", ")
            ),
        );
    }
    (
        Truth::True,
        names::COLLECTING,
        format!(
            "{}; the pods are scraped and the rules are loaded",
            chosen(choice)
        ),
    )
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

/// A sidecar that cannot do its work.
fn broken_sidecar(observed: &ObservedPod) -> Option<(&'static str, String)> {
    let pod = observed.pod.name_any();
    if let Some(status) = sidecar::failing_pull(&observed.pod) {
        let message = format!(
            "pod {pod}: the image {} of the sidecar {} cannot be pulled: correct the operator's --{}-image",
            status.image, status.name, status.name
        );
        return Some((names::IMAGE_PULL_FAILED, message));
    }
    let crashed = |status: &&ContainerStatus| {
        sidecar::waiting_reason(status).is_some_and(|reason| reason == "CrashLoopBackOff")
    };
    let status = sidecar::states(&observed.pod).find(crashed)?;
    let last = status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    if last.is_some_and(|last| last.reason.as_deref() == Some("OOMKilled")) {
        let message = format!(
            "pod {pod}: the sidecar {} needed more than its memory limit: raise the chart's limit for it",
            status.name
        );
        return Some((names::OOM_KILLED, message));
    }
    let message = format!(
        "pod {pod}: the sidecar {} stops again and again: kubectl logs {pod} -c {}",
        status.name, status.name
    );
    Some((names::CRASH_LOOP, message))
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
    match &observed.finding {
        _ if applied.monitoring_failure.is_some() => Some(WHILE_TROUBLED),
        Some(finding) if finding.is_well() => Some(WHILE_WELL),
        Some(_) if pods_serve => Some(WHILE_TROUBLED),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{
        figures::{Reading, Unread},
        monitoring::served::Served,
        testing::{BARE, STACK, choice, pod, ready_pod, resource},
    };
    use serde_json::{Value, json};

    /// Status and reason for a resource with one pod.
    fn found(spec: Value, served: Served, pod: ObservedPod, finding: Option<Finding>) -> String {
        let resource = resource(spec);
        let observed = Observed {
            choice: choice(&resource, served, &[]),
            pods: vec![pod],
            finding,
            ..Observed::default()
        };
        let outcome = Outcome::Applied(Box::default());
        let pods: Vec<_> = observed.pods.iter().collect();
        let verdict = observability_ready(&resource, &observed, &outcome, &pods);
        format!("{:?} {}", verdict.status, verdict.reason)
    }

    fn well() -> Finding {
        Finding {
            up: 1,
            ..Finding::default()
        }
    }

    #[test]
    fn what_prometheus_says_decides() {
        let cases = [
            (well(), "True Collecting"),
            (Finding::default(), "False NotScraped"),
            (Finding { down: 1, ..well() }, "False NotScraped"),
            (
                Finding {
                    expected: 1,
                    ..well()
                },
                "True Collecting",
            ),
            (
                Finding {
                    expected: 2,
                    ..well()
                },
                "False NotScraped",
            ),
            (
                Finding {
                    missing_groups: vec!["a".into()],
                    ..well()
                },
                "False RulesNotLoaded",
            ),
            (
                Finding {
                    unreachable: Some("refused".into()),
                    ..Finding::default()
                },
                "Unknown PrometheusUnreachable",
            ),
        ];
        for (finding, expected) in cases {
            for served in [BARE, STACK] {
                let found = found(json!({}), served, ready_pod(), Some(finding.clone()));
                assert_eq!(found, expected, "{finding:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_seen_is_not_claimed() {
        let asked = json!({"observability": {"metrics": {"mode": "PodMonitor"}}});
        assert_eq!(
            found(json!({}), STACK, ready_pod(), None),
            "Unknown NotVerified"
        );
        let without_rules = Served {
            prometheus_rule: false,
            ..STACK
        };
        assert_eq!(
            found(json!({}), without_rules, ready_pod(), None),
            "False RulesNotLoaded"
        );
        assert_eq!(
            found(asked, BARE, ready_pod(), None),
            "False PodMonitorNotServed"
        );
        assert_eq!(
            found(json!({}), BARE, pod(json!({})), None),
            "Unknown WaitingForPods"
        );
        let off =
            json!({"observability": {"metrics": {"mode": "None"}, "tracing": {"mode": "None"}}});
        assert_eq!(found(off, BARE, ready_pod(), None), "True CollectionOff");
    }

    #[test]
    fn pods_that_give_the_operator_no_metrics_are_named() {
        let off =
            json!({"observability": {"metrics": {"mode": "None"}, "tracing": {"mode": "None"}}});
        let resource = resource(off);
        let unread = |pod: &str| Unread {
            pod: pod.to_owned(),
            why: "no answer within 1s".to_owned(),
        };
        let mut observed = Observed {
            choice: choice(&resource, BARE, &[]),
            pods: vec![ready_pod()],
            reading: Some(Reading::default()),
            ..Observed::default()
        };
        let told = |observed: &Observed| {
            let outcome = Outcome::Applied(Box::default());
            let pods: Vec<_> = observed.pods.iter().collect();
            let verdict = observability_ready(&resource, observed, &outcome, &pods);
            format!(
                "{:?} {} {}",
                verdict.status, verdict.reason, verdict.message
            )
        };
        assert!(told(&observed).starts_with("True CollectionOff"));
        observed.reading = Some(Reading {
            unread: ["a", "b", "c", "d", "e"].map(unread).into(),
            ..Reading::default()
        });
        let told = told(&observed);
        assert!(told.starts_with("False NotScraped"), "{told}");
        assert!(
            told.ends_with("c: no answer within 1s; and 2 more)"),
            "{told}"
        );
    }

    #[test]
    fn the_message_says_what_was_chosen_and_why() {
        let resource = resource(json!({"observability": {"metrics": {"mode": "Sidecar"}}}));
        let told = chosen(&choice(
            &resource,
            STACK,
            &["--otlp-endpoint", "http://c:4317"],
        ));
        assert_eq!(
            told,
            "metrics by a Prometheus beside the model because the resource asks for it, \
             traces to http://c:4317 because the operator's --otlp-endpoint names it"
        );
    }

    #[test]
    fn spans_that_are_lost_spoil_a_good_verdict_and_no_other() {
        let told = |spec: Value, pod: ObservedPod, finding: Option<Finding>| {
            let resource = resource(spec);
            let observed = Observed {
                choice: choice(&resource, BARE, &[]),
                pods: vec![pod],
                finding,
                reading: Some(Reading {
                    loses_spans: true,
                    ..Reading::default()
                }),
                ..Observed::default()
            };
            let outcome = Outcome::Applied(Box::default());
            let pods: Vec<_> = observed.pods.iter().collect();
            observability_ready(&resource, &observed, &outcome, &pods)
        };
        let verdict = told(json!({}), ready_pod(), Some(well()));
        assert_eq!(verdict.reason, "TracesNotExported");
        assert!(
            verdict
                .message
                .contains("in the last 5m: raise the chart's"),
            "{}",
            verdict.message
        );
        let untraced = json!({"observability": {"tracing": {"mode": "None"}}});
        assert_eq!(
            told(untraced, ready_pod(), Some(well())).reason,
            "Collecting"
        );
        let down = Finding { down: 1, ..well() };
        assert_eq!(
            told(json!({}), ready_pod(), Some(down)).reason,
            "NotScraped"
        );
        let nobody = told(json!({}), pod(json!({})), None);
        assert_eq!(nobody.reason, "WaitingForPods");
    }

    #[test]
    fn a_sidecar_that_cannot_work_is_named() {
        let with = |state: Value, last: Value| {
            pod(json!({"initContainerStatuses": [{
                "name": "jaeger", "image": "j", "imageID": "", "ready": false, "restartCount": 1,
                "state": state, "lastState": last,
            }]}))
        };
        let backing_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let cases = [
            (
                json!({"waiting": {"reason": "ErrImagePull"}}),
                json!({}),
                "False ImagePullFailed",
            ),
            (backing_off.clone(), json!({}), "False CrashLoop"),
            (
                backing_off,
                json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
                "False OOMKilled",
            ),
        ];
        for (state, last, expected) in cases {
            let found = found(json!({}), BARE, with(state, last), Some(well()));
            assert_eq!(found, expected);
        }
    }
}
