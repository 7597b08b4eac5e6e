//! What every reconcile of one controller shares.
use super::{caches::Caches, figures::Figures, monitoring::Monitoring, probe};
use crate::{config::PullPolicy, metrics::ControllerMetrics, written::WrittenStatuses};
use candlepower_api::deployment::LLMDeploymentStatus;
use kube::{Client, runtime::events::Recorder};
use std::sync::Arc;

/// What every reconcile of one controller shares.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) caches: Caches,
    pub(super) recorder: Recorder,
    pub(super) metrics: ControllerMetrics,
    pub(super) probe: probe::Client,
    pub(super) server: ServerDefaults,
    pub(super) written: WrittenStatuses<LLMDeploymentStatus>,
    pub(super) monitoring: Arc<Monitoring>,
    pub(super) figures: Arc<Figures>,
}

/// The server that new resources get.
#[derive(Clone, Debug)]
pub(super) struct ServerDefaults {
    pub(super) image: String,
    /// The same for pods with GPUs, where there is one.
    pub(super) cuda_image: Option<String>,
    pub(super) pull_policy: PullPolicy,
}
