//! The children of a benchmark, as pure functions of it.
mod access;
mod job;
mod mailbox;
pub(super) mod names;
pub(super) mod probe;
pub(super) mod trust;
mod volumes;

use crate::{children, config::benchmark::BenchmarkConfig, error::Error};
use candlepower_api::{
    benchmark::{
        LLMBenchmark,
        job::{Answer, Assignment, MachineAnswer},
    },
    deployment::LLMDeployment,
};
use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{ConfigMap, ServiceAccount},
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

/// Everything that the load needs in the cluster; made once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Worker {
    pub(super) account: ServiceAccount,
    pub(super) role: Role,
    pub(super) binding: RoleBinding,
    pub(super) job: Job,
}

/// What makes the load on `target`, where that is a deployment of ours.
pub(super) fn worker(
    resource: &LLMBenchmark,
    target: Option<&LLMDeployment>,
    settings: &BenchmarkConfig,
) -> Worker {
    Worker {
        account: access::account(resource),
        role: access::role(resource),
        binding: access::binding(resource),
        job: job::job(resource, target, settings),
    }
}

/// The ConfigMap in which the job reads what to do, and leaves what came of it.
pub(super) fn report(
    resource: &LLMBenchmark,
    assignment: &Assignment,
    answer: Option<&Answer>,
    machine: Option<&MachineAnswer>,
) -> Result<ConfigMap, Error> {
    mailbox::config_map(resource, assignment, answer, machine)
}

/// Name, owner and labels.
fn metadata(resource: &LLMBenchmark, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: resource.namespace(),
        labels: Some(names::labels(&resource.name_any())),
        owner_references: Some(children::owner_reference(resource).into_iter().collect()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
