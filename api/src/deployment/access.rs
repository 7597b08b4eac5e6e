//! `spec.access`: who may send requests.
use super::model::SecretReference;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may send requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Access {
    /// Require an API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeys>,
    /// Answer requests by HTTPS alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who may open connections to the pods.
    pub network_policy: NetworkPolicyAccess,
}

/// Require an API key: requests need the header `Authorization: Bearer KEY`, but probes and metrics do not.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeys {
    /// A Secret whose every value is a key. Changes of it reach the pods by themselves, within about a minute.
    pub secret_ref: SecretReference,
    /// How many requests each key may send to each pod in a minute; without it there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<i32>,
}

/// Answer requests by HTTPS alone, on port 8443. On port 8080 there are probes and metrics, in the clear.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("self.secretRef.name.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("access.tls.secretRef.name: write the name of a Secret, of lower-case letters, digits, '-' and '.'; certificate and key go into it: kubectl create secret tls NAME --cert=FILE --key=FILE"))]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// A Secret of the type `kubernetes.io/tls`: `tls.crt` with the certificate and those between it and its
    /// authority, `tls.key` with its private key, and perhaps `ca.crt`. The certificate should be for
    /// `NAME.NAMESPACE.svc`, with the name of this resource. Another one reaches the pods by itself, within about a
    /// minute.
    pub secret_ref: SecretReference,
}

/// Who may open connections to the pods.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicyAccess {
    /// Create a NetworkPolicy.
    pub enabled: bool,
    /// Peers that may send requests; empty: every pod of the cluster. The operator, the namespaces that it was told
    /// to be those of the monitoring, and benchmarks in the same namespace may in any case. With `tls`, they alone
    /// may on the port that has metrics.
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
