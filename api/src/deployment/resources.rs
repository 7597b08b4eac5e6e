//! `spec.resources` and `spec.cache`: what each pod gets.
use crate::value::{ByteSize, CpuQuantity};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// GPUs, CPU and memory of each pod.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!has(self.requests) || !has(self.requests.cpu) || !isQuantity(string(self.requests.cpu)) || !isQuantity(string(self.cpu)) || !quantity(string(self.requests.cpu)).isGreaterThan(quantity(string(self.cpu)))").message("resources.requests.cpu: write at most resources.cpu, which is the limit"))]
#[x_kube(validation = Rule::new("!has(self.requests) || !has(self.requests.memory) || !isQuantity(string(self.requests.memory)) || !isQuantity(string(self.memory)) || !quantity(string(self.requests.memory)).isGreaterThan(quantity(string(self.memory)))").message("resources.requests.memory: write at most resources.memory, which is the limit"))]
#[x_kube(validation = Rule::new("!has(self.claims) || self.claims.size() == 0 || !has(self.gpus) || self.gpus == 0").message("resources: write either gpus, which NVIDIA's device plugin gives, or claims, which DRA drivers give, not both: with claims, remove gpus"))]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Number of GPUs; 0 runs the CPU image.
    #[serde(default)]
    #[schemars(range(min = 0, max = 16))]
    pub gpus: i32,
    /// GPUs by dynamic resource allocation (DRA), in place of `gpus`: each claim names devices as
    /// the cluster's administrators describe them. Runs the CUDA image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub claims: Vec<DeviceClaim>,
    /// CPU limit; the server's threads come from it.
    #[serde(default = "two_cores")]
    pub cpu: CpuQuantity,
    /// Memory limit; a model that does not fit is refused before it is loaded.
    #[serde(default = "four_gibibytes")]
    pub memory: ByteSize,
    /// What the scheduler sets aside, where that is less than the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ComputeRequests>,
}

impl Resources {
    /// What the model runs on.
    pub const fn device(&self) -> Device {
        if self.gpus > 0 || !self.claims.is_empty() {
            Device::Cuda
        } else {
            Device::Cpu
        }
    }
}

/// Devices that each pod claims, by Kubernetes' own names (`resource.k8s.io`).
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.resourceClaimTemplateName) != has(self.resourceClaimName)").message("resources.claims: write either resourceClaimTemplateName, for devices of each pod's own, or resourceClaimName, for a ResourceClaim that all pods share"))]
#[serde(rename_all = "camelCase")]
pub struct DeviceClaim {
    /// What the claim is called within the pod.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("resources.claims.name: write lower-case letters, digits and '-', such as gpu"))]
    pub name: String,
    /// A ResourceClaimTemplate in the same namespace, from which each pod gets a claim of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub resource_claim_template_name: Option<String>,
    /// A ResourceClaim in the same namespace, which all pods share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub resource_claim_name: Option<String>,
    /// The one of the claim's requests that the server is to get; default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 127))]
    pub request: Option<String>,
}

/// What a model runs on; the server has an image for each.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// NVIDIA's GPUs.
    Cuda,
}

impl Device {
    /// Whether it is the processor.
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands a reference over"
    )]
    pub(super) const fn is_cpu(&self) -> bool {
        matches!(self, Self::Cpu)
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            gpus: 0,
            claims: Vec::new(),
            cpu: two_cores(),
            memory: four_gibibytes(),
            requests: None,
        }
    }
}

const fn two_cores() -> CpuQuantity {
    CpuQuantity::from_millicores(2000)
}

const fn four_gibibytes() -> ByteSize {
    ByteSize::gibibytes(4)
}

/// What the scheduler sets aside for a pod.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComputeRequests {
    /// CPU request; default: the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuQuantity>,
    /// Memory request; default: the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
}

/// A volume for fetched models, shared by all replicas. Without one, each pod fetches for itself.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.existingClaim) != has(self.size)").message("cache: write either size, for a new volume, or existingClaim, for one of yours"))]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// Size of the volume to create.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteSize>,
    /// Storage class of the volume to create; default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// Who may use the volume at once. With `ReadWriteOnce`, pods of one node only, and a pod is
    /// replaced before its successor comes; write `ReadWriteMany` where the volume can do that.
    #[serde(default)]
    pub access_mode: CacheAccessMode,
    /// A PersistentVolumeClaim of yours to use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub existing_claim: Option<String>,
}

/// Who may use a volume at once.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum CacheAccessMode {
    /// Pods of one node.
    #[default]
    ReadWriteOnce,
    /// Pods of all nodes.
    ReadWriteMany,
}

impl CacheAccessMode {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadWriteMany => "ReadWriteMany",
        }
    }
}
