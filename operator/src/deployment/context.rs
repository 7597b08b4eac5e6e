//! What every reconcile of one controller shares.
use super::{
    Guarded, caches::Caches, compared::Compared, figures::Figures, monitoring::Monitoring,
    pace::Pace, reports::Reports,
};
use crate::{config::PullPolicy, metrics::ControllerMetrics, written::WrittenStatuses};
use candlepower_api::deployment::LLMDeploymentStatus;
use futures::channel::mpsc::UnboundedSender;
use kube::{
    Client,
    runtime::{events::Recorder, reflector::ObjectRef},
};
use std::sync::Arc;

/// What every reconcile of one controller shares.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) caches: Caches,
    pub(super) recorder: Recorder,
    pub(super) metrics: ControllerMetrics,
    pub(super) compared: Compared,
    pub(super) pace: Pace,
    pub(super) reports: Reports,
    pub(super) server: ServerDefaults,
    pub(super) written: WrittenStatuses<LLMDeploymentStatus>,
    pub(super) monitoring: Arc<Monitoring>,
    pub(super) figures: Arc<Figures>,
    /// Takes the resources that are to be reconciled.
    pub(super) tell: UnboundedSender<ObjectRef<Guarded>>,
}

impl Context {
    /// Starts another reconcile of a resource when it is called, such as once an answer has come.
    pub(super) fn told(&self, namespace: &str, name: &str) -> impl FnOnce() + Send + use<> {
        let tell = self.tell.clone();
        let resource = ObjectRef::new(name).within(namespace);
        move || {
            // Nobody listens once the controller has stopped.
            let _ = tell.unbounded_send(resource);
        }
    }
}

/// The server that new resources get.
#[derive(Clone, Debug)]
pub(super) struct ServerDefaults {
    pub(super) image: String,
    pub(super) pull_policy: PullPolicy,
}
