//! Each kind of trouble, and what the status says of it.
use super::*;
use serde_json::json;

#[test]
fn each_trouble_of_a_pod_has_a_reason_and_a_cure() {
    let oom = json!({"exitCode": 137, "reason": "OOMKilled"});
    let crash = json!({"exitCode": 101, "reason": "Error", "message": "starting\npanicked at x\n"});
    let stuck = ObservedPod {
        start_failure: Some("hostPath type check failed".into()),
        ..waiting("ContainerCreating", "")
    };
    let locked_out = ObservedPod {
        start_failure: Some(
            "MountVolume.SetUp failed for volume \"api-keys\" : secret \"keys\" not found".into(),
        ),
        ..waiting("ContainerCreating", "")
    };
    let cases = [
        (
            unscheduled(
                "0/1 nodes are available: 1 Insufficient memory. no new claims to deallocate, preemption: 0/1",
            ),
            "Unschedulable",
            "1 Insufficient memory; add a node, or lower spec.resources",
        ),
        (
            unscheduled("0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims"),
            "Unschedulable",
            "1 Insufficient nvidia.com/gpu; add a node with a free GPU",
        ),
        (
            unscheduled(
                "0/1 nodes are available: persistentvolumeclaim \"m\" not found. not found",
            ),
            "Unschedulable",
            "\"m\" not found; create the claim",
        ),
        (
            waiting(
                "ImagePullBackOff",
                "Back-off pulling image \"i\": ErrImagePull: no such tag",
            ),
            "ImagePullFailed",
            "cannot be pulled: no such tag; correct",
        ),
        (
            waiting("CreateContainerConfigError", "secret \"a\" not found"),
            "ContainerConfigError",
            "secret \"a\" not found; check what spec.pod refers to",
        ),
        (
            stuck,
            "VolumeNotReady",
            "hostPath type check failed; check spec.model.source",
        ),
        (
            locked_out,
            "VolumeNotReady",
            "\"keys\" not found; create the Secret that spec.access.apiKeys names",
        ),
        (
            waiting("ContainerCreating", ""),
            "ContainerStarting",
            "mounts the volumes",
        ),
        (crashed(&oom), "OOMKilled", "memory limit of 4Gi"),
        (crashed(&last_words()), "CorruptModel", "copy it again"),
        (
            crashed(&crash),
            "CrashLoop",
            "exit code 101 (restarts: 2); its last line: panicked at x",
        ),
        (
            pod(json!({"phase": "Failed", "reason": "Evicted", "message": "low on disk"})),
            "PodFailed",
            "Evicted: low on disk",
        ),
        (running(None), "Loading", "the server starts"),
        (
            running(Some(report(LoadStage::ReadingWeights, 43))),
            "Loading",
            "reading weights, 40 %",
        ),
        (
            running_since("2026-01-01T11:50:00Z", None),
            "NotAnswering",
            "does not answer the operator",
        ),
        (pod(json!({})), "PodsPending", "no node has taken it yet"),
    ];
    for (pod, reason, message) in cases {
        let ready = ready_of(pod);
        assert_eq!(ready.0, reason, "{}", ready.1);
        assert!(ready.1.contains(message), "{ready:?} lacks \"{message}\"");
    }
}

#[test]
fn a_certificate_that_is_missing_is_named_with_what_makes_one() {
    let pod = ObservedPod {
        start_failure: Some(
            "MountVolume.SetUp failed for volume \"tls\" : secret \"tiny-tls\" not found".into(),
        ),
        ..waiting("ContainerCreating", "")
    };
    let (reason, message) = ready_of(pod);
    assert_eq!(reason, "VolumeNotReady");
    let cure = "\"tiny-tls\" not found; create the Secret that spec.access.tls names, as `kubectl create secret tls";
    assert!(message.contains(cure), "{message}");
}

#[test]
fn a_server_that_starts_again_after_a_failure_still_shows_the_failure() {
    let again = pod_in(
        json!({"running": {"startedAt": NOW}}),
        json!({"terminated": last_words()}),
        3,
    );
    assert_eq!(ready_of(again).0, "CorruptModel");
}

#[test]
fn a_server_that_fetches_shows_it_whatever_failed_before() {
    let again = ObservedPod {
        report: Some(LoadReport {
            remaining: Some(Duration::from_secs(125)),
            ..report(LoadStage::Downloading, 12)
        }),
        ..pod_in(
            json!({"running": {"startedAt": NOW}}),
            json!({"terminated": last_words()}),
            3,
        )
    };
    let (reason, message) = ready_of(again);
    assert_eq!(reason, "Loading");
    assert!(
        message.contains("downloading, 10 %, 2m30s left"),
        "{message}"
    );
}

#[test]
fn a_source_that_does_not_answer_is_the_reason_while_it_is_tried_again() {
    let problem = LoadProblem {
        reason: LoadFailure::Unreachable,
        message: "no answer".into(),
    };
    let (reason, message) = ready_of(running(Some(LoadReport {
        problem: Some(problem),
        ..report(LoadStage::Downloading, 40)
    })));
    assert_eq!(reason, "Unreachable");
    assert!(message.contains("no answer"), "{message}");
}

#[test]
fn troubles_without_a_pod_have_reasons_too() {
    let refused = json!({"conditions": [{
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "pods \"tiny-1\" is forbidden: exceeded quota",
    }]});
    let cases = [
        (
            applied(refused),
            json!({}),
            "ReplicaFailure",
            "exceeded quota; raise the quota",
        ),
        (
            applied(json!({})),
            json!({}),
            "PodsPending",
            "1 pod to be created",
        ),
        (
            applied(json!({})),
            json!({"replicas": 0}),
            "ScaledToZero",
            "set it to 1",
        ),
        (
            Outcome::Rejected(Rejection {
                reason: "InvalidSpec",
                message: "use pvc://".into(),
            }),
            json!({}),
            "InvalidSpec",
            "use pvc://",
        ),
        (
            Outcome::Refused(Refusal {
                kind: "Service".into(),
                name: "tiny".into(),
                message: "it is not ours".into(),
            }),
            json!({}),
            "ChildRefused",
            "the Service tiny was refused: it is not ours",
        ),
    ];
    for (outcome, spec, reason, message) in cases {
        let status = derive(&resource(spec), &seen(vec![]), &outcome, now());
        let ready = condition(&status, "Ready");
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", reason)
        );
        assert!(ready.message.contains(message), "{}", ready.message);
    }
}
