//! What Kubernetes knows of the machine that a target runs on.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A node, as its object describes it; what that does not say is absent.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// The node's name.
    pub name: String,
    /// Its operating system, such as `Debian GNU/Linux 12 (bookworm)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_image: Option<String>,
    /// Its kernel, such as `6.1.0-18-amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_version: Option<String>,
    /// Its processors' architecture as Go names it, such as `amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// What runs its containers, such as `containerd://2.1.4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_runtime: Option<String>,
    /// All that it has of CPU, in thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millicores: Option<u32>,
    /// All that it has of memory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// NVIDIA's GPUs that it offers to pods; 0 where no device plugin offers any.
    #[serde(default)]
    pub gpus: u32,
    /// What they are, by the label that GPU feature discovery sets, such as `NVIDIA-L4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_product: Option<String>,
}
