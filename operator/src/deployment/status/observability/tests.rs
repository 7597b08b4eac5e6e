//! What `ObservabilityReady` says, case by case.
use super::*;
use crate::deployment::{
    asking::Known,
    figures::{Reading, Unread, Unreads},
    monitoring::{prometheus::Finding, served::Served},
    testing::{BARE, STACK, choice, pod, ready_pod, resource},
};
use serde_json::{Value, json};

/// Status and reason for a resource with one pod.
fn found(spec: Value, served: Served, pod: ObservedPod, finding: Option<Finding>) -> String {
    let resource = resource(spec);
    let observed = Observed {
        choice: choice(&resource, served, &[]),
        pods: vec![pod],
        verified: known(finding),
        ..Observed::default()
    };
    let outcome = Outcome::Applied(Box::default());
    let pods: Vec<_> = observed.pods.iter().collect();
    let verdict = observability_ready(&resource, &observed, &outcome, &pods);
    format!("{:?} {}", verdict.status, verdict.reason)
}

fn known(finding: Option<Finding>) -> Known<Finding> {
    Known {
        answer: finding,
        ..Known::default()
    }
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
    let off = json!({"observability": {"metrics": {"mode": "None"}, "tracing": {"mode": "None"}}});
    assert_eq!(found(off, BARE, ready_pod(), None), "True CollectionOff");
}

#[test]
fn pods_that_give_the_operator_no_metrics_are_named() {
    let off = json!({"observability": {"metrics": {"mode": "None"}, "tracing": {"mode": "None"}}});
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
        unread: Unreads::These(["a", "b", "c", "d", "e"].map(unread).into()),
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
fn after_a_start_the_last_status_stands_until_its_pods_have_been_asked() {
    let resource = resource(json!({}));
    let mut observed = Observed {
        choice: choice(&resource, BARE, &[]),
        pods: vec![ready_pod()],
        verified: Known {
            is_pending: true,
            ..Known::default()
        },
        ..Observed::default()
    };
    let told = |observed: &Observed| {
        let outcome = Outcome::Applied(Box::default());
        let pods: Vec<_> = observed.pods.iter().collect();
        observability_ready(&resource, observed, &outcome, &pods)
    };
    let first = told(&observed);
    assert_eq!(
        (first.status, &*first.reason),
        (Truth::Unknown, "WaitingForPods")
    );
    let silent = format!("{UNREAD}: (tiny-1: no answer within 1s)");
    observed.previous.conditions =
        serde_json::from_value(json!([{"type": "ObservabilityReady", "status": "False",
            "reason": "NotScraped", "message": silent, "lastTransitionTime": "2026-01-01T11:00:00Z"}]))
        .unwrap();
    assert_eq!(told(&observed).message, silent, "Prometheus is asked");
    observed.verified = known(Some(well()));
    assert_eq!(told(&observed).message, silent, "the pods are not");
    observed.reading = Some(Reading::default());
    assert_eq!(told(&observed).reason, "Collecting");
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
            verified: known(finding),
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

#[test]
fn a_silence_that_the_last_status_tells_is_no_news() {
    let silent = Finding {
        unreachable: Some("http://10.0.0.7:9090: no answer within 2s".to_owned()),
        ..Finding::default()
    };
    let told = |reason: &str, message: &str, finding: &Finding| {
        let condition = json!({"type": "ObservabilityReady", "status": "Unknown", "reason": reason,
            "message": message, "lastTransitionTime": "2026-01-01T11:00:00Z"});
        let status = serde_json::from_value(json!({"conditions": [condition]})).unwrap();
        is_told(&status)(finding)
    };
    let words = judged(&Choice::default(), &silent).2;
    assert!(told("PrometheusUnreachable", &words, &silent));
    assert!(told("NotScraped", &format!("{UNREAD}: …"), &silent));
    assert!(!told("PrometheusUnreachable", "another one", &silent));
    assert!(!told("NotScraped", "Prometheus has no target", &silent));
    assert!(!told("Collecting", "all is well", &silent));
    assert!(!told("PrometheusUnreachable", &words, &well()));
    assert!(!is_told(&LLMDeploymentStatus::default())(&silent));
}
