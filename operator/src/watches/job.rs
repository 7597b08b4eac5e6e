//! What is read of a job: whose it is, and how it ended.
use k8s_openapi::{api::batch::v1::JobCondition, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use serde::Deserialize;

/// A job.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = "k8s_openapi::api::batch::v1::Job")]
pub(crate) struct Job {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) status: JobStatus,
}

/// The part of a job's status that is read.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct JobStatus {
    #[serde(default)]
    pub(crate) conditions: Vec<JobCondition>,
}
