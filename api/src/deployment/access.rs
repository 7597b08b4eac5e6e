//! `spec.access`: who may send requests.
use super::model::SecretReference;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may send requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Access {
    /// Require an API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeys>,
    /// Who may open connections to the pods.
    pub network_policy: NetworkPolicyAccess,
}

/// Require an API key.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeys {
    /// A Secret whose every value is a key.
    pub secret_ref: SecretReference,
}

/// Who may open connections to the pods.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicyAccess {
    /// Create a NetworkPolicy.
    pub enabled: bool,
    /// Peers that may send requests; empty: every pod of the cluster.
    #[schemars(length(max = 64))]
    pub from: Vec<NetworkPolicyPeer>,
}

impl Default for NetworkPolicyAccess {
    fn default() -> Self {
        Self {
            enabled: true,
            from: Vec::new(),
        }
    }
}
