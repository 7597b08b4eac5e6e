//! `spec.model`: which model, and where it comes from.
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which model to serve and where it comes from.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!has(self.revision) || self.source.startsWith('hf://')").message("model.revision: only hf:// sources have revisions; remove it or write the revision into the source"))]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Where the weights are: `hf://owner/repository`, `https://host/path`, `s3://bucket/path`,
    /// `oci://registry/repository:tag`, `pvc://claim/path` or `file:///path/on/the/node`.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^(hf|https|s3|oci|pvc|file)://')").message("model.source: start with hf://, https://, s3://, oci://, pvc:// or file://, such as pvc://models/model.gguf"))]
    #[x_kube(validation = Rule::new("!self.startsWith('pvc://') || self.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[^/].*$')").message("model.source: write pvc://CLAIM/PATH with the name of a PersistentVolumeClaim and the path of the file in it"))]
    #[x_kube(validation = Rule::new("!self.startsWith('file://') || self.matches('^file:///[^/].*$')").message("model.source: write file:///PATH with the absolute path of the file on the node"))]
    #[x_kube(validation = Rule::new("!self.contains('/../') && !self.endsWith('/..')").message("model.source: the path may not contain '..'; write the path from the root of the source"))]
    pub source: String,
    /// Branch, tag or commit of an `hf://` repository; default: `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub revision: Option<String>,
    /// Which file of a source that holds several, as a name or pattern such as `*Q4_K_M.gguf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub file: Option<String>,
    /// SHA-256 of the file in hexadecimal. A mismatch stops the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{64}$')").message("model.sha256: write the 64 lower-case hexadecimal digits that sha256sum prints"))]
    pub sha256: Option<String>,
    /// The name that requests use; default: the name of this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9._/:]*[A-Za-z0-9])?$')").message("model.servedName: write letters, digits and -._/: such as mistral-7b"))]
    pub served_name: Option<String>,
    /// A `tokenizer.json`, by the same kinds of source; default: beside the weights, or the
    /// GGUF's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^(hf|https|s3|oci|pvc|file)://')").message("model.tokenizer: start with hf://, https://, s3://, oci://, pvc:// or file://"))]
    #[x_kube(validation = Rule::new("!self.startsWith('pvc://') || self.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[^/].*$')").message("model.tokenizer: write pvc://CLAIM/PATH with the name of a PersistentVolumeClaim and the path of the file in it"))]
    #[x_kube(validation = Rule::new("!self.startsWith('file://') || self.matches('^file:///[^/].*$')").message("model.tokenizer: write file:///PATH with the absolute path of the file on the node"))]
    #[x_kube(validation = Rule::new("!self.contains('/../') && !self.endsWith('/..')").message("model.tokenizer: the path may not contain '..'; write the path from the root of the source"))]
    pub tokenizer: Option<String>,
    /// What to show at the source's door. Of the Secret's keys, `hf://` takes `HF_TOKEN` or `token`,
    /// `https://` takes `token`, or `username` and `password`, `oci://` takes the latter, and `s3://`
    /// takes `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}

/// What to show at the source's door.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The Secret that holds them.
    pub secret_ref: SecretReference,
}

/// A Secret in the resource's own namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
