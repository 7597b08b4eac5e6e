//! What keeps a pod from the devices that it claims (dynamic resource allocation), in words.
use crate::watches::Pod;
use k8s_openapi::api::core::v1::PodResourceClaim;

/// Where the scheduler's words about other pods' claims begin, which do not help.
pub(super) const AFTERTHOUGHTS: [&str; 4] = [
    "no new claims",
    "still not schedulable",
    "deallocation of ResourceClaim",
    "deletion of ResourceClaim",
];

/// Words of the scheduler about devices that cannot be had now.
const NOT_FREE: [&str; 4] = [
    "allocate all claims",
    "allocate devices",
    "resourceclaim",
    "resource claim",
];

/// What helps where the scheduler's `message` is about the devices that `pod` claims.
pub(super) fn cure(message: &str, pod: &Pod) -> Option<String> {
    let claims = named(pod.claims.iter())?;
    if message.contains("device class") {
        return Some(format!(
            "; install the DRA driver that brings the device class, or correct {claims}"
        ));
    }
    let concerns_devices = NOT_FREE.iter().any(|words| message.contains(words));
    concerns_devices.then(|| {
        format!(
            "; {claims} asks for devices that are not free: add a node that has them and their DRA driver, or correct it"
        )
    })
}

/// What else to say of a pod that the scheduler has not looked at: it waits until the pod's claims exist.
pub(super) fn waited_for(pod: &Pod) -> String {
    let made = &pod.status.resource_claim_statuses;
    // One that all pods share is in no status.
    let may_be_missing = pod.claims.iter().filter(|claim| {
        let is_made = |name: &str| made.iter().any(|it| *it.name == *name);
        !is_made(&claim.name)
    });
    named(may_be_missing)
        .map(|claims| format!("; check that {claims} exists in its namespace"))
        .unwrap_or_default()
}

/// The claims as their user named them; nothing where there are none.
fn named<'a>(claims: impl Iterator<Item = &'a PodResourceClaim>) -> Option<String> {
    let names: Vec<_> = claims
        .filter_map(|claim| {
            let template = claim.resource_claim_template_name.as_ref();
            let own = claim.resource_claim_name.as_ref();
            template
                .map(|name| format!("ResourceClaimTemplate {name}"))
                .or_else(|| own.map(|name| format!("ResourceClaim {name}")))
        })
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{super::pods::unschedulable, *};
    use serde_json::{Value, json};

    /// A pod with a claim of its own and one that is shared.
    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "tiny-1"},
            "spec": {"containers": [], "resourceClaims": [
                {"name": "gpu", "resourceClaimTemplateName": "one-gpu"},
                {"name": "link", "resourceClaimName": "shared"},
            ]},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn what_the_scheduler_says_of_claims_is_told_with_their_names_and_the_cure() {
        let told = |message: &str| {
            let scheduled = json!({"type": "PodScheduled", "status": "False", "message": message});
            unschedulable(&pod(&json!({"conditions": [scheduled]}))).unwrap()
        };
        assert_eq!(
            told(
                "0/1 nodes are available: 1 cannot allocate all claims. still not schedulable, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
            ),
            "no node takes pod tiny-1: 0/1 nodes are available: 1 cannot allocate all claims; ResourceClaimTemplate one-gpu, ResourceClaim shared asks for devices that are not free: add a node that has them and their DRA driver, or correct it"
        );
        assert_eq!(
            told(
                "0/1 nodes are available: request gpu: device class gpu.nvidia.com does not exist. no new claims to deallocate, preemption: 0/1"
            ),
            "no node takes pod tiny-1: 0/1 nodes are available: request gpu: device class gpu.nvidia.com does not exist; install the DRA driver that brings the device class, or correct ResourceClaimTemplate one-gpu, ResourceClaim shared"
        );
        let memory = told("0/1 nodes are available: 1 Insufficient memory.");
        assert!(memory.ends_with("lower spec.resources"), "{memory}");
    }

    #[test]
    fn a_pod_whose_claims_do_not_exist_yet_says_which() {
        assert_eq!(
            waited_for(&pod(&json!({}))),
            "; check that ResourceClaimTemplate one-gpu, ResourceClaim shared exists in its namespace"
        );
        let made = json!({"resourceClaimStatuses": [
            {"name": "gpu", "resourceClaimName": "tiny-1-gpu-x"}, {"name": "link"},
        ]});
        assert_eq!(waited_for(&pod(&made)), "");
        assert_eq!(waited_for(&Pod::default()), "");
    }
}
