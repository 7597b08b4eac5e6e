//! How metrics and traces of a resource are collected.
//!
//! - [`kinds`]: prometheus-operator's resources, as far as they are written here;
//! - [`served`]: which of them the cluster serves;
//! - [`choice`]: what is collected how, as a pure function;
//! - [`sidecar`]: Prometheus and Jaeger beside a model;
//! - [`prometheus`]: asks Prometheus whether it really scrapes.
pub(super) mod choice;
pub(super) mod kinds;
pub(super) mod prometheus;
pub(super) mod served;
pub(super) mod sidecar;

pub(super) use choice::Choice;
pub(super) use sidecar::Sidecar;

use super::{Guarded, asking::Known, dereference::Observed, error::Error};
use crate::{
    config::monitoring::MonitoringConfig,
    observability::{Subject, rules},
};
use candlepower_api::{
    deployment::{LLMDeployment, MetricsMode},
    names::labels,
};
use kube::{
    ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use served::Served;
use std::sync::Arc;
use tokio::sync::watch;

/// What all reconciles know about monitoring.
pub(super) struct Monitoring {
    pub(super) settings: Arc<MonitoringConfig>,
    pub(super) served: watch::Receiver<Option<Served>>,
    pub(super) verifier: prometheus::Verifier,
}

/// What is collected how, and with what; children are built from it.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) choice: Choice,
    pub(super) settings: &'a MonitoringConfig,
    pub(super) prometheus: Sidecar,
    pub(super) jaeger: Sidecar,
}

/// The pods that serve.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) addresses: Vec<String>,
    /// How many of them have served for so long that Prometheus must have found them.
    pub(super) settled: usize,
}

impl Monitoring {
    /// What is to be done for the resource that was `observed`.
    pub(super) fn plan(&self, observed: &Observed) -> Plan<'_> {
        Plan::new(observed.choice.clone(), &self.settings, observed)
    }

    /// Waits until it is known what the cluster serves.
    pub(super) async fn known(&self) -> Result<(), Error> {
        let mut served = self.served.clone();
        let result = served.wait_for(Option::is_some).await;
        result.map(|_| ()).map_err(|_| Error::Stopping)
    }

    /// What is chosen for `resource` now.
    pub(super) fn choose(&self, resource: &LLMDeployment) -> Choice {
        let served = (*self.served.borrow()).unwrap_or_default();
        choice::choose(&resource.spec.observability, served, &self.settings)
    }

    /// Asks whatever Prometheus is in charge, if it is time to. An answer that comes later calls `late`, unless it is the
    /// first one and `is_told`.
    pub(super) async fn verify(
        &self,
        resource: &LLMDeployment,
        resources: &Store<Guarded>,
        choice: &Choice,
        serving: Serving,
        is_told: impl Fn(&prometheus::Finding) -> bool + Send + 'static,
        late: impl Fn() + Send + 'static,
    ) -> Option<Known<prometheus::Finding>> {
        let namespace = resource.namespace()?;
        let name = resource.name_any();
        let addresses = match choice.metrics {
            _ if serving.addresses.is_empty() => return None,
            MetricsMode::Sidecar => serving
                .addresses
                .iter()
                .filter_map(|ip| prometheus::address(ip))
                .collect(),
            MetricsMode::PodMonitor if choice.served.pod_monitor => {
                vec![self.settings.prometheus_url.clone()?]
            }
            MetricsMode::PodMonitor | MetricsMode::Auto | MetricsMode::None => return None,
        };
        let question = prometheus::Question {
            addresses,
            namespace,
            name,
            generation: resource.metadata.generation,
            expected: serving.settled,
            is_sidecar: choice.metrics == MetricsMode::Sidecar,
        };
        let (resources, settings) = (resources.clone(), self.settings.clone());
        let groups = move |question: &prometheus::Question| {
            groups_of(question, &resources, &settings.runbooks_url)
        };
        Some(
            self.verifier
                .finding(&resource.uid()?, question, groups, is_told, late)
                .await,
        )
    }
}

/// The groups with alerts of the resource that is asked about, as `resources` has it now: a silent Prometheus is asked for
/// long, and a copy of its own would be most of what that costs.
fn groups_of(
    question: &prometheus::Question,
    resources: &Store<Guarded>,
    runbooks_url: &str,
) -> Vec<String> {
    let reference = ObjectRef::new(&question.name).within(&question.namespace);
    let resource = resources.get(&reference);
    let resource = resource.as_ref().and_then(|it| it.0.as_ref().ok());
    // A benchmark's temporary copy has none.
    let resource = resource.filter(|it| !it.labels().contains_key(labels::LLM_BENCHMARK));
    resource.map_or_else(Vec::new, |resource| {
        let subject = Subject {
            namespace: &question.namespace,
            name: &question.name,
            spec: &resource.spec,
        };
        rules::groups_with_alerts(&subject, runbooks_url)
    })
}

impl<'a> Plan<'a> {
    pub(super) fn new(choice: Choice, settings: &'a MonitoringConfig, observed: &Observed) -> Self {
        Self {
            choice,
            settings,
            prometheus: sidecar::prometheus(settings).pinned_by(observed),
            jaeger: sidecar::jaeger(settings).pinned_by(observed),
        }
    }
}
