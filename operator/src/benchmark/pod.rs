//! What the job and its pods say about themselves.
use super::{build::trust::AUTHORITY_VOLUME, decide::Obstacle};
use crate::watches::{ContainerStatus, Job, Pod};
use candlepower_api::names::conditions;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, PodCondition};
use std::sync::Arc;

/// How the job ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum JobEnd {
    Complete,
    DeadlineExceeded,
    /// With Kubernetes' own words.
    Failed(String),
    Deleted,
}

/// How the job ended, where it has.
pub(super) fn job_end(job: &Job) -> Option<JobEnd> {
    if job.metadata.deletion_timestamp.is_some() {
        return Some(JobEnd::Deleted);
    }
    let holds = |type_: &str| {
        let mut all = job.status.conditions.iter();
        all.find(|condition| condition.type_ == type_ && condition.status == "True")
    };
    if holds("Complete").is_some() {
        return Some(JobEnd::Complete);
    }
    let failed = holds("Failed")?;
    Some(match failed.reason.as_deref() {
        Some("DeadlineExceeded") => JobEnd::DeadlineExceeded,
        _ => JobEnd::Failed(failed.message.clone().unwrap_or_default()),
    })
}

/// Why there is no report.
pub(super) fn failure(end: &JobEnd, pods: &[Arc<Pod>]) -> Obstacle {
    let last_words = last_words(pods).unwrap_or_else(|| "its pod left no message".to_owned());
    let (reason, message) = match end {
        JobEnd::Complete => (
            conditions::JOB_FAILED,
            format!("the job ended without a report: {last_words}"),
        ),
        JobEnd::DeadlineExceeded => (
            conditions::DEADLINE_EXCEEDED,
            format!(
                "the job took longer than its plan allows; {last_words}; look at the target, or ask for less"
            ),
        ),
        JobEnd::Failed(message) => (
            conditions::JOB_FAILED,
            format!("the job failed: {last_words} ({message})"),
        ),
        JobEnd::Deleted => (
            conditions::JOB_DELETED,
            "somebody deleted the job; create the benchmark again to measure again".to_owned(),
        ),
    };
    Obstacle { reason, message }
}

/// What stands in the way of the job's pod, where something does; `start_failure` is what its node says about it.
pub(super) fn pending(pods: &[Arc<Pod>], start_failure: Option<&str>) -> Option<Obstacle> {
    let obstacle = |reason, message| Some(Obstacle { reason, message });
    let alive = |pod: &&Arc<Pod>| {
        matches!(
            pod.status.phase.as_deref(),
            None | Some("Pending" | "Running")
        )
    };
    let Some(pod) = pods.iter().find(alive) else {
        return obstacle(conditions::JOB_PENDING, "the job has no pod yet".to_owned());
    };
    let name = &pod.name;
    let is_final = |it: &&PodCondition| it.reason.as_deref() == Some("Unschedulable");
    if let Some(scheduled) = pod.unscheduled().filter(is_final) {
        let why = scheduled.message.as_deref().unwrap_or_default();
        return obstacle(conditions::UNSCHEDULABLE, format!("pod {name}: {why}"));
    }
    let container = container(pod);
    if let Some(waiting) = container.and_then(|one| one.state.waiting.as_ref()) {
        let message = waiting.message.as_deref().unwrap_or_default();
        match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                return obstacle(
                    conditions::IMAGE_PULL_FAILED,
                    format!("pod {name}: {message}; correct the chart's bench.image"),
                );
            }
            "CreateContainerConfigError" | "CreateContainerError" => {
                return obstacle(
                    conditions::CONTAINER_CONFIG_ERROR,
                    format!("pod {name}: {message}"),
                );
            }
            _ => {}
        }
    }
    if container.is_some_and(|one| one.state.running.is_some()) {
        return None;
    }
    if let Some(failure) = start_failure {
        let message = format!("pod {name}: its node cannot start it: {failure}");
        return obstacle(
            conditions::VOLUME_NOT_READY,
            message + cure_of_volume(failure),
        );
    }
    obstacle(
        conditions::JOB_PENDING,
        format!("pod {name}: its node pulls the image and starts it"),
    )
}

/// Kubelet's message names the volume and what is missing.
fn cure_of_volume(failure: &str) -> &'static str {
    if failure.contains(&format!("volume \"{AUTHORITY_VOLUME}\"")) {
        "; create the Secret or ConfigMap that spec.target.ca names, with the key that it names"
    } else {
        ""
    }
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.container_statuses.first()
}

/// All that the pod that ended well has left.
pub(super) fn result(pods: &[Arc<Pod>]) -> Option<&str> {
    let mut ended = pods
        .iter()
        .filter_map(|pod| container(pod)?.state.terminated.as_ref());
    ended.find(|end| end.exit_code == 0)?.message.as_deref()
}

/// What the pod that ended last said.
pub(super) fn last_words(pods: &[Arc<Pod>]) -> Option<String> {
    let ended = pods.iter().filter_map(|pod| {
        let terminated = container(pod)?.state.terminated.as_ref()?;
        Some((terminated.finished_at.clone(), words_of(terminated)))
    });
    let by_container = ended.max_by(|one, other| one.0.cmp(&other.0));
    let evicted = || {
        let mut messages = pods.iter().filter_map(|pod| pod.status.message.as_deref());
        messages.next_back().map(str::to_owned)
    };
    by_container.map(|(_, words)| words).or_else(evicted)
}

fn words_of(terminated: &ContainerStateTerminated) -> String {
    let reason = terminated.reason.as_deref().unwrap_or("Error");
    let message = terminated.message.as_deref().unwrap_or_default();
    let last_line = message
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty());
    match last_line {
        Some(line) => format!("{line} ({reason}, exit status {})", terminated.exit_code),
        None => format!("{reason}, exit status {}", terminated.exit_code),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::needless_pass_by_value,
        reason = "literals read better without a reference"
    )]
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: Value) -> Arc<Pod> {
        let pod = json!({"metadata": {"name": "b-bench-x"}, "status": status});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn in_state(phase: &str, state: Value) -> Arc<Pod> {
        pod(json!({"phase": phase, "containerStatuses": [{
            "name": "bench", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": state,
        }]}))
    }

    fn ended(conditions: Value) -> Option<JobEnd> {
        let job = json!({"metadata": {}, "status": {"conditions": conditions}});
        job_end(&serde_json::from_value(job).unwrap())
    }

    #[test]
    fn a_job_ends_by_its_conditions() {
        assert_eq!(ended(json!([])), None);
        assert_eq!(
            ended(json!([{"type": "Suspended", "status": "True"}])),
            None
        );
        assert_eq!(
            ended(json!([{"type": "Complete", "status": "True"}])),
            Some(JobEnd::Complete)
        );
        assert_eq!(
            ended(json!([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}])),
            Some(JobEnd::DeadlineExceeded)
        );
    }

    #[test]
    fn a_failure_quotes_the_last_words_of_the_pod() {
        let killed = in_state(
            "Failed",
            json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
        );
        let end = JobEnd::Failed("Job has reached the specified backoff limit".into());
        let found = failure(&end, &[killed]);
        assert_eq!(found.reason, "JobFailed");
        assert!(
            found.message.contains("OOMKilled, exit status 137"),
            "{found:?}"
        );
        let spoke = in_state(
            "Failed",
            json!({"terminated": {"exitCode": 2, "reason": "Error", "message": "a\nthe plan is wrong\n"}}),
        );
        assert!(
            failure(&end, &[spoke])
                .message
                .contains("the plan is wrong (Error")
        );
    }

    #[test]
    fn what_keeps_the_pod_from_running_is_said() {
        let reason = |pod: Arc<Pod>| pending(&[pod], None).map(|found| found.reason);
        assert_eq!(pending(&[], None).unwrap().reason, "JobPending");
        assert_eq!(
            reason(pod(json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
            ]}))),
            Some("Unschedulable")
        );
        assert_eq!(
            reason(in_state(
                "Pending",
                json!({"waiting": {"reason": "ImagePullBackOff"}})
            )),
            Some("ImagePullFailed")
        );
        assert_eq!(
            reason(in_state(
                "Pending",
                json!({"waiting": {"reason": "ContainerCreating"}})
            )),
            Some("JobPending")
        );
        assert_eq!(reason(in_state("Running", json!({"running": {}}))), None);
    }

    #[test]
    fn what_a_node_cannot_mount_is_named_with_the_field_that_asks_for_it() {
        let creating = || {
            in_state(
                "Pending",
                json!({"waiting": {"reason": "ContainerCreating"}}),
            )
        };
        let missing =
            "MountVolume.SetUp failed for volume \"target-ca\" : secret \"corporate\" not found";
        let found = pending(&[creating()], Some(missing)).unwrap();
        assert_eq!(found.reason, "VolumeNotReady");
        assert!(
            found.message.contains(missing) && found.message.contains("spec.target.ca"),
            "{found:?}"
        );
        let another = "MountVolume.MountDevice failed for volume \"pvc-1\" : rpc error";
        let found = pending(&[creating()], Some(another)).unwrap();
        assert!(!found.message.contains("spec.target.ca"), "{found:?}");
        // It was in the way once.
        let runs = in_state("Running", json!({"running": {}}));
        assert_eq!(pending(&[runs], Some(missing)), None);
    }
}
