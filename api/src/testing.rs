//! What the API server would say of an object, without an API server.
use kube::CustomResourceExt;
use kube_cel::Validator;
use serde_json::Value;

/// Messages of the CEL rules that `object` breaks once the schema's defaults are filled in.
pub(crate) fn violations<R: CustomResourceExt>(object: &Value) -> Vec<String> {
    let crd = serde_json::to_value(R::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    match Validator::new().validate_with_defaults(schema, object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
            .into_iter()
            .map(|error| error.message)
            .collect(),
    }
}
