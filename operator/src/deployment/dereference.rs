//! Everything that a reconcile reads: caches first, then the pods' own reports.
use super::{
    asking::Known,
    context::Context,
    devices::Serving as ServingDevices,
    error::Error,
    figures::Reading,
    fits::Fit,
    monitoring::{Choice, Serving, prometheus::Finding},
    status::{is_settled, observability},
};
use crate::{children::Cached, start_failure, watches::Pod};
use candlepower_api::{
    deployment::{LLMDeployment, LLMDeploymentStatus},
    server_config::LoadReport,
};
use futures::future::join_all;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::sync::Arc;

/// What the cluster looks like now.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Whether nobody has looked at the resource before.
    pub(super) is_new: bool,
    /// The status that was written last.
    pub(super) previous: LLMDeploymentStatus,
    pub(super) config_maps: Vec<Arc<Cached>>,
    pub(super) services: Vec<Arc<Cached>>,
    /// The volumes of what was fetched.
    pub(super) claims: Vec<Arc<Cached>>,
    pub(super) deployments: Vec<Arc<Cached>>,
    pub(super) network_policies: Vec<Arc<Cached>>,
    pub(super) disruption_budgets: Vec<Arc<Cached>>,
    /// Pods that are not being deleted.
    pub(super) pods: Vec<ObservedPod>,
    pub(super) pod_monitors: Vec<Arc<Cached>>,
    pub(super) prometheus_rules: Vec<Arc<Cached>>,
    /// Whether the API server serves the device claims that the resource has.
    pub(super) device_claims: ServingDevices,
    /// How metrics and traces are to be collected.
    pub(super) choice: Choice,
    /// What Prometheus says, where there is one to ask.
    pub(super) verified: Known<Finding>,
    /// What the pods' metrics say; `None` before they were asked.
    pub(super) reading: Option<Reading>,
    /// Whether the model will fit.
    pub(super) fit: Fit,
}

/// A pod, and what cannot be seen in it.
#[derive(Debug, Default)]
pub(super) struct ObservedPod {
    pub(super) pod: Arc<Pod>,
    /// What its server says about loading.
    pub(super) report: Option<LoadReport>,
    /// Why its node cannot start it: kubelet tells only by events.
    pub(super) start_failure: Option<String>,
}

/// Prometheus finds and scrapes a new pod within this time: before, it is not missed.
const USUAL_DISCOVERY: SignedDuration = SignedDuration::from_secs(120);

/// Reads what the reconcile of `resource` needs.
pub(super) async fn dereference(
    resource: &LLMDeployment,
    context: &Context,
) -> Result<Observed, Error> {
    context.caches.filled().await?;
    context.monitoring.known().await?;
    let namespace = resource.namespace().ok_or(Error::Incomplete("namespace"))?;
    let uid = resource.uid().ok_or(Error::Incomplete("uid"))?;
    let name = resource.name_any();
    let cached = resource.status.clone().unwrap_or_default();
    let previous = context.written.newest(&uid, cached);

    let settled = is_settled(resource, &previous);
    let pods = context
        .caches
        .pods
        .of_deployment(&namespace, &name)
        .into_iter()
        .filter(|pod| !pod.is_ending)
        .map(|pod| observe(pod, settled, context, context.told(&namespace, &name)));
    let pods = join_all(pods).await;
    let device_claims = context.devices.serving(resource, &context.client).await;
    let choice = context.monitoring.choose(resource);
    let serving = serving(&pods, Timestamp::now());
    let late = context.told(&namespace, &name);
    let is_told = observability::is_told(&previous);
    let asked = context.monitoring.verify(
        resource,
        &context.resources,
        &choice,
        serving,
        is_told,
        late,
    );
    Ok(Observed {
        is_new: context.is_new(resource),
        verified: asked.await.unwrap_or_default(),
        choice,
        device_claims,
        reading: context.figures.of(&namespace, &name),
        fit: Fit::NotAsked,
        pod_monitors: context.caches.pod_monitors.of_deployment(&namespace, &name),
        prometheus_rules: context
            .caches
            .prometheus_rules
            .of_deployment(&namespace, &name),
        pods,
        config_maps: [&context.caches.config_maps, &context.caches.dashboards]
            .into_iter()
            .flat_map(|cache| cache.of_deployment(&namespace, &name))
            .collect(),
        services: context.caches.services.of_deployment(&namespace, &name),
        claims: context.caches.claims.of_deployment(&namespace, &name),
        deployments: context.caches.deployments.of_deployment(&namespace, &name),
        network_policies: context
            .caches
            .network_policies
            .of_deployment(&namespace, &name),
        disruption_budgets: context
            .caches
            .disruption_budgets
            .of_deployment(&namespace, &name),
        previous,
    })
}

async fn observe(
    pod: Arc<Pod>,
    settled: bool,
    context: &Context,
    late: impl Fn() + Send + 'static,
) -> ObservedPod {
    let report = match running_address(&pod) {
        // An idle system asks nobody anything.
        Some(address) if !(settled && pod.is_ready()) => {
            context.reports.of(&pod.uid, address, late).await
        }
        _ => None,
    };
    let start_failure = start_failure::of(&context.client, &pod).await;
    ObservedPod {
        pod,
        report,
        start_failure,
    }
}

/// The pod's address, once its container runs.
fn running_address(pod: &Pod) -> Option<&str> {
    let mut containers = pod.status.container_statuses.iter();
    let running = containers.any(|container| container.state.running.is_some());
    running.then_some(pod.status.pod_ip.as_deref()).flatten()
}

/// The pods that serve at the time `now`.
fn serving(pods: &[ObservedPod], now: Timestamp) -> Serving {
    let has_settled = |pod: &&ObservedPod| {
        let since = pod.pod.ready_since();
        since.is_some_and(|since| now.duration_since(since) > USUAL_DISCOVERY)
    };
    Serving {
        addresses: pods
            .iter()
            .filter(|observed| observed.pod.is_ready())
            .filter_map(|observed| Some(observed.pod.status.pod_ip.as_deref()?.to_owned()))
            .collect(),
        settled: pods.iter().filter(has_settled).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::{now, pod};
    use serde_json::json;

    fn ready_since(time: &str) -> ObservedPod {
        pod(json!({"podIP": "10.0.0.7", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": time},
        ]}))
    }

    #[test]
    fn a_pod_that_has_just_begun_to_serve_is_asked_for_but_not_missed() {
        let unready = pod(json!({"podIP": "10.0.0.8", "conditions": [
            {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T10:00:00Z"},
        ]}));
        let pods = [
            ready_since("2026-01-01T11:00:00Z"),
            ready_since("2026-01-01T11:59:30Z"),
            unready,
        ];
        let serving = serving(&pods, now());
        assert_eq!(serving.addresses, ["10.0.0.7", "10.0.0.7"]);
        assert_eq!(serving.settled, 1);
    }
}
