//! What is kept of a pod: what statuses are derived from. Kubernetes' own type holds ten times as much, most of it empty.
use super::{Entry, Kept};
use candlepower_api::{names::labels, value::read_json};
use k8s_openapi::{
    api::core::v1::{
        ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, PodCondition,
        PodResourceClaim,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A pod.
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(Deserialize), serde(try_from = "Value"))]
pub(crate) struct Pod {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) uid: Box<str>,
    /// Whether it is being deleted.
    pub(crate) is_ending: bool,
    /// The LLMDeployment that it serves, by its label.
    pub(crate) deployment: Option<Box<str>>,
    /// The LLMBenchmark that it works for, by its label.
    pub(crate) benchmark: Option<Box<str>>,
    /// Which configuration it has.
    pub(crate) config_hash: Option<Box<str>>,
    /// Where it was put.
    pub(crate) node: Option<Box<str>>,
    /// The devices that it claims.
    pub(crate) claims: Box<[PodResourceClaim]>,
    pub(crate) status: PodStatus,
}

/// The part of a pod's status that is read, in Kubernetes' words.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodStatus {
    pub(crate) phase: Option<Box<str>>,
    pub(crate) reason: Option<Box<str>>,
    pub(crate) message: Option<Box<str>>,
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: Option<Box<str>>,
    /// When its node took it.
    pub(crate) start_time: Option<Time>,
    /// Those of the types in `READ`.
    pub(crate) conditions: Box<[PodCondition]>,
    pub(crate) container_statuses: Box<[ContainerStatus]>,
    pub(crate) init_container_statuses: Box<[ContainerStatus]>,
    pub(crate) resource_claim_statuses: Box<[ClaimStatus]>,
}

/// The types of conditions that are read.
const READY: &str = "Ready";
const SCHEDULED: &str = "PodScheduled";
const READ: [&str; 2] = [READY, SCHEDULED];

/// The part of a container's status that is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ContainerStatus {
    pub(crate) name: Box<str>,
    pub(crate) image: Box<str>,
    pub(crate) restart_count: i32,
    pub(crate) state: ContainerState,
    pub(crate) last_state: ContainerState,
}

/// The one that it is in is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ContainerState {
    pub(crate) running: Option<ContainerStateRunning>,
    pub(crate) waiting: Option<Box<ContainerStateWaiting>>,
    pub(crate) terminated: Option<Box<ContainerStateTerminated>>,
}

/// A claim that was made for the pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ClaimStatus {
    pub(crate) name: Box<str>,
}

/// A pod as Kubernetes sends it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Sent {
    metadata: Metadata,
    spec: Spec,
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Box<str>,
    namespace: Box<str>,
    uid: Box<str>,
    deletion_timestamp: Option<Time>,
    labels: BTreeMap<String, Box<str>>,
    annotations: BTreeMap<String, Box<str>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<Box<str>>,
    resource_claims: Box<[PodResourceClaim]>,
}

/// Nothing else is read of the largest part of a pod.
const OF_SPEC: [&str; 2] = ["nodeName", "resourceClaims"];

impl Pod {
    /// Its condition of this type, where there is one.
    fn condition(&self, type_: &str) -> Option<&PodCondition> {
        let mut all = self.status.conditions.iter();
        all.find(|condition| condition.type_ == type_)
    }

    /// Whether its readiness probe passes.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready().is_some()
    }

    fn ready(&self) -> Option<&PodCondition> {
        self.condition(READY).filter(|it| it.status == "True")
    }

    /// Since when its readiness probe passes.
    pub(crate) fn ready_since(&self) -> Option<Timestamp> {
        Some(self.ready()?.last_transition_time.as_ref()?.0)
    }

    /// Whether a node was found for it.
    pub(crate) fn is_scheduled(&self) -> bool {
        let scheduled = self.condition(SCHEDULED);
        scheduled.is_some_and(|it| it.status == "True")
    }

    /// That no node takes it, where that is so.
    pub(crate) fn unscheduled(&self) -> Option<&PodCondition> {
        self.condition(SCHEDULED).filter(|it| it.status == "False")
    }

    /// Since when its node has it.
    pub(crate) fn started(&self) -> Option<Timestamp> {
        self.status.start_time.as_ref().map(|time| time.0)
    }
}

impl Kept for Pod {
    fn of(mut object: Value) -> Result<Self, String> {
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.retain(|field, _| OF_SPEC.contains(&field.as_str()));
        }
        let Sent {
            metadata,
            spec,
            mut status,
        } = read_json(&object)?;
        status.conditions = status
            .conditions
            .into_iter()
            .filter(|condition| READ.contains(&condition.type_.as_str()))
            .collect();
        let (mut labels, mut annotations) = (metadata.labels, metadata.annotations);
        Ok(Self {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            is_ending: metadata.deletion_timestamp.is_some(),
            deployment: labels.remove(labels::LLM_DEPLOYMENT),
            benchmark: labels.remove(labels::LLM_BENCHMARK),
            config_hash: annotations.remove(labels::CONFIG_HASH),
            node: spec.node_name,
            claims: spec.resource_claims,
            status,
        })
    }
}

impl Entry for Pod {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn deployment(&self) -> Option<&str> {
        self.deployment.as_deref()
    }

    fn inherit(&mut self, _: &Self) {}
}

#[cfg(test)]
impl TryFrom<Value> for Pod {
    type Error = String;

    fn try_from(object: Value) -> Result<Self, String> {
        Self::of(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_a_pod_is_kept_what_statuses_are_derived_from() {
        let pod = Pod::of(json!({
            "metadata": {
                "name": "a", "namespace": "team", "uid": "1",
                "labels": {labels::LLM_DEPLOYMENT: "tiny", "pod-template-hash": "x"},
                "annotations": {labels::CONFIG_HASH: "abc", "other": "{}"},
            },
            "spec": {"nodeName": "n", "containers": [{"name": "server"}], "resourceClaims": [{"name": "gpu"}]},
            "status": {
                "phase": "Running", "podIP": "10.0.0.7", "hostIP": "10.0.0.1",
                "startTime": "2026-01-01T12:00:00Z",
                "conditions": [
                    {"type": "Initialized", "status": "True"},
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T12:00:05Z"},
                    {"type": "PodScheduled", "status": "True"},
                ],
                "containerStatuses": [{
                    "name": "server", "image": "i", "imageID": "sha256:1", "containerID": "c",
                    "ready": true, "restartCount": 1, "state": {"running": {}},
                }],
            },
        }))
        .unwrap();
        assert_eq!((pod.namespace(), pod.name(), &*pod.uid), ("team", "a", "1"));
        assert_eq!(pod.deployment(), Some("tiny"));
        assert_eq!(pod.config_hash.as_deref(), Some("abc"));
        assert_eq!(pod.node.as_deref(), Some("n"));
        assert_eq!(pod.claims[0].name, "gpu");
        assert_eq!(pod.status.pod_ip.as_deref(), Some("10.0.0.7"));
        assert_eq!(pod.status.conditions.len(), 2);
        assert!(
            pod.is_ready() && pod.is_scheduled() && pod.unscheduled().is_none() && !pod.is_ending
        );
        let seconds = |time: Option<Timestamp>| time.unwrap().as_second() % 60;
        assert_eq!((seconds(pod.started()), seconds(pod.ready_since())), (0, 5));
        let server = &pod.status.container_statuses[0];
        assert_eq!((&*server.name, server.restart_count), ("server", 1));
        assert!(server.state.running.is_some());
    }

    #[test]
    fn a_new_pod_says_nothing_yet_and_one_without_a_pods_form_is_refused() {
        let pod = Pod::of(
            json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T12:00:00Z"}}),
        )
        .unwrap();
        assert!(pod.is_ending && !pod.is_ready() && pod.status.phase.is_none());
        let error = Pod::of(json!({"metadata": {"name": 7}})).unwrap_err();
        assert!(error.contains("invalid type"), "{error}");
    }
}
