//! What is wrong with a pod, if anything, in words and with the cure.
use super::{
    super::{
        apply::Outcome,
        build::{API_KEYS_VOLUME, CONTAINER, GPU, TLS_VOLUME},
        dereference::{Observed, ObservedPod},
        monitoring::sidecar::{failing_pull, is_pull_failure},
    },
    devices,
    words::{last_line, shortened},
};
use crate::watches::{ContainerStatus, Pod};
use candlepower_api::{
    deployment::LLMDeployment,
    names::{conditions, reasons::TerminationMessage},
    server_config::{LoadReport, LoadStage},
};
use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStateWaiting},
    jiff::{SignedDuration, Timestamp},
};

/// A server answers its start-up probe from its first moment on.
const FIRST_ANSWER: SignedDuration = SignedDuration::from_secs(60);
/// A loaded model passes the readiness probe within a few of its periods.
const FIRST_READINESS: SignedDuration = SignedDuration::from_secs(15);
/// Longest part of somebody else's message.
const LONGEST_QUOTE: usize = 400;

/// What one pod is like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Diagnosis {
    /// It serves.
    Ready,
    /// It will serve in time.
    Progress(&'static str, String),
    /// It needs help.
    Failing(&'static str, String),
}

/// The pods that count: alive, and with the wanted configuration where such pods exist.
pub(super) fn current<'a>(observed: &'a Observed, outcome: &Outcome) -> Vec<&'a ObservedPod> {
    let ended = |pod: &&ObservedPod| {
        matches!(
            pod.pod.status.phase.as_deref(),
            Some("Failed" | "Succeeded")
        )
    };
    // The remains of evicted pods stay for a while, and only count where nothing followed them.
    let (ended, alive): (Vec<_>, Vec<_>) = observed.pods.iter().partition(ended);
    let mut pods = if alive.is_empty() { ended } else { alive };
    if let Outcome::Applied(applied) = outcome {
        let is_current =
            |pod: &&ObservedPod| pod.pod.config_hash.as_deref() == Some(&applied.config_hash);
        if pods.iter().any(is_current) {
            pods.retain(is_current);
        }
    }
    pods.sort_unstable_by(|one, other| one.pod.name.cmp(&other.pod.name));
    pods
}

/// One diagnosis for each pod.
pub(super) fn diagnose_all(
    pods: &[&ObservedPod],
    resource: &LLMDeployment,
    loaded_since: Option<Timestamp>,
    now: Timestamp,
) -> Vec<Diagnosis> {
    let doctor = Doctor {
        resource,
        loaded_since,
        now,
    };
    pods.iter().map(|pod| doctor.diagnose(pod)).collect()
}

/// Whether the server's process runs.
pub(super) fn is_running(pod: &Pod) -> bool {
    container(pod).is_some_and(|container| container.state.running.is_some())
}

struct Doctor<'a> {
    resource: &'a LLMDeployment,
    /// Since when the model has been in memory.
    loaded_since: Option<Timestamp>,
    now: Timestamp,
}

impl Doctor<'_> {
    fn diagnose(&self, observed: &ObservedPod) -> Diagnosis {
        let pod = &*observed.pod;
        let name = &pod.name;
        if let Some(why) = ended(pod) {
            return Diagnosis::Failing(conditions::POD_FAILED, format!("pod {name}: {why}"));
        }
        if let Some(message) = unschedulable(pod) {
            return Diagnosis::Failing(conditions::UNSCHEDULABLE, message);
        }
        let Some(container) = container(pod) else {
            return preparing(observed);
        };
        if let Some(waiting) = &container.state.waiting {
            return self.waiting(observed, container, waiting);
        }
        if let Some(terminated) = &container.state.terminated {
            return self.terminated(name, container, terminated);
        }
        if pod.is_ready() {
            return Diagnosis::Ready;
        }
        // A container that was started again is not well before it serves: without this, the
        // reason would flicker with each restart.
        match last_failure(container).filter(|_| !fetches(observed)) {
            Some(terminated) => self.terminated(name, container, terminated),
            None => self.running(observed, container),
        }
    }

    fn waiting(
        &self,
        observed: &ObservedPod,
        container: &ContainerStatus,
        waiting: &ContainerStateWaiting,
    ) -> Diagnosis {
        let name = &observed.pod.name;
        let message = waiting.message.as_deref().unwrap_or_default();
        match waiting.reason.as_deref().unwrap_or_default() {
            reason if is_pull_failure(reason) => {
                // The message of a back-off repeats the one of the failure after a preamble.
                let cause = message.split("ErrImagePull: ").last().unwrap_or(message);
                Diagnosis::Failing(
                    conditions::IMAGE_PULL_FAILED,
                    format!(
                        "the image {} cannot be pulled: {}; correct the operator's --server-image (--server-image-cuda for GPUs), or add spec.pod.imagePullSecrets",
                        container.image,
                        shortened(cause, LONGEST_QUOTE)
                    ),
                )
            }
            "CrashLoopBackOff" => match terminated(container) {
                Some(terminated) => self.terminated(name, container, terminated),
                None => Diagnosis::Failing(
                    conditions::CRASH_LOOP,
                    format!("pod {name}: the server stops again and again: {message}"),
                ),
            },
            "" | "ContainerCreating" | "PodInitializing" => match failing_pull(&observed.pod) {
                Some(sidecar) => blocked(sidecar),
                None => preparing(observed),
            },
            reason => Diagnosis::Failing(
                conditions::CONTAINER_CONFIG_ERROR,
                format!(
                    "pod {name}: the container cannot be created ({reason}): {}; check what spec.pod refers to",
                    shortened(message, LONGEST_QUOTE)
                ),
            ),
        }
    }

    /// What the server's end means.
    fn terminated(
        &self,
        pod: &str,
        container: &ContainerStatus,
        terminated: &ContainerStateTerminated,
    ) -> Diagnosis {
        let message = terminated.message.as_deref().unwrap_or_default();
        if let Some(last_words) = last_words(message) {
            return Diagnosis::Failing(last_words.reason.as_str(), last_words.message);
        }
        let restarts = container.restart_count;
        if terminated.reason.as_deref() == Some("OOMKilled") {
            return Diagnosis::Failing(
                conditions::OOM_KILLED,
                format!(
                    "pod {pod}: the server needed more than its memory limit of {} and was stopped (restarts: {restarts}): raise spec.resources.memory, or lower spec.engine.maxContextLength, spec.engine.maxBatchSize or spec.precision",
                    self.resource.spec.resources.memory
                ),
            );
        }
        let words = last_line(message).map_or_else(
            || "it left no message; see kubectl logs --previous".to_owned(),
            |line| format!("its last line: {}", shortened(line, LONGEST_QUOTE)),
        );
        Diagnosis::Failing(
            conditions::CRASH_LOOP,
            format!(
                "pod {pod}: the server stopped with exit code {} (restarts: {restarts}); {words}",
                terminated.exit_code
            ),
        )
    }

    fn running(&self, observed: &ObservedPod, container: &ContainerStatus) -> Diagnosis {
        let name = &observed.pod.name;
        let running = container.state.running.as_ref();
        let started = running.and_then(|running| running.started_at.as_ref());
        let runs_for = started.map_or(SignedDuration::ZERO, |at| self.now.duration_since(at.0));
        match &observed.report {
            None if runs_for > FIRST_ANSWER => Diagnosis::Failing(
                conditions::NOT_ANSWERING,
                format!(
                    "pod {name}: the server runs but does not answer the operator; see kubectl logs, and check that network policies let the operator in"
                ),
            ),
            None => Diagnosis::Progress(
                conditions::LOADING,
                format!("pod {name}: the server starts"),
            ),
            Some(report) if report.stage == LoadStage::Loaded => {
                let loaded_for = self
                    .loaded_since
                    .map_or(SignedDuration::ZERO, |since| self.now.duration_since(since));
                if loaded_for > FIRST_READINESS {
                    Diagnosis::Failing(
                        conditions::NOT_ANSWERING,
                        format!(
                            "pod {name}: the model is loaded, but the readiness probe fails; see kubectl logs"
                        ),
                    )
                } else {
                    Diagnosis::Progress(
                        conditions::LOADING,
                        format!("pod {name}: the model is loaded and is about to serve"),
                    )
                }
            }
            Some(report) => match &report.problem {
                Some(problem) => Diagnosis::Failing(
                    problem.reason.as_str(),
                    format!("pod {name}: {}", shortened(&problem.message, LONGEST_QUOTE)),
                ),
                None => Diagnosis::Progress(
                    conditions::LOADING,
                    format!("pod {name}: {}", progress(report)),
                ),
            },
        }
    }
}

/// How far loading is, in words.
pub(super) fn progress(report: &LoadReport) -> String {
    let stage = match report.stage {
        LoadStage::Waiting => return "the model is loaded at the first request".to_owned(),
        LoadStage::Loaded => return "the model is loaded".to_owned(),
        LoadStage::Downloading => "downloading",
        LoadStage::Verifying => "verifying the file's checksum",
        LoadStage::ReadingWeights => "reading weights",
        LoadStage::WarmingUp => "warming up",
    };
    let left = super::remaining(report).map_or_else(String::new, |left| format!(", {left} left"));
    format!("{stage}, {} %{left}", super::rounded(report.percent))
}

/// Whether the server gets bytes of the model, which may take hours: whatever kept it from that
/// before is over.
fn fetches(observed: &ObservedPod) -> bool {
    observed
        .report
        .as_ref()
        .is_some_and(|report| report.stage == LoadStage::Downloading && report.percent > 0)
}

/// The server does not start before its sidecars.
fn blocked(sidecar: &ContainerStatus) -> Diagnosis {
    Diagnosis::Failing(
        conditions::IMAGE_PULL_FAILED,
        format!(
            "the image {} of the sidecar {} cannot be pulled, and the server starts after it: correct the operator's --{}-image, or set spec.observability so that it is not needed",
            sidecar.image, sidecar.name, sidecar.name
        ),
    )
}

/// Kubelet's message names the volume that is missing.
fn cure_of_volume(failure: &str) -> &'static str {
    let is_about = |volume: &str| failure.contains(&format!("volume \"{volume}\""));
    if is_about(API_KEYS_VOLUME) {
        "create the Secret that spec.access.apiKeys names"
    } else if is_about(TLS_VOLUME) {
        "create the Secret that spec.access.tls names, as `kubectl create secret tls NAME --cert=FILE --key=FILE` does"
    } else {
        "check spec.model.source and spec.cache"
    }
}

/// A pod that a node prepares, or fails to.
fn preparing(observed: &ObservedPod) -> Diagnosis {
    let name = &observed.pod.name;
    match &observed.start_failure {
        Some(failure) => Diagnosis::Failing(
            conditions::VOLUME_NOT_READY,
            format!(
                "pod {name}: its node cannot start it: {}; {}",
                shortened(failure, LONGEST_QUOTE),
                cure_of_volume(failure)
            ),
        ),
        None if observed.pod.started().is_some() => Diagnosis::Progress(
            conditions::CONTAINER_STARTING,
            format!("pod {name}: its node pulls the image and mounts the volumes"),
        ),
        None => Diagnosis::Progress(
            conditions::PODS_PENDING,
            format!(
                "pod {name}: no node has taken it yet{}",
                devices::waited_for(&observed.pod)
            ),
        ),
    }
}

fn ended(pod: &Pod) -> Option<String> {
    let status = &pod.status;
    if status.phase.as_deref() != Some("Failed") {
        return None;
    }
    let reason = status.reason.as_deref().unwrap_or("Failed");
    let message = status.message.as_deref().unwrap_or("its node gave it up");
    Some(format!("{reason}: {}", shortened(message, LONGEST_QUOTE)))
}

/// Why no node takes the pod.
pub(super) fn unschedulable(pod: &Pod) -> Option<String> {
    let message = pod
        .unscheduled()?
        .message
        .as_deref()
        .unwrap_or("no node was found");
    // What follows is about evicting others and about device claims, which does not help here.
    let end = devices::AFTERTHOUGHTS
        .iter()
        .chain(&["preemption:"])
        .filter_map(|noise| message.find(noise))
        .min();
    // Of a missing claim the scheduler says it twice.
    let message = message[..end.unwrap_or(message.len())]
        .trim()
        .replace("not found. not found", "not found");
    let cure = if message.contains("persistentvolumeclaim") && message.contains("not found") {
        "; create the claim, or correct spec.model.source or spec.cache"
    } else if message.contains("PersistentVolumeClaims") {
        "; bind the claim to a volume"
    } else if message.contains(&format!("Insufficient {GPU}")) {
        "; add a node with a free GPU, or NVIDIA's device plugin to one that has it; or set spec.resources.gpus to 0"
    } else if message.contains("Insufficient") {
        "; add a node, or lower spec.resources"
    } else if message.contains("taint") {
        "; add spec.pod.tolerations, or a node without the taint"
    } else if message.contains("selector") || message.contains("affinity") {
        "; correct spec.pod.nodeSelector or spec.pod.affinity, or label a node"
    } else {
        ""
    };
    let cure = devices::cure(&message, pod).unwrap_or_else(|| cure.to_owned());
    Some(format!(
        "no node takes pod {}: {}{cure}",
        pod.name,
        shortened(message.trim_end_matches(['.', ',']), LONGEST_QUOTE)
    ))
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let mut containers = pod.status.container_statuses.iter();
    containers.find(|container| *container.name == *CONTAINER)
}

fn terminated(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    container.last_state.terminated.as_deref()
}

fn last_failure(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    terminated(container).filter(|terminated| terminated.exit_code != 0)
}

/// The server's own explanation, alone or as the last line of a log.
fn last_words(message: &str) -> Option<TerminationMessage> {
    serde_json::from_str(message)
        .ok()
        .or_else(|| serde_json::from_str(last_line(message)?).ok())
}
