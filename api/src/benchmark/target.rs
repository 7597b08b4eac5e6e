//! `spec.target`: what to load.
use crate::deployment::Credentials;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to load: a deployment of ours, or any OpenAI-compatible server.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.deployment) != has(self.url)").message("target: write either deployment, for an LLMDeployment, or url, for another OpenAI-compatible server"))]
#[x_kube(validation = Rule::new("!has(self.url) || has(self.model)").message("target: a url needs the name of the model that requests ask for"))]
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
    /// Where `url`'s metrics are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsSource>,
    /// The service name of `url`'s traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub trace_service: Option<String>,
}

impl Target {
    /// What tells one target from another in a namespace, and what people read in a table.
    pub fn display(&self) -> &str {
        let url = self.url.as_deref().unwrap_or_default();
        self.deployment.as_deref().unwrap_or(url)
    }
}

/// Where another server's metrics are.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsSource {
    /// The address of the metrics page.
    #[schemars(length(max = 2048))]
    pub url: String,
    /// Whose metric names it uses.
    #[serde(default)]
    pub dialect: MetricsDialect,
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
