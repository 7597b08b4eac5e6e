//! PodMonitor and PrometheusRule, for the cluster's own Prometheus.
use super::{labels, metadata, subject};
use crate::{
    config::monitoring::map,
    deployment::{
        monitoring::{
            Plan,
            kinds::{
                Endpoint, PodMonitor, PodMonitorSpec, PrometheusRule, PrometheusRuleSpec,
                Relabeling,
            },
        },
        validate::Valid,
    },
    observability::rules,
};
use candlepower_api::{
    deployment::MetricsMode,
    names::{paths, ports},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

/// How Prometheus' discovery names the pods' label with the resource's name.
const NAME_LABEL: &str = "__meta_kubernetes_pod_label_candlepower_dev_llmdeployment";

pub(super) fn pod_monitor(valid: &Valid<'_>, plan: &Plan<'_>) -> Option<PodMonitor> {
    let wanted = plan.choice.metrics == MetricsMode::PodMonitor && plan.choice.served.pod_monitor;
    wanted.then(|| PodMonitor {
        metadata: labelled(valid, &plan.settings.pod_monitor_labels),
        spec: PodMonitorSpec {
            selector: LabelSelector {
                match_labels: Some(labels::selector(&valid.name)),
                ..LabelSelector::default()
            },
            pod_metrics_endpoints: vec![Endpoint {
                port: ports::SERVER_HTTP_NAME.to_owned(),
                path: paths::METRICS.to_owned(),
                interval: valid.spec.observability.metrics.interval.to_string(),
                relabelings: vec![Relabeling {
                    action: "replace".to_owned(),
                    source_labels: vec![NAME_LABEL.to_owned()],
                    target_label: "llmdeployment".to_owned(),
                }],
            }],
        },
    })
}

pub(super) fn prometheus_rule(valid: &Valid<'_>, plan: &Plan<'_>) -> Option<PrometheusRule> {
    let wanted = plan.choice.metrics == MetricsMode::PodMonitor
        && plan.choice.served.prometheus_rule
        && !valid.is_copy;
    let groups = rules::of_resource(&subject(valid), &plan.settings.runbooks_url).groups;
    (wanted && !groups.is_empty()).then(|| PrometheusRule {
        metadata: labelled(valid, &plan.settings.prometheus_rule_labels),
        spec: PrometheusRuleSpec { groups },
    })
}

/// Our own labels win: the operator finds its children by them.
fn labelled(valid: &Valid<'_>, chosen: &[(String, String)]) -> ObjectMeta {
    let mut labels = map(chosen);
    labels.extend(labels::all(&valid.name));
    ObjectMeta {
        labels: Some(labels),
        ..metadata(valid)
    }
}
