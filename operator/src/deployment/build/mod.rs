//! The children of a resource, as pure functions of it.
mod cache;
mod collectors;
mod config_map;
mod dashboards;
mod deployment;
mod disruption_budget;
mod environment;
pub(super) mod labels;
mod network_policy;
mod pod;
mod pod_monitor;
mod resources;
mod service;
mod sidecars;
mod tls;

pub(super) use pod::{API_KEYS_VOLUME, CONTAINER};
pub(crate) use resources::GPU;
pub(super) use tls::TLS_VOLUME;

use super::{
    error::Error,
    monitoring::{
        Plan,
        kinds::{PodMonitor, PrometheusRule},
    },
    validate::Valid,
};
use crate::observability::Subject;
use candlepower_api::{deployment::Access, names::ports};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PersistentVolumeClaim, Service},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// What stands behind the resource's name in the name of its cache.
const CACHE: &str = "cache";

/// Everything that a resource needs in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Children {
    pub(super) config_map: ConfigMap,
    /// The volume of what was fetched.
    pub(super) cache: Option<PersistentVolumeClaim>,
    pub(super) dashboards: Option<ConfigMap>,
    pub(super) network_policy: Option<NetworkPolicy>,
    pub(super) service: Service,
    pub(super) deployment: Deployment,
    pub(super) disruption_budget: Option<PodDisruptionBudget>,
    pub(super) pod_monitor: Option<PodMonitor>,
    pub(super) prometheus_rule: Option<PrometheusRule>,
    /// Which configuration the pods are to run with.
    pub(super) config_hash: String,
}

/// Builds the children of `valid`.
pub(super) fn children(valid: &Valid<'_>, plan: &Plan<'_>) -> Result<Children, Error> {
    let config = config_map::to_yaml(&config_map::server_config(valid, &plan.choice))?;
    let config_hash = config_map::hash(&config);
    Ok(Children {
        network_policy: network_policy::network_policy(valid, plan),
        cache: cache::claim(valid),
        service: service::service(valid, &plan.choice),
        deployment: deployment::deployment(valid, plan, &config_hash),
        disruption_budget: disruption_budget::disruption_budget(valid),
        dashboards: dashboards::config_map(valid, plan),
        pod_monitor: pod_monitor::pod_monitor(valid, plan),
        prometheus_rule: pod_monitor::prometheus_rule(valid, plan),
        config_map: config_map::config_map(valid, config, collectors::files(valid, plan)?),
        config_hash,
    })
}

/// Where requests go inside the cluster.
pub(super) fn url(name: &str, namespace: &str, access: &Access) -> String {
    let (scheme, port) = match access.tls {
        None => ("http", ports::SERVER_HTTP),
        Some(_) => ("https", ports::SERVER_HTTPS),
    };
    format!("{scheme}://{name}.{namespace}.svc:{port}")
}

/// What rules and dashboards are about.
fn subject<'a>(valid: &'a Valid<'_>) -> Subject<'a> {
    Subject {
        namespace: &valid.namespace,
        name: &valid.name,
        spec: valid.spec,
    }
}

/// The same for a further child of the same kind.
fn metadata_of(valid: &Valid<'_>, part: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(format!("{}-{part}", valid.name)),
        ..metadata(valid)
    }
}

/// Name, owner and labels, which all children have in common.
fn metadata(valid: &Valid<'_>) -> ObjectMeta {
    ObjectMeta {
        name: Some(valid.name.clone()),
        namespace: Some(valid.namespace.clone()),
        labels: Some(labels::all(&valid.name)),
        owner_references: Some(vec![valid.owner.clone()]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
