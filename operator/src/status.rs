//! Writes the status of a resource: only what is new, and never to another object of its name.
use crate::{
    error::Error, guard::Guard, metrics::ControllerMetrics, traces, written::WrittenStatuses,
};
use candlepower_api::names::labels::OPERATOR_NAME;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::object::HasStatus,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

/// Writes `status` if it differs from `previous`, and notes it in `written`. Says whether it did: no
/// status is written of a resource that is gone.
pub(crate) async fn write<K>(
    resource: &K,
    previous: &K::Status,
    status: &K::Status,
    client: &Client,
    metrics: &ControllerMetrics,
    written: &WrittenStatuses<K::Status>,
) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + HasStatus + DeserializeOwned,
    K::Status: Clone + PartialEq + Serialize,
{
    if status == previous {
        return Ok(false);
    }
    let (name, kind) = (resource.name_any(), K::kind(&()));
    let namespace = resource.namespace().ok_or(Error::Incomplete("namespace"))?;
    let uid = resource.uid().ok_or(Error::Incomplete("uid"))?;
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": kind,
        // With the uid, a resource that was deleted and created again is not mistaken for this.
        "metadata": {"name": name, "namespace": namespace, "uid": uid},
        "status": status,
    });
    let resources: Api<Guard<K>> = Api::namespaced(client.clone(), &namespace);
    let params = PatchParams::apply(OPERATOR_NAME).force();
    let patch = Patch::Apply(&patch);
    let writing = resources.patch_status(&name, &params, &patch);
    let answer = match traces::within(traces::write_status(), writing).await {
        Ok(answer) => answer,
        // Deleted in the meantime.
        Err(kube::Error::Api(answer)) if answer.code == 404 => return Ok(false),
        Err(error) => return Err(Error::Status(Box::new(error))),
    };
    metrics.wrote(&format!("{kind}/status"));
    let accepted = answer.0.ok();
    if let Some(status) = accepted.and_then(|mut resource| resource.status_mut().take()) {
        written.note(&uid, status);
    }
    Ok(true)
}
