//! How a container of a target ended.
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use serde::{Deserialize, Serialize};

/// The end of a container, as its pod's status tells it. Of each container only the last one is told there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Termination {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Kubernetes' reason, such as `OOMKilled` or `Error`.
    pub reason: String,
    /// Its exit status.
    pub exit_code: i32,
    /// When, in microseconds since 1970, by the clock of the pod's node; Kubernetes tells whole seconds.
    pub finished_at: u64,
}

impl Termination {
    /// The ends that the status of `pod` tells, whether or not it serves.
    pub fn of_pod(pod: &Pod) -> Vec<Self> {
        let Some(status) = &pod.status else {
            return Vec::new();
        };
        let containers = status.container_statuses.iter().flatten();
        let first = status.init_container_statuses.iter().flatten();
        Self::of_ends(
            pod.metadata.name.as_deref().unwrap_or_default(),
            containers.flat_map(ends),
            first.flat_map(ends),
        )
    }

    /// The ends of a pod's containers, and of those that are started before them, each with the container's name.
    pub fn of_ends<'a>(
        pod: &str,
        containers: impl Iterator<Item = (&'a str, &'a ContainerStateTerminated)>,
        first: impl Iterator<Item = (&'a str, &'a ContainerStateTerminated)>,
    ) -> Vec<Self> {
        // Sidecars are among these; one that prepares the pod ends as it should.
        let first = first.filter(|(_, end)| end.exit_code != 0);
        containers
            .chain(first)
            .filter_map(|(container, end)| {
                let finished = end.finished_at.as_ref()?.0.as_microsecond();
                Some(Self {
                    pod: pod.to_owned(),
                    container: container.to_owned(),
                    reason: end.reason.clone().unwrap_or_else(|| "Error".to_owned()),
                    exit_code: end.exit_code,
                    finished_at: u64::try_from(finished).ok()?,
                })
            })
            .collect()
    }
}

/// The end before the last start, and that of a container that was not started again.
fn ends(container: &ContainerStatus) -> impl Iterator<Item = (&str, &ContainerStateTerminated)> {
    let both = [&container.last_state, &container.state];
    let both = both.into_iter().flatten();
    let both = both.filter_map(|state| state.terminated.as_ref());
    both.map(|end| (container.name.as_str(), end))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::needless_pass_by_value,
        reason = "literals read better without a reference"
    )]
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-06-01T12:00:00Z";

    fn container(name: &str, last: Value, now: Value) -> Value {
        json!({
            "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 1,
            "lastState": last, "state": now,
        })
    }

    fn ended(code: i32, reason: &str) -> Value {
        json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": NOW}})
    }

    fn told(containers: Value, init: Value) -> Vec<(String, String, i32)> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "tiny-1"},
            "status": {"containerStatuses": containers, "initContainerStatuses": init},
        }))
        .unwrap();
        let told = Termination::of_pod(&pod);
        let at = 1_780_315_200_000_000;
        let told = told.into_iter().map(|one| {
            assert_eq!((one.pod.as_str(), one.finished_at), ("tiny-1", at));
            (one.container, one.reason, one.exit_code)
        });
        told.collect()
    }

    #[test]
    fn the_end_before_a_restart_and_that_without_one_are_told() {
        let running = json!({"running": {}});
        let containers = json!([
            container("server", ended(137, "OOMKilled"), running.clone()),
            container("other", json!({}), ended(1, "Error")),
            container("fine", json!({}), running),
        ]);
        let one = |name: &str, reason: &str, code| (name.to_owned(), reason.to_owned(), code);
        assert_eq!(
            told(containers, json!([])),
            [one("server", "OOMKilled", 137), one("other", "Error", 1)]
        );
    }

    #[test]
    fn a_sidecar_that_ends_is_told_and_a_preparation_that_is_over_is_not() {
        let init = json!([
            container("prometheus", ended(137, "OOMKilled"), json!({})),
            container("prepare", json!({}), ended(0, "Completed")),
        ]);
        let names: Vec<_> = told(json!([]), init).into_iter().map(|one| one.0).collect();
        assert_eq!(names, ["prometheus"]);
    }

    #[test]
    fn an_end_whose_time_nobody_knows_is_none_of_a_run() {
        let unknown = json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}});
        let containers = json!([container("server", unknown, json!({}))]);
        assert_eq!(told(containers, json!([])), []);
    }
}
