//! Sidecars that cannot do their work, and what helps.
use crate::{
    deployment::{dereference::ObservedPod, monitoring::sidecar},
    watches::ContainerStatus,
};
use candlepower_api::names::conditions as names;

/// A sidecar that cannot do its work.
pub(super) fn broken_sidecar(observed: &ObservedPod) -> Option<(&'static str, String)> {
    let pod = &observed.pod.name;
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
    let last = status.last_state.terminated.as_ref();
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
