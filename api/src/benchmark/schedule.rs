//! `spec.concurrencyPolicy` and `spec.records`: when a benchmark may run, and what it leaves behind.
use crate::deployment::Credentials;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether several benchmarks of one target may run at the same time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// It waits until the others have ended, so that no run measures another one's load.
    #[default]
    Queue,
    /// It runs at once.
    Allow,
}

/// Where the records of all requests are kept.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.existingClaim) || has(self.s3)").message("records: name an existingClaim, an s3 bucket, or both"))]
#[serde(rename_all = "camelCase")]
pub struct Records {
    /// A PersistentVolumeClaim of yours; each run gets a folder of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub existing_claim: Option<String>,
    /// A bucket of Amazon S3, or of any server that speaks its protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Records>,
}

/// A bucket for records.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct S3Records {
    /// Its name.
    #[schemars(length(min = 3, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][a-z0-9.-]*[a-z0-9]$')").message("records.s3.bucket: write the bucket's name alone, such as my-benchmarks"))]
    pub bucket: String,
    /// What the names of the objects begin with, such as `team-a/`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^([A-Za-z0-9_=-][A-Za-z0-9_.=-]*/)*$')").message("records.s3.prefix: write folders that end with '/', such as team-a/ or team-a/nightly/"))]
    pub prefix: String,
    /// The server's address; Amazon's of the region where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/?#@]+/?$')").message("records.s3.endpoint: write the address without the bucket, such as https://minio.storage:9000"))]
    pub endpoint: Option<String>,
    /// The bucket's region.
    #[serde(default = "us_east_1")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')").message("records.s3.region: write a region such as eu-central-1"))]
    pub region: String,
    /// The Secret with the keys `accessKeyId` and `secretAccessKey`, and `sessionToken` where there is
    /// one.
    pub credentials: Credentials,
}

fn us_east_1() -> String {
    "us-east-1".to_owned()
}
