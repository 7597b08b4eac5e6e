//! Alert rules and dashboards of one resource, as pure functions of it.
//!
//! - [`queries`]: the PromQL that both are made of;
//! - [`rules`]: recording and alerting rules;
//! - [`dashboards`]: Grafana dashboards.
pub mod dashboards;
pub mod queries;
pub mod rules;

use candlepower_api::deployment::LLMDeploymentSpec;

/// The resource that rules and dashboards are about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What it asks for.
    pub spec: &'a LLMDeploymentSpec,
}
