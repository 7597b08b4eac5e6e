//! The PodDisruptionBudget: of several pods, a drain of nodes takes one at a time.
use super::{labels, metadata};
use crate::deployment::validate::Valid;
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

/// A single pod gets none: it would either never be allowed to go, or be protected from nothing.
pub(super) fn disruption_budget(valid: &Valid<'_>) -> Option<PodDisruptionBudget> {
    (valid.replicas >= 2).then(|| PodDisruptionBudget {
        metadata: metadata(valid),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(labels::selector(&valid.name)),
                ..LabelSelector::default()
            }),
            // A pod that does not serve is no reason to hold up a node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::{Value, json};

    fn of(spec: Value) -> Option<PodDisruptionBudget> {
        disruption_budget(&testing::valid(&testing::resource(spec)))
    }

    #[test]
    fn of_several_pods_one_may_be_away() {
        insta::assert_yaml_snapshot!(of(json!({"replicas": 2})).unwrap());
        assert!(of(json!({"autoscaling": {"minReplicas": 2, "maxReplicas": 3}})).is_some());
    }

    #[test]
    fn a_single_pod_holds_up_no_node() {
        for spec in [json!({}), json!({"replicas": 1}), json!({"replicas": 0})] {
            assert_eq!(of(spec), None);
        }
    }
}
