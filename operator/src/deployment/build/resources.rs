//! What a pod gets: CPU, memory, and GPUs, as a number or by device claims.
use candlepower_api::deployment::{DeviceClaim, Resources};
use k8s_openapi::{
    api::core::v1::{PodResourceClaim, ResourceClaim, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use std::collections::BTreeMap;

/// What NVIDIA's device plugin calls GPUs.
pub(crate) const GPU: &str = "nvidia.com/gpu";

/// What the container with the server gets.
pub(super) fn of_server(resources: &Resources) -> ResourceRequirements {
    let quantity = |value: &dyn ToString| Quantity(value.to_string());
    let mut limits = BTreeMap::from([
        ("cpu".to_owned(), quantity(&resources.cpu)),
        ("memory".to_owned(), quantity(&resources.memory)),
    ]);
    if resources.gpus > 0 {
        limits.insert(GPU.to_owned(), quantity(&resources.gpus));
    }
    let mut requests = limits.clone();
    if let Some(less) = &resources.requests {
        if let Some(cpu) = &less.cpu {
            requests.insert("cpu".to_owned(), quantity(cpu));
        }
        if let Some(memory) = &less.memory {
            requests.insert("memory".to_owned(), quantity(memory));
        }
    }
    ResourceRequirements {
        limits: Some(limits),
        requests: Some(requests),
        claims: Some(resources.claims.iter().map(claim_of_server).collect())
            .filter(|claims: &Vec<_>| !claims.is_empty()),
    }
}

fn claim_of_server(claim: &DeviceClaim) -> ResourceClaim {
    ResourceClaim {
        name: claim.name.clone(),
        request: claim.request.clone(),
    }
}

/// The claims of the pod, which the container's refer to.
pub(super) fn claims(resources: &Resources) -> Option<Vec<PodResourceClaim>> {
    let claims = resources.claims.iter().map(|claim| PodResourceClaim {
        name: claim.name.clone(),
        resource_claim_name: claim.resource_claim_name.clone(),
        resource_claim_template_name: claim.resource_claim_template_name.clone(),
    });
    let claims: Vec<_> = claims.collect();
    Some(claims).filter(|claims| !claims.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::json;

    #[test]
    fn requests_are_the_limits_where_nothing_less_is_asked_for() {
        let resource = testing::resource(json!({"resources": {
            "gpus": 1, "cpu": 4, "memory": "16Gi", "requests": {"cpu": "100m"}
        }}));
        let resources = of_server(&resource.spec.resources);
        assert_eq!(
            json!(resources),
            json!({
                "limits": {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"},
                "requests": {"cpu": "100m", "memory": "16Gi", "nvidia.com/gpu": "1"},
            })
        );
    }

    #[test]
    fn claims_are_the_pods_and_the_server_refers_to_them() {
        let resource = testing::resource(json!({"resources": {"claims": [
            {"name": "gpu", "resourceClaimTemplateName": "one-gpu", "request": "large"},
            {"name": "link", "resourceClaimName": "shared"},
        ]}}));
        let resources = &resource.spec.resources;
        assert_eq!(
            json!(claims(resources)),
            json!([
                {"name": "gpu", "resourceClaimTemplateName": "one-gpu"},
                {"name": "link", "resourceClaimName": "shared"},
            ])
        );
        let of_server = of_server(resources);
        assert_eq!(
            json!(of_server.claims),
            json!([{"name": "gpu", "request": "large"}, {"name": "link"}])
        );
        assert!(!of_server.limits.unwrap().contains_key(GPU));
        assert_eq!(claims(&Resources::default()), None);
    }
}
