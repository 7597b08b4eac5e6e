//! Prometheus and Jaeger beside a model: which image, and how much of the node.
use crate::{
    config::{PullPolicy, monitoring::MonitoringConfig},
    deployment::dereference::Observed,
    watches::{ContainerStatus, Pod},
};
use candlepower_api::{
    names::containers,
    value::{ByteSize, CpuQuantity},
};

/// A container beside the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::deployment) struct Sidecar {
    pub(in crate::deployment) name: &'static str,
    pub(in crate::deployment) image: String,
    pub(in crate::deployment) pull_policy: PullPolicy,
    pub(in crate::deployment) cpu_request: CpuQuantity,
    pub(in crate::deployment) cpu_limit: Option<CpuQuantity>,
    pub(in crate::deployment) memory_request: ByteSize,
    pub(in crate::deployment) memory_limit: ByteSize,
}

pub(super) fn prometheus(settings: &MonitoringConfig) -> Sidecar {
    Sidecar {
        name: containers::PROMETHEUS,
        image: settings.prometheus_image.clone(),
        pull_policy: settings.sidecar_image_pull_policy,
        cpu_request: settings.prometheus_cpu_request,
        cpu_limit: settings.prometheus_cpu_limit,
        memory_request: settings.prometheus_memory_request,
        memory_limit: settings.prometheus_memory_limit,
    }
}

pub(super) fn jaeger(settings: &MonitoringConfig) -> Sidecar {
    Sidecar {
        name: containers::JAEGER,
        image: settings.jaeger_image.clone(),
        pull_policy: settings.sidecar_image_pull_policy,
        cpu_request: settings.jaeger_cpu_request,
        cpu_limit: settings.jaeger_cpu_limit,
        memory_request: settings.jaeger_memory_request,
        memory_limit: settings.jaeger_memory_limit,
    }
}

impl Sidecar {
    /// Keeps the image that the pods have, so that a new operator restarts no model; but one that
    /// does not arrive on its node gives way to the operator's corrected flag.
    pub(super) fn pinned_by(mut self, observed: &Observed) -> Self {
        let never_arrives = observed
            .pods
            .iter()
            .any(|observed| failing_pull(&observed.pod).is_some_and(|it| *it.name == *self.name));
        let present = observed.deployments.iter().find_map(|deployment| {
            let workload = deployment.workload();
            let mut sidecars = workload.sidecars.iter();
            let (_, image) = sidecars.find(|(name, _)| **name == *self.name)?;
            Some(image.to_string())
        });
        if let Some(image) = present.filter(|_| !never_arrives) {
            self.image = image;
        }
        self
    }
}

/// The states of the pod's sidecars.
pub(in crate::deployment) fn states(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.init_container_statuses.iter()
}

/// A sidecar whose image the node cannot fetch, which keeps the server from starting.
pub(in crate::deployment) fn failing_pull(pod: &Pod) -> Option<&ContainerStatus> {
    states(pod).find(|status| waiting_reason(status).is_some_and(is_pull_failure))
}

/// Why a container waits.
pub(in crate::deployment) fn waiting_reason(status: &ContainerStatus) -> Option<&str> {
    status.state.waiting.as_ref()?.reason.as_deref()
}

/// Whether kubelet says that an image does not arrive.
pub(in crate::deployment) fn is_pull_failure(reason: &str) -> bool {
    matches!(
        reason,
        "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::{pod, settings};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn with_prometheus(image: &str, state: &Value) -> Observed {
        let deployment = json!({"metadata": {}, "spec": {"selector": {}, "template": {"spec": {
            "containers": [], "initContainers": [{"name": "prometheus", "image": image}]
        }}}});
        Observed {
            deployments: vec![Arc::new(serde_json::from_value(deployment).unwrap())],
            pods: vec![pod(json!({"initContainerStatuses": [{
                "name": "prometheus", "image": image, "imageID": "", "ready": false,
                "restartCount": 0, "state": state,
            }]}))],
            ..Observed::default()
        }
    }

    #[test]
    fn a_new_operator_keeps_the_image_of_pods_that_exist() {
        let settings = settings(&["--prometheus-image", "new"]);
        let running = with_prometheus("old", &json!({"running": {}}));
        assert_eq!(prometheus(&settings).pinned_by(&running).image, "old");
        assert_eq!(
            prometheus(&settings).pinned_by(&Observed::default()).image,
            "new"
        );
    }

    #[test]
    fn an_image_that_cannot_be_pulled_gives_way_to_a_corrected_one() {
        let settings = settings(&["--prometheus-image", "new"]);
        let stuck = with_prometheus("typo", &json!({"waiting": {"reason": "ImagePullBackOff"}}));
        assert_eq!(prometheus(&settings).pinned_by(&stuck).image, "new");
    }
}
