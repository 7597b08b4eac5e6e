//! What every reconcile of one controller shares.
use super::{
    Guarded, backlog::Backlog, begun::Begun, caches::Caches, compared::Compared,
    devices::DeviceClaims, figures::Figures, fits::Estimates, monitoring::Monitoring, pace::Pace,
    reports::Reports,
};
use crate::{
    config::PullPolicy, events::Publisher, metrics::ControllerMetrics, written::WrittenStatuses,
};
use candlepower_api::deployment::{LLMDeployment, LLMDeploymentStatus};
use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Client,
    runtime::reflector::{ObjectRef, Store},
};
use std::sync::Arc;

/// What every reconcile of one controller shares.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) resources: Store<Guarded>,
    pub(super) caches: Caches,
    pub(super) publisher: Arc<Publisher>,
    pub(super) metrics: ControllerMetrics,
    pub(super) backlog: Backlog,
    pub(super) begun: Begun,
    pub(super) compared: Compared,
    pub(super) devices: DeviceClaims,
    pub(super) pace: Pace,
    pub(super) reports: Reports,
    pub(super) estimates: Arc<Estimates>,
    pub(super) server: ServerDefaults,
    pub(super) written: Arc<WrittenStatuses<LLMDeploymentStatus>>,
    pub(super) monitoring: Arc<Monitoring>,
    pub(super) figures: Arc<Figures>,
    /// Takes the resources that are to be reconciled.
    pub(super) tell: UnboundedSender<ObjectRef<Guarded>>,
}

/// A resource without a status is a new one for so long; after that it is one that has some trouble.
const NEW: SignedDuration = SignedDuration::from_secs(60);

impl Context {
    /// Whether the resource has neither a status nor children yet, as far as is known.
    pub(super) fn is_new(&self, resource: &LLMDeployment) -> bool {
        let ObjectMeta {
            uid, generation, ..
        } = &resource.metadata;
        let has_begun = |uid: &String| self.begun.holds(uid, *generation);
        resource.status.is_none() && !uid.as_ref().is_some_and(has_begun)
    }

    /// Whether others than the resource with this uid wait that nobody has looked at yet. Their pods come before
    /// everything that can wait, such as the word that another resource's pod has a node.
    pub(super) fn has_backlog(&self, uid: &str) -> bool {
        let now = Timestamp::now();
        let waits = |resource: &LLMDeployment| {
            let created = resource.metadata.creation_timestamp.as_ref();
            resource.metadata.deletion_timestamp.is_none()
                && created.is_some_and(|created| now.duration_since(created.0) < NEW)
                && self.is_new(resource)
        };
        self.backlog.has_others(uid, || {
            let resources = self.resources.state().into_iter();
            resources.filter_map(|it| {
                let resource = it.0.as_ref().ok().filter(|it| waits(it))?;
                resource.metadata.uid.clone()
            })
        })
    }

    /// Starts another reconcile of a resource when it is called, such as once an answer has come.
    pub(super) fn told(&self, namespace: &str, name: &str) -> impl Fn() + Send + use<> {
        let tell = self.tell.clone();
        let resource = ObjectRef::new(name).within(namespace);
        move || {
            // Nobody listens once the controller has stopped.
            let _ = tell.unbounded_send(resource.clone());
        }
    }
}

/// The server that new resources get.
#[derive(Clone, Debug)]
pub(super) struct ServerDefaults {
    pub(super) image: String,
    /// The same for pods with GPUs, where there is one.
    pub(super) cuda_image: Option<String>,
    pub(super) pull_policy: PullPolicy,
}
