//! What the status says of each situation.
use super::*;
use crate::deployment::{
    apply::{Applied, Refusal},
    dereference::ObservedPod,
    testing::{NOW, now, pod, pod_in, ready_pod, resource},
    validate::Rejection,
};
use candlepower_api::{
    names::reasons::{LoadFailure, LoadProblem, TerminationMessage},
    server_config::{LoadReport, LoadedModel},
    value::Duration,
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::SignedDuration,
};
use serde_json::{Value, json};
use std::sync::Arc;

mod troubles;

/// An applied Deployment with this status, up to date with its specification.
fn applied(status: Value) -> Outcome {
    let mut status = status;
    status["observedGeneration"] = json!(1);
    Outcome::Applied(Box::new(Applied {
        deployment: serde_json::from_value(json!({
            "metadata": {"name": "tiny", "generation": 1},
            "spec": {"template": {}},
            "status": status,
        }))
        .unwrap(),
        config_hash: "abc".to_owned(),
        image: "candlepower/server:test".to_owned(),
        monitoring_failure: None,
        is_partial: false,
    }))
}

fn counts(replicas: i32, updated: i32, ready: i32) -> Value {
    json!({"replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready})
}

fn seen(pods: Vec<ObservedPod>) -> Observed {
    Observed {
        pods,
        ..Observed::default()
    }
}

fn condition<'a>(status: &'a LLMDeploymentStatus, type_: &str) -> &'a Condition {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .unwrap()
}

fn report(stage: LoadStage, percent: u8) -> LoadReport {
    LoadReport {
        model: (stage == LoadStage::Loaded).then(|| LoadedModel {
            name: "tiny".into(),
            architecture: "llama".into(),
            precision: "q4_1".into(),
            device: "cpu".into(),
            backend: "kernels".into(),
            context_length: 2048,
            weights_bytes: 1,
            kv_cache_bytes: 1,
            kv_bytes_per_token: None,
        }),
        ..LoadReport::at(stage, percent)
    }
}

fn running(report: Option<LoadReport>) -> ObservedPod {
    running_since("2026-01-01T11:59:58Z", report)
}

fn running_since(started: &str, report: Option<LoadReport>) -> ObservedPod {
    ObservedPod {
        report,
        ..pod_in(json!({"running": {"startedAt": started}}), json!({}), 0)
    }
}

fn crashed(terminated: &Value) -> ObservedPod {
    pod_in(
        json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}),
        json!({"terminated": terminated}),
        2,
    )
}

fn waiting(reason: &str, message: &str) -> ObservedPod {
    let waiting = json!({"waiting": {"reason": reason, "message": message}});
    pod_in(waiting, json!({}), 0)
}

fn unscheduled(message: &str) -> ObservedPod {
    pod(json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    ]}))
}

fn last_words() -> Value {
    let message = serde_json::to_string(&TerminationMessage {
        reason: LoadFailure::CorruptModel,
        message: "the file ends early: copy it again".into(),
    })
    .unwrap();
    json!({"exitCode": 1, "reason": "Error", "message": message})
}

/// The Ready condition of a resource of one pod.
fn ready_of(pod: ObservedPod) -> (String, String) {
    let outcome = applied(counts(1, 1, 0));
    let status = derive(&resource(json!({})), &seen(vec![pod]), &outcome, now());
    let ready = condition(&status, "Ready");
    assert_eq!(ready.status, "False");
    (ready.reason.clone(), ready.message.clone())
}

#[test]
fn a_served_model_is_ready_loaded_and_described() {
    let serving = ObservedPod {
        report: Some(report(LoadStage::Loaded, 100)),
        ..ready_pod()
    };
    let outcome = applied(counts(1, 1, 1));
    let status = derive(&resource(json!({})), &seen(vec![serving]), &outcome, now());
    for type_ in ["Ready", "Scheduled", "ModelLoaded", "SpecSupported"] {
        assert_eq!(condition(&status, type_).status, "True", "{type_}");
    }
    assert_eq!(condition(&status, "Ready").message, "1 pod serves");
    assert_eq!(status.model.as_ref().unwrap().precision, "q4_1");
    assert_eq!(status.load.as_ref().unwrap().percent, 100);
    assert_eq!(status.url.as_deref(), Some("http://tiny.team.svc:8080"));
    assert_eq!(status.image.as_deref(), Some("candlepower/server:test"));
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!((status.replicas, status.ready_replicas), (1, 1));
    assert!(is_settled(&resource(json!({})), &status));
}

#[test]
fn requests_go_to_another_address_with_a_certificate() {
    let resource = resource(json!({"access": {"tls": {"secretRef": {"name": "tiny-tls"}}}}));
    let outcome = applied(counts(1, 1, 1));
    let status = derive(&resource, &seen(vec![ready_pod()]), &outcome, now());
    assert_eq!(status.url.as_deref(), Some("https://tiny.team.svc:8443"));
}

#[test]
fn a_settled_system_is_not_asked_and_its_status_stays_the_same() {
    let resource = resource(json!({}));
    let outcome = applied(counts(1, 1, 1));
    let asked = ObservedPod {
        report: Some(report(LoadStage::Loaded, 100)),
        ..ready_pod()
    };
    let first = derive(&resource, &seen(vec![asked]), &outcome, now());
    let later = now() + SignedDuration::from_secs(60);
    let observed = Observed {
        previous: first.clone(),
        ..seen(vec![ready_pod()])
    };
    let second = derive(&resource, &observed, &outcome, later);
    assert_eq!(first, second);
    assert_eq!(next_look(&observed, &outcome, &second), None);
}

#[test]
fn ready_is_impossible_while_a_pod_crashes_or_an_old_one_remains() {
    let spec = json!({"replicas": 2});
    let crash = crashed(&last_words());
    let cases = [
        // The Deployment's counts lag behind the pods.
        (counts(2, 2, 2), vec![ready_pod(), crash], "CorruptModel"),
        (
            counts(3, 1, 3),
            vec![ready_pod(), ready_pod()],
            "RolloutInProgress",
        ),
        (counts(1, 1, 1), vec![ready_pod()], "RolloutInProgress"),
        (counts(2, 2, 1), vec![ready_pod(), ready_pod()], "Loading"),
    ];
    for (counts, pods, reason) in cases {
        let status = derive(
            &resource(spec.clone()),
            &seen(pods),
            &applied(counts),
            now(),
        );
        let ready = condition(&status, "Ready");
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", reason)
        );
    }
}

#[test]
fn a_deployment_that_has_not_seen_its_new_form_is_not_ready() {
    let mut outcome = applied(counts(1, 1, 1));
    if let Outcome::Applied(applied) = &mut outcome {
        applied.deployment.identity.generation = Some(2);
    }
    let status = derive(
        &resource(json!({})),
        &seen(vec![ready_pod()]),
        &outcome,
        now(),
    );
    assert_eq!(condition(&status, "Ready").reason, "RolloutInProgress");
}

#[test]
fn pods_of_an_earlier_configuration_do_not_hide_those_of_the_new_one() {
    let with_hash = |pod: ObservedPod, hash: &str| {
        let mut new = (*pod.pod).clone();
        new.config_hash = Some(hash.into());
        ObservedPod {
            pod: new.into(),
            ..pod
        }
    };
    let old = with_hash(ready_pod(), "old");
    let new = with_hash(running(Some(report(LoadStage::WarmingUp, 0))), "abc");
    let outcome = applied(counts(2, 1, 1));
    let status = derive(&resource(json!({})), &seen(vec![old, new]), &outcome, now());
    let ready = condition(&status, "Ready");
    assert_eq!(ready.reason, "Loading");
    assert!(
        ready.message.ends_with("warming up, 0 % (1 of 1 ready)"),
        "{}",
        ready.message
    );
}

#[test]
fn a_model_that_waits_for_its_first_request_is_ready_but_not_loaded() {
    let waiting = ObservedPod {
        report: Some(report(LoadStage::Waiting, 0)),
        ..ready_pod()
    };
    let outcome = applied(counts(1, 1, 1));
    let observed = seen(vec![waiting]);
    let status = derive(
        &resource(json!({"preload": false})),
        &observed,
        &outcome,
        now(),
    );
    assert_eq!(condition(&status, "Ready").status, "True");
    assert_eq!(
        condition(&status, "ModelLoaded").reason,
        "WaitingForRequest"
    );
    assert_eq!(next_look(&observed, &outcome, &status), Some(WHILE_WAITING));
}

#[test]
fn a_server_that_serves_but_cannot_be_asked_is_ready_and_rarely_asked_again() {
    let outcome = applied(counts(1, 1, 1));
    let observed = seen(vec![ready_pod()]);
    let status = derive(&resource(json!({})), &observed, &outcome, now());
    assert_eq!(condition(&status, "Ready").status, "True");
    assert_eq!(condition(&status, "ModelLoaded").status, "True");
    assert_eq!(
        next_look(&observed, &outcome, &status),
        Some(WHILE_UNREACHABLE)
    );
}

#[test]
fn what_fits_no_gpu_is_looked_at_again_because_other_nodes_may_come() {
    let rejection = Rejection {
        reason: names::MEMORY_TOO_SMALL,
        message: "25 of 22".into(),
    };
    let outcome = Outcome::Rejected(rejection);
    let look = |fit: fn(String) -> Fit| {
        let observed = Observed {
            fit: fit("25 of 22".into()),
            ..Observed::default()
        };
        let status = derive(&resource(json!({})), &observed, &outcome, now());
        assert_eq!(condition(&status, "FitsMemory").status, "False");
        next_look(&observed, &outcome, &status)
    };
    assert_eq!(look(Fit::NoGpu), Some(NODES_LIFETIME));
    assert_eq!(look(Fit::TooLarge), None);
}

#[test]
fn the_pod_that_is_furthest_behind_tells_the_progress() {
    let pods = vec![
        running(Some(report(LoadStage::WarmingUp, 50))),
        running(Some(report(LoadStage::ReadingWeights, 99))),
    ];
    let outcome = applied(counts(2, 2, 0));
    let observed = seen(pods);
    let status = derive(
        &resource(json!({"replicas": 2})),
        &observed,
        &outcome,
        now(),
    );
    let load = status.load.clone().unwrap();
    assert_eq!((load.stage, load.percent), (LoadStage::ReadingWeights, 95));
    assert_eq!(next_look(&observed, &outcome, &status), Some(WHILE_LOADING));
}

#[test]
fn a_loaded_model_that_stays_unready_needs_help() {
    let unready = || running(Some(report(LoadStage::Loaded, 100)));
    let outcome = applied(counts(1, 1, 0));
    let since = |seconds| {
        let previous = LLMDeploymentStatus {
            conditions: vec![Condition {
                type_: "ModelLoaded".into(),
                status: "True".into(),
                reason: "Loaded".into(),
                message: String::new(),
                observed_generation: None,
                last_transition_time: Time(now() - SignedDuration::from_secs(seconds)),
            }],
            ..LLMDeploymentStatus::default()
        };
        let observed = Observed {
            previous,
            ..seen(vec![unready()])
        };
        let status = derive(&resource(json!({})), &observed, &outcome, now());
        condition(&status, "Ready").reason.clone()
    };
    assert_eq!(since(2), "Loading");
    assert_eq!(since(60), "NotAnswering");
}

#[test]
fn the_image_that_was_pinned_survives_a_rejection() {
    let rejection = Outcome::Rejected(Rejection {
        reason: "InvalidSpec",
        message: "m".into(),
    });
    let observed = Observed {
        previous: LLMDeploymentStatus {
            image: Some("a".into()),
            ..LLMDeploymentStatus::default()
        },
        ..Observed::default()
    };
    let status = derive(&resource(json!({})), &observed, &rejection, now());
    assert_eq!(status.image.as_deref(), Some("a"));
    assert_eq!(status.url, None);
}

#[test]
fn that_kubernetes_has_not_counted_a_pod_yet_is_told_only_when_it_lasts() {
    let observed = |seconds: i64| {
        let mut pod = ready_pod();
        let status = &mut Arc::make_mut(&mut pod.pod).status;
        for condition in &mut status.conditions {
            let since = now() - SignedDuration::from_secs(seconds);
            condition.last_transition_time = Some(Time(since));
        }
        seen(vec![pod])
    };
    let for_a_moment = |observed: &Observed, ready: i32| {
        let outcome = applied(counts(1, 1, ready));
        let status = derive(&resource(json!({})), observed, &outcome, now());
        is_for_a_moment(&status, observed, now())
    };
    assert!(for_a_moment(&observed(1), 0));
    assert!(!for_a_moment(&observed(5), 0), "it lasts");
    assert!(!for_a_moment(&observed(1), 1), "it is counted");
    assert!(!for_a_moment(&seen(vec![]), 0), "there is no pod yet");
}
