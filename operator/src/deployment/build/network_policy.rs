//! The NetworkPolicy: who may open connections to the pods.
use super::{
    labels, metadata,
    sidecars::{has_jaeger, has_prometheus},
};
use crate::deployment::{monitoring::Plan, validate::Valid};
use candlepower_api::names::{labels as names, ports};
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
        NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use std::collections::BTreeMap;

pub(super) fn network_policy(valid: &Valid<'_>, plan: &Plan<'_>) -> Option<NetworkPolicy> {
    let access = &valid.spec.access.network_policy;
    access.enabled.then(|| NetworkPolicy {
        metadata: metadata(valid),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(labels::selector(&valid.name))),
            // Models may be fetched, and spans sent, from anywhere to anywhere: what leaves the pods is not limited.
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(rules(valid, plan)),
            ..NetworkPolicySpec::default()
        }),
    })
}

/// Kubernetes' own probes come from the node and are never kept out.
fn rules(valid: &Valid<'_>, plan: &Plan<'_>) -> Vec<NetworkPolicyIngressRule> {
    let rule = |from, numbers: &[u16]| NetworkPolicyIngressRule {
        from: Some(from),
        ports: Some(numbers.iter().copied().map(port).collect()),
    };
    let prometheus = has_prometheus(&plan.choice).then_some(ports::PROMETHEUS);
    let jaeger = has_jaeger(&plan.choice).then_some(ports::JAEGER_QUERY);
    let with_sidecars = |server| {
        let numbers = [Some(server), prometheus, jaeger];
        numbers.into_iter().flatten().collect::<Vec<_>>()
    };
    let access = &valid.spec.access;
    let senders = peers(&access.network_policy.from, plan);
    match access.tls {
        None => vec![rule(senders, &with_sidecars(ports::SERVER_HTTP))],
        // Where requests travel by HTTPS, what is left in the clear is for those alone who read it.
        Some(_) => vec![
            rule(senders, &with_sidecars(ports::SERVER_HTTPS)),
            rule(readers(plan).collect(), &[ports::SERVER_HTTP]),
        ],
    }
}

fn peers(from: &[NetworkPolicyPeer], plan: &Plan<'_>) -> Vec<NetworkPolicyPeer> {
    if from.is_empty() {
        return vec![NetworkPolicyPeer {
            namespace_selector: Some(LabelSelector::default()),
            ..NetworkPolicyPeer::default()
        }];
    }
    from.iter().cloned().chain(readers(plan)).collect()
}

/// Without these, the resource's own status, alerts and benchmarks would fail.
fn readers(plan: &Plan<'_>) -> impl Iterator<Item = NetworkPolicyPeer> {
    let monitoring = plan.settings.monitoring_namespaces.iter();
    let monitoring = monitoring.map(|namespace| NetworkPolicyPeer {
        namespace_selector: Some(selector([(names::NAMESPACE_NAME, namespace.as_str())])),
        ..NetworkPolicyPeer::default()
    });
    let benchmarks = NetworkPolicyPeer {
        pod_selector: Some(selector([(names::APP_NAME, names::BENCH_NAME)])),
        ..NetworkPolicyPeer::default()
    };
    monitoring.chain([benchmarks])
}

fn port(number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}

fn selector<K, V>(labels: impl IntoIterator<Item = (K, V)>) -> LabelSelector
where
    K: Into<String>,
    V: Into<String>,
{
    let labels = labels
        .into_iter()
        .map(|(key, value)| (key.into(), value.into()));
    LabelSelector {
        match_labels: Some(labels.collect::<BTreeMap<_, _>>()),
        ..LabelSelector::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::{Value, json};

    fn of(spec: Value, arguments: &[&str]) -> Option<NetworkPolicy> {
        let resource = testing::resource(spec);
        let settings = testing::settings(arguments);
        let choice = testing::choice(&resource, testing::BARE, arguments);
        let plan = Plan::new(choice, &settings, &testing::observed());
        network_policy(&testing::valid(&resource), &plan)
    }

    #[test]
    fn pods_of_the_cluster_may_reach_what_the_pods_offer() {
        insta::assert_yaml_snapshot!(of(json!({}), &[]).unwrap());
    }

    #[test]
    fn a_list_keeps_others_out_but_not_the_operator_the_monitoring_and_benchmarks() {
        let spec = json!({
            "access": {"networkPolicy": {"from": [{"podSelector": {"matchLabels": {"app": "chat"}}}]}},
            "observability": {"metrics": {"mode": "None"}, "tracing": {"mode": "None"}},
        });
        let arguments = ["--monitoring-namespace", "candlepower-system"];
        let arguments = [arguments, ["--monitoring-namespace", "monitoring"]].concat();
        let policy = of(spec, &arguments).unwrap();
        let ingress = policy.spec.unwrap().ingress.unwrap();
        assert_eq!(
            json!(ingress),
            json!([{
                "from": [
                    {"podSelector": {"matchLabels": {"app": "chat"}}},
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "candlepower-system"}}},
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
                    {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "candlepower-bench"}}},
                ],
                "ports": [{"port": 8080, "protocol": "TCP"}],
            }])
        );
    }

    #[test]
    fn where_none_is_wanted_there_is_none() {
        let spec = json!({"access": {"networkPolicy": {"enabled": false}}});
        assert_eq!(of(spec, &[]), None);
    }
}
