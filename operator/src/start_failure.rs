//! Why a node cannot start a pod: kubelet tells only by events, which nobody watches.
use crate::watches::Pod;
use k8s_openapi::{
    api::core::v1::Event,
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, Client, api::ListParams};

/// Preparing a pod usually takes less; before that its events are not worth a request.
const USUAL_PREPARATION: SignedDuration = SignedDuration::from_secs(10);

/// Why its node cannot start `pod`, where that takes longer than usual and the node says why.
pub(crate) async fn of(client: &Client, pod: &Pod) -> Option<String> {
    if is_slow_to_start(pod, Timestamp::now()) {
        told(client, pod).await
    } else {
        None
    }
}

/// Since when a node has had the pod without starting its container.
pub(crate) fn preparing_since(pod: &Pod) -> Option<Timestamp> {
    let status = &pod.status;
    let containers = &status.container_statuses;
    let creating = containers.is_empty()
        || containers.iter().any(|container| {
            let waiting = container.state.waiting.as_ref();
            waiting.is_some_and(|w| w.reason.as_deref() == Some("ContainerCreating"))
        });
    let over = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    let taken = pod.started()?;
    (creating && !over).then_some(taken)
}

/// Whether a node has had the pod for longer than usual without starting its container.
fn is_slow_to_start(pod: &Pod, now: Timestamp) -> bool {
    preparing_since(pod).is_some_and(|since| now.duration_since(since) > USUAL_PREPARATION)
}

async fn told(client: &Client, pod: &Pod) -> Option<String> {
    let events: Api<Event> = Api::namespaced(client.clone(), &pod.namespace);
    let of_pod = ListParams::default()
        .fields(&format!("involvedObject.uid={},type=Warning", pod.uid))
        .limit(20);
    match events.list(&of_pod).await {
        Ok(list) => list
            .items
            .into_iter()
            .filter(|event| {
                event
                    .reason
                    .as_deref()
                    .is_some_and(|r| r.starts_with("Failed"))
            })
            .max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0))
            .and_then(|event| event.message),
        Err(error) => {
            tracing::debug!(%error, pod = &*pod.name, "the pod's events cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(phase: &str, state: &Value) -> Pod {
        let pod = json!({"metadata": {"name": "a"}, "status": {
            "phase": phase,
            "startTime": "2026-01-01T12:00:00Z",
            "containerStatuses": [{
                "name": "a", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": state,
            }],
        }});
        serde_json::from_value(pod).unwrap()
    }

    fn is_slow(pod: &Pod, now: &str) -> bool {
        is_slow_to_start(pod, now.parse().unwrap())
    }

    #[test]
    fn a_node_has_ten_seconds_before_it_is_asked() {
        let creating = pod(
            "Pending",
            &json!({"waiting": {"reason": "ContainerCreating"}}),
        );
        assert!(!is_slow(&creating, "2026-01-01T12:00:10Z"));
        assert!(is_slow(&creating, "2026-01-01T12:00:11Z"));
    }

    #[test]
    fn a_pod_that_runs_is_over_or_waits_for_something_else_is_not_being_prepared() {
        for (phase, state) in [
            ("Running", json!({"running": {}})),
            (
                "Pending",
                json!({"waiting": {"reason": "ImagePullBackOff"}}),
            ),
            (
                "Failed",
                json!({"waiting": {"reason": "ContainerCreating"}}),
            ),
        ] {
            assert_eq!(
                preparing_since(&pod(phase, &state)),
                None,
                "{phase} {state}"
            );
        }
        assert_eq!(preparing_since(&Pod::default()), None);
    }
}
