//! What is collected how: decides `Auto`, and says why.
use super::served::Served;
use crate::config::monitoring::MonitoringConfig;
use candlepower_api::{
    deployment::{MetricsMode, Observability, TracingMode, status::ObservabilityStatus},
    names::ports,
};

/// What is collected how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::deployment) struct Choice {
    /// Never `Auto`.
    pub(in crate::deployment) metrics: MetricsMode,
    /// Why, as the end of a sentence.
    pub(in crate::deployment) metrics_because: &'static str,
    /// Never `Auto`.
    pub(in crate::deployment) tracing: TracingMode,
    /// Why, as the end of a sentence.
    pub(in crate::deployment) tracing_because: &'static str,
    /// Where the server sends its spans.
    pub(in crate::deployment) endpoint: Option<String>,
    /// What the cluster serves, which a PodMonitor depends on.
    pub(in crate::deployment) served: Served,
    /// The cluster's Prometheus, where its address is known.
    pub(in crate::deployment) prometheus_url: Option<String>,
}

/// What the resource's own modes are told with.
const AS_ASKED: &str = "because the resource asks for it";

impl Default for Choice {
    fn default() -> Self {
        Self {
            metrics: MetricsMode::None,
            metrics_because: AS_ASKED,
            tracing: TracingMode::None,
            tracing_because: AS_ASKED,
            endpoint: None,
            served: Served::default(),
            prometheus_url: None,
        }
    }
}

/// Decides what `wish` leaves open.
pub(in crate::deployment) fn choose(
    wish: &Observability,
    served: Served,
    settings: &MonitoringConfig,
) -> Choice {
    let (metrics, metrics_because) = match wish.metrics.mode {
        MetricsMode::Auto if served.pod_monitor => (
            MetricsMode::PodMonitor,
            "because the cluster serves PodMonitor",
        ),
        MetricsMode::Auto => (
            MetricsMode::Sidecar,
            "because the cluster does not serve PodMonitor",
        ),
        mode => (mode, AS_ASKED),
    };
    let own = wish.tracing.endpoint.as_ref();
    let (tracing, endpoint, tracing_because) = match wish.tracing.mode {
        TracingMode::Auto => match (own, &settings.otlp_endpoint) {
            (Some(endpoint), _) => (
                TracingMode::Endpoint,
                Some(endpoint.clone()),
                "because the resource names it",
            ),
            (None, Some(endpoint)) => (
                TracingMode::Endpoint,
                Some(endpoint.clone()),
                "because the operator's --otlp-endpoint names it",
            ),
            (None, None) => (
                TracingMode::Sidecar,
                Some(beside()),
                "because no collector is named",
            ),
        },
        TracingMode::Endpoint => (TracingMode::Endpoint, own.cloned(), AS_ASKED),
        TracingMode::Sidecar => (TracingMode::Sidecar, Some(beside()), AS_ASKED),
        TracingMode::None => (TracingMode::None, None, AS_ASKED),
    };
    Choice {
        metrics,
        metrics_because,
        tracing,
        tracing_because,
        endpoint,
        served,
        prometheus_url: settings.prometheus_url.clone(),
    }
}

/// The Jaeger in the same pod.
fn beside() -> String {
    format!("http://127.0.0.1:{}", ports::OTLP_GRPC)
}

impl Choice {
    /// The same for the status of the resource `name`.
    pub(in crate::deployment) fn status(&self, name: &str, namespace: &str) -> ObservabilityStatus {
        let prometheus = match self.metrics {
            MetricsMode::Sidecar => Some(format!(
                "http://{name}.{namespace}.svc:{}",
                ports::PROMETHEUS
            )),
            MetricsMode::PodMonitor => self.prometheus_url.clone(),
            MetricsMode::Auto | MetricsMode::None => None,
        };
        ObservabilityStatus {
            metrics: self.metrics,
            tracing: self.tracing,
            prometheus,
            traces: self.endpoint.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::{BARE, STACK, settings};
    use serde_json::{Value, json};

    fn chosen(wish: Value, served: Served, arguments: &[&str]) -> Choice {
        let wish = serde_json::from_value(wish).unwrap();
        choose(&wish, served, &settings(arguments))
    }

    #[test]
    fn left_alone_metrics_go_where_the_cluster_collects_them() {
        for (served, mode, because) in [
            (
                BARE,
                MetricsMode::Sidecar,
                "because the cluster does not serve PodMonitor",
            ),
            (
                STACK,
                MetricsMode::PodMonitor,
                "because the cluster serves PodMonitor",
            ),
        ] {
            let choice = chosen(json!({}), served, &[]);
            assert_eq!((choice.metrics, choice.metrics_because), (mode, because));
        }
    }

    #[test]
    fn what_is_asked_for_is_not_replaced_by_something_else() {
        for (mode, expected) in [
            ("PodMonitor", MetricsMode::PodMonitor),
            ("None", MetricsMode::None),
        ] {
            let wish = json!({"metrics": {"mode": mode}});
            let choice = chosen(wish, BARE, &[]);
            assert_eq!(choice.metrics, expected);
            assert_eq!(choice.metrics_because, "because the resource asks for it");
        }
        let wish = json!({"metrics": {"mode": "Sidecar"}});
        assert_eq!(chosen(wish, STACK, &[]).metrics, MetricsMode::Sidecar);
    }

    #[test]
    fn traces_go_to_the_resources_own_collector_then_the_operators_then_a_sidecar() {
        let operators = ["--otlp-endpoint", "http://ours:4317"];
        let own = json!({"tracing": {"endpoint": "http://own:4317"}});
        let cases = [
            (
                own,
                &operators[..],
                TracingMode::Endpoint,
                Some("http://own:4317"),
                "because the resource names it",
            ),
            (
                json!({}),
                &operators[..],
                TracingMode::Endpoint,
                Some("http://ours:4317"),
                "because the operator's --otlp-endpoint names it",
            ),
            (
                json!({}),
                &[],
                TracingMode::Sidecar,
                Some("http://127.0.0.1:4317"),
                "because no collector is named",
            ),
            (
                json!({"tracing": {"mode": "None", "endpoint": "http://own:4317"}}),
                &operators[..],
                TracingMode::None,
                None,
                "because the resource asks for it",
            ),
            (
                json!({"tracing": {"mode": "Sidecar"}}),
                &operators[..],
                TracingMode::Sidecar,
                Some("http://127.0.0.1:4317"),
                "because the resource asks for it",
            ),
        ];
        for (wish, arguments, mode, endpoint, because) in cases {
            let choice = chosen(wish.clone(), BARE, arguments);
            assert_eq!(
                (
                    choice.tracing,
                    choice.endpoint.as_deref(),
                    choice.tracing_because
                ),
                (mode, endpoint, because),
                "{wish}"
            );
        }
    }
}
