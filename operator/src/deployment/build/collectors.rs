//! What the sidecars read: Prometheus' configuration and rules, and Jaeger's configuration.
use super::{
    sidecars::{
        JAEGER_FILE, POD_NAME, PROMETHEUS_DIR, PROMETHEUS_FILE, RULES_FILE, SOFT_LIMIT_PERCENT,
        has_jaeger, has_prometheus,
    },
    subject,
};
use crate::{
    config::monitoring::MonitoringConfig,
    deployment::{error::Error, monitoring::Plan, validate::Valid},
    observability::rules,
    sorted::sorted,
};
use candlepower_api::names::{paths, ports};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MEBIBYTE: u64 = 1024 * 1024;
/// Part of Jaeger's memory limit, in hundredths, that may come between two of its looks.
const SPIKE_PERCENT: u64 = 10;

/// The files of those that there are, by name: they lie in the ConfigMap of the server, of which each container sees its own.
pub(super) fn files(valid: &Valid<'_>, plan: &Plan<'_>) -> Result<BTreeMap<String, String>, Error> {
    let mut files = BTreeMap::new();
    let mut add = |name: &str, text: String| files.insert(name.to_owned(), text);
    if has_prometheus(&plan.choice) {
        let rules = rules::of_resource(&subject(valid), &plan.settings.runbooks_url);
        add(PROMETHEUS_FILE, yaml(&sorted(prometheus(valid)))?);
        add(RULES_FILE, yaml(&rules)?);
    }
    if has_jaeger(&plan.choice) {
        add(JAEGER_FILE, yaml(&sorted(jaeger(plan.settings)))?);
    }
    Ok(files)
}

/// The same labels as a PodMonitor sets, so that rules and dashboards need to know no difference.
fn prometheus(valid: &Valid<'_>) -> Value {
    let interval = valid.spec.observability.metrics.interval.to_string();
    json!({
        "global": {
            "scrape_interval": interval,
            "evaluation_interval": interval,
            // Prometheus fills in the variable.
            "external_labels": {"pod": format!("${{{POD_NAME}}}")},
        },
        "rule_files": [format!("{PROMETHEUS_DIR}/{RULES_FILE}")],
        "scrape_configs": [{
            "job_name": format!("{}/{}", valid.namespace, valid.name),
            "metrics_path": paths::METRICS,
            "static_configs": [{
                "targets": [format!("127.0.0.1:{}", ports::SERVER_HTTP)],
                "labels": {"namespace": valid.namespace, "llmdeployment": valid.name},
            }],
        }],
    })
}

/// Spans come from the same pod only; pages and queries from anywhere. Long prompts make large
/// traces, so that their number alone does not bound the memory: before it runs out, spans are
/// refused, which the server counts as lost, where the kernel would take all traces away.
fn jaeger(settings: &MonitoringConfig) -> Value {
    let part =
        |percent: u64| (settings.jaeger_memory_limit.bytes() / 100 * percent / MEBIBYTE).max(1);
    json!({
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {
                "receivers": ["otlp"],
                "processors": ["memory_limiter", "batch"],
                "exporters": ["jaeger_storage_exporter"],
            }},
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {
                "memory": {"max_traces": settings.jaeger_max_traces},
            }}},
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": format!("0.0.0.0:{}", ports::JAEGER_QUERY)},
                "grpc": {"endpoint": "127.0.0.1:16685"},
            },
        },
        "receivers": {"otlp": {"protocols": {
            "grpc": {"endpoint": format!("127.0.0.1:{}", ports::OTLP_GRPC)},
        }}},
        "processors": {
            "batch": {"timeout": "200ms"},
            "memory_limiter": {
                "check_interval": "1s",
                "limit_mib": part(SOFT_LIMIT_PERCENT),
                "spike_limit_mib": part(SPIKE_PERCENT),
            },
        },
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    })
}

fn yaml<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|error| Error::Yaml(error.to_string()))
}
