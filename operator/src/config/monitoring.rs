//! Flags that say how metrics, traces and dashboards of the models are collected.
use super::PullPolicy;
use crate::observability::rules::DEFAULT_RUNBOOKS;
use candlepower_api::value::{ByteSize, CpuQuantity, Duration};
use clap::Args;
use std::collections::BTreeMap;

/// How metrics, traces and dashboards of the models are collected.
#[derive(Args, Clone, Debug)]
pub struct MonitoringConfig {
    /// Collector for traces of resources without an endpoint of their own (OTLP over gRPC), such as
    /// http://collector.observability:4317
    #[arg(long, env = "OTLP_ENDPOINT", value_name = "URL", value_parser = address)]
    pub otlp_endpoint: Option<String>,

    /// The cluster's Prometheus, to ask whether it scrapes the models, such as
    /// http://prometheus-operated.monitoring:9090
    #[arg(long, env = "PROMETHEUS_URL", value_name = "URL", value_parser = plain_address)]
    pub prometheus_url: Option<String>,

    /// Namespace whose pods read metrics and traces of models, and which the models' network policies let in, such as
    /// the operator's own; may be repeated
    #[arg(long = "monitoring-namespace", value_name = "NAMESPACE")]
    pub monitoring_namespaces: Vec<String>,

    /// Folder of the runbooks that alerts link to; each alert's page is <URL>/<ALERT>.md
    #[arg(long, value_name = "URL", value_parser = address, default_value = DEFAULT_RUNBOOKS)]
    pub runbooks_url: String,

    /// How often to look whether the cluster serves PodMonitor and PrometheusRule; every fourth time it is looked whether etcd
    /// was restored from a snapshot, too
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub discovery_interval: Duration,

    /// Label of PodMonitors that the cluster's Prometheus selects by; may be repeated
    #[arg(long = "pod-monitor-label", value_name = "KEY=VALUE", value_parser = pair)]
    pub pod_monitor_labels: Vec<(String, String)>,

    /// Label of PrometheusRules that the cluster's Prometheus selects by; may be repeated
    #[arg(long = "prometheus-rule-label", value_name = "KEY=VALUE", value_parser = pair)]
    pub prometheus_rule_labels: Vec<(String, String)>,

    /// Label of ConfigMaps with dashboards that Grafana's sidecar selects by; may be repeated
    #[arg(long = "dashboard-label", value_name = "KEY=VALUE", value_parser = pair, default_value = "grafana_dashboard=1")]
    pub dashboard_labels: Vec<(String, String)>,

    /// Annotation of ConfigMaps with dashboards, such as grafana_folder=Models; may be repeated
    #[arg(long = "dashboard-annotation", value_name = "KEY=VALUE", value_parser = pair)]
    pub dashboard_annotations: Vec<(String, String)>,

    /// When nodes pull the images of Prometheus and Jaeger
    #[arg(long, value_enum, default_value = "if-not-present")]
    pub sidecar_image_pull_policy: PullPolicy,

    /// Image of the Prometheus beside a model; existing pods keep theirs
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "docker.io/prom/prometheus:v3.16.0"
    )]
    pub prometheus_image: String,
    /// CPU that a Prometheus beside a model requests
    #[arg(long, value_name = "CPU", default_value = "10m")]
    pub prometheus_cpu_request: CpuQuantity,
    /// CPU limit of a Prometheus beside a model; none where absent
    #[arg(long, value_name = "CPU")]
    pub prometheus_cpu_limit: Option<CpuQuantity>,
    /// Memory that a Prometheus beside a model requests
    #[arg(long, value_name = "SIZE", default_value = "64Mi")]
    pub prometheus_memory_request: ByteSize,
    /// Memory limit of a Prometheus beside a model
    #[arg(long, value_name = "SIZE", default_value = "256Mi")]
    pub prometheus_memory_limit: ByteSize,
    /// How long a Prometheus beside a model keeps series
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub prometheus_retention_time: Duration,
    /// How much a Prometheus beside a model keeps
    #[arg(long, value_name = "SIZE", default_value = "256Mi")]
    pub prometheus_retention_size: ByteSize,

    /// Image of the Jaeger beside a model; existing pods keep theirs
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "docker.io/jaegertracing/jaeger:2.0.0"
    )]
    pub jaeger_image: String,
    /// CPU that a Jaeger beside a model requests
    #[arg(long, value_name = "CPU", default_value = "10m")]
    pub jaeger_cpu_request: CpuQuantity,
    /// CPU limit of a Jaeger beside a model; none where absent
    #[arg(long, value_name = "CPU")]
    pub jaeger_cpu_limit: Option<CpuQuantity>,
    /// Memory that a Jaeger beside a model requests
    #[arg(long, value_name = "SIZE", default_value = "64Mi")]
    pub jaeger_memory_request: ByteSize,
    /// Memory limit of a Jaeger beside a model
    #[arg(long, value_name = "SIZE", default_value = "256Mi")]
    pub jaeger_memory_limit: ByteSize,
    /// Traces that a Jaeger beside a model keeps
    #[arg(long, value_name = "NUMBER", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub jaeger_max_traces: u32,
}

/// Labels or annotations that were given one by one.
pub fn map(pairs: &[(String, String)]) -> BTreeMap<String, String> {
    pairs.iter().cloned().collect()
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as release=prometheus".to_owned()),
    }
}

/// An address with its scheme, without slashes at its end.
pub(super) fn address(text: &str) -> Result<String, String> {
    let has_host = |scheme| {
        text.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    };
    if has_host("http://") || has_host("https://") {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err("write an address such as http://collector.observability:4317".to_owned())
}

fn plain_address(text: &str) -> Result<String, String> {
    let address = address(text)?;
    if address.starts_with("http://") {
        return Ok(address);
    }
    Err("the operator asks Prometheus without TLS: write its http:// address inside the cluster, such as http://prometheus-operated.monitoring:9090".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_last_slash_and_need_a_scheme_and_a_host() {
        assert_eq!(plain_address("http://p:9090/").unwrap(), "http://p:9090");
        assert_eq!(
            address("https://c:4317").unwrap(),
            "https://c:4317".to_owned()
        );
        for wrong in ["c:4317", "http://", "http:///a", ""] {
            assert!(address(wrong).unwrap_err().contains("such as"), "{wrong}");
        }
        assert!(
            plain_address("https://p:9090")
                .unwrap_err()
                .contains("http://")
        );
    }

    #[test]
    fn labels_are_pairs() {
        assert_eq!(
            pair("release=a=b").unwrap(),
            ("release".into(), "a=b".into())
        );
        assert!(pair("release").unwrap_err().contains("KEY=VALUE"));
    }
}
