//! What a pod's status comes down to: how many containers are ready, and how often they restarted.
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use serde::Serialize;

/// A pod in a line.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSummary {
    pub(super) name: String,
    pub(super) phase: String,
    /// Containers that are ready, sidecars included.
    pub(super) ready: usize,
    /// Containers.
    pub(super) containers: usize,
    /// Restarts of all containers.
    pub(super) restarts: i32,
    /// Why a container last ended, where one did.
    pub(super) last_end: Option<String>,
    pub(super) node: Option<String>,
}

impl PodSummary {
    pub(super) fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let main = status.container_statuses.unwrap_or_default();
        let sidecars = status.init_container_statuses.unwrap_or_default();
        // An init container that has done its work is not one that should run.
        let done = |one: &&ContainerStatus| {
            let state = one
                .state
                .as_ref()
                .and_then(|state| state.terminated.as_ref());
            state.is_none_or(|end| end.exit_code != 0)
        };
        let all: Vec<_> = main.iter().chain(sidecars.iter().filter(done)).collect();
        let ended = all.iter().find_map(|one| {
            let end = one.last_state.as_ref()?.terminated.as_ref()?;
            let reason = end.reason.as_deref().unwrap_or("ended");
            Some(format!("{}: {reason}, code {}", one.name, end.exit_code))
        });
        Self {
            name: pod.name_any(),
            phase: match pod.metadata.deletion_timestamp {
                Some(_) => "Terminating".to_owned(),
                None => status.phase.unwrap_or_default(),
            },
            ready: all.iter().filter(|one| one.ready).count(),
            containers: all.len(),
            restarts: all.iter().map(|one| one.restart_count).sum(),
            last_end: ended,
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sidecars_count_and_the_last_end_is_told() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "tiny-1"}, "spec": {"containers": [], "nodeName": "n1"},
            "status": {"phase": "Running",
                "initContainerStatuses": [
                    {"name": "jaeger", "ready": true, "restartCount": 1, "image": "", "imageID": "",
                     "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}},
                    {"name": "copy", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                     "state": {"terminated": {"exitCode": 0}}}],
                "containerStatuses": [{"name": "server", "ready": false, "restartCount": 2,
                    "image": "", "imageID": ""}]}}))
        .unwrap();
        let summary = PodSummary::of(&pod);
        assert_eq!(
            (summary.ready, summary.containers, summary.restarts),
            (1, 2, 3)
        );
        assert_eq!(
            summary.last_end.as_deref(),
            Some("jaeger: OOMKilled, code 137")
        );
    }
}
