//! `spec.target`: what to load.
use crate::{
    deployment::{Credentials, SecretReference},
    names::paths,
};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to load: a deployment of ours, or any OpenAI-compatible server.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.deployment) != has(self.url)").message("target: write either deployment, for an LLMDeployment, or url, for another OpenAI-compatible server"))]
#[x_kube(validation = Rule::new("!has(self.url) || has(self.model)").message("target: a url needs the name of the model that requests ask for"))]
#[x_kube(validation = Rule::new("!has(self.model) || has(self.url)").message("target.model: write it together with url, or leave it out: which model a deployment serves, the operator knows"))]
#[x_kube(validation = Rule::new("!has(self.metrics) || has(self.url)").message("target.metrics: write it together with url, or leave it out: where the metrics of a deployment are, the operator knows"))]
#[x_kube(validation = Rule::new("!has(self.ca) || (has(self.url) && self.url.startsWith('https://'))").message("target.ca: write it together with an https:// address in url; the certificate of a deployment is trusted by itself"))]
#[x_kube(validation = Rule::new("!has(self.jaegerUrl) || has(self.url)").message("target.jaegerUrl: write it together with url, or leave it out: where the traces of a deployment go, the operator knows"))]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The name of an `LLMDeployment` in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub deployment: Option<String>,
    /// The address of another server, without `/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/]+')").message("target.url: write an http:// or https:// address, such as http://vllm.models:8000"))]
    pub url: Option<String>,
    /// The model's name in requests to `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
    /// The Secret with the API key for the target, under the key `apiKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Credentials>,
    /// What the certificate of an `https://` server at `url` is checked by, in place of the image's own authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CertificateAuthority>,
    /// Where `url`'s metrics are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsSource>,
    /// The Jaeger that `url`'s spans go to: the address of its query API, version 3. The traces of requests are fetched
    /// there by their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/?#@]+/?$')").message("target.jaegerUrl: write the address of Jaeger's query API without a path, such as http://jaeger.tracing:16686"))]
    pub jaeger_url: Option<String>,
}

impl Target {
    /// What tells one target from another in a namespace, and what people read in a table.
    pub fn display(&self) -> &str {
        let url = self.url.as_deref().unwrap_or_default();
        self.deployment.as_deref().unwrap_or(url)
    }
}

/// Certificates in PEM form: an authority's, several authorities', or the server's own.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.configMapRef)").message("target.ca: write either secretRef or configMapRef, with the name of what holds the certificates"))]
#[serde(rename_all = "camelCase")]
pub struct CertificateAuthority {
    /// The Secret that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// The ConfigMap that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapReference>,
    /// The key that they are under.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("target.ca.key: write a key of the Secret or ConfigMap, such as ca.crt"))]
    pub key: String,
}

fn ca_crt() -> String {
    paths::TLS_AUTHORITY.to_owned()
}

/// A ConfigMap in the resource's own namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Where another server's metrics are.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsSource {
    /// The address of the metrics page.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/]+')").message("target.metrics.url: write the address of the page, such as http://vllm.models:8000/metrics"))]
    pub url: String,
    /// Whose metric names it uses.
    #[serde(default)]
    pub dialect: MetricsDialect,
    /// The address of the page of NVIDIA's dcgm-exporter on the node of `url`'s GPUs, such as
    /// `http://10.0.0.7:9400/metrics`: other servers than ours export nothing of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/]+')").message("target.metrics.gpuUrl: write the address of the page, such as http://10.0.0.7:9400/metrics"))]
    pub gpu_url: Option<String>,
}

/// A family of metric names.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricsDialect {
    /// Ours.
    #[default]
    Candlepower,
    /// vLLM's.
    Vllm,
    /// llama-server's.
    Llamacpp,
}
