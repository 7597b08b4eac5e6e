//! Where a deployment's Prometheus and Jaeger are, as its status says.
use super::cluster::{Error, PodPort, ServiceAt, port, running, service_behind};
use candlepower_api::{
    deployment::{LLMDeployment, MetricsMode, TracingMode},
    names::{labels, ports},
};
use kube::Client;
use serde::Serialize;

/// Where a tool is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Place {
    /// Beside the model, in each of its pods.
    Pods {
        /// The port in the pods.
        port: u16,
    },
    /// At an address.
    Address {
        /// The address, as the status has it.
        address: String,
        /// The port of the Service there that shows pages.
        port: u16,
    },
    /// Nowhere, or not known.
    Absent {
        /// Why, and what to do.
        why: String,
    },
}

fn absent(why: &str) -> Place {
    Place::Absent {
        why: why.to_owned(),
    }
}

const NO_STATUS: &str = "the operator has not yet said where; see the condition ObservabilityReady";

/// Where the Prometheus is that scrapes a deployment.
pub fn prometheus(deployment: &LLMDeployment) -> Place {
    let status = deployment.status.as_ref();
    let Some(observability) = status.and_then(|status| status.observability.as_ref()) else {
        return absent(NO_STATUS);
    };
    match (observability.metrics, &observability.prometheus) {
        (MetricsMode::Sidecar, _) => Place::Pods {
            port: ports::PROMETHEUS,
        },
        (MetricsMode::PodMonitor, Some(address)) => Place::Address {
            address: address.clone(),
            port: port(address).unwrap_or(80),
        },
        (MetricsMode::PodMonitor, None) => {
            absent("the operator was not told its address; set the chart's value prometheus.url")
        }
        (MetricsMode::None, _) => absent("observability.metrics.mode is None"),
        (MetricsMode::Auto, _) => absent(NO_STATUS),
    }
}

/// Where the Jaeger is that has a deployment's traces.
pub fn jaeger(deployment: &LLMDeployment) -> Place {
    let status = deployment.status.as_ref();
    let Some(observability) = status.and_then(|status| status.observability.as_ref()) else {
        return absent(NO_STATUS);
    };
    match (observability.tracing, &observability.traces) {
        (TracingMode::Sidecar, _) => Place::Pods {
            port: ports::JAEGER_QUERY,
        },
        (TracingMode::Endpoint, Some(address)) => Place::Address {
            address: address.clone(),
            port: ports::JAEGER_QUERY,
        },
        (TracingMode::None, _) => absent("observability.tracing.mode is None"),
        (TracingMode::Endpoint, None) | (TracingMode::Auto, _) => absent(NO_STATUS),
    }
}

/// A place, with the pods or the Service that stand there now.
#[derive(Clone, Debug)]
pub enum Found {
    /// The pods of the deployment.
    Pods(Vec<PodPort>),
    /// A Service, and its port.
    Service(ServiceAt, u16),
}

/// Looks for what stands at a place; an error says what is absent.
pub async fn find(
    client: &Client,
    place: &Place,
    namespace: &str,
    name: &str,
) -> Result<Found, Error> {
    match place {
        Place::Pods { port } => {
            let selector = format!("{}={name}", labels::LLM_DEPLOYMENT);
            let pods = running(client, namespace, &selector).await?;
            let names = pods.into_iter().filter_map(|pod| pod.metadata.name);
            let pods: Vec<_> = names
                .map(|pod| PodPort {
                    namespace: namespace.to_owned(),
                    pod,
                    port: *port,
                })
                .collect();
            if pods.is_empty() {
                return Err(Error::NoPod(format!("LLMDeployment {namespace}/{name}")));
            }
            Ok(Found::Pods(pods))
        }
        Place::Address { address, port } => {
            let service = service_behind(client, address, namespace).await?;
            Ok(Found::Service(service, *port))
        }
        Place::Absent { why } => Err(Error::Absent(why.clone())),
    }
}

impl Found {
    /// The pods to ask: all of a deployment's, or one behind a Service.
    pub async fn pods(self, client: &Client) -> Result<Vec<PodPort>, Error> {
        match self {
            Self::Pods(pods) => Ok(pods),
            Self::Service(service, port) => Ok(vec![service.pod(client, port).await?]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn deployment(observability: &Value) -> LLMDeployment {
        serde_json::from_value(json!({
            "apiVersion": "candlepower.dev/v1alpha1", "kind": "LLMDeployment",
            "metadata": {"name": "tiny", "namespace": "team"},
            "spec": {"model": {"source": "pvc://models/tiny.gguf"}},
            "status": {"observability": observability},
        }))
        .unwrap()
    }

    #[test]
    fn sidecars_are_in_the_pods_even_where_a_cluster_has_a_prometheus() {
        let sidecars = deployment(&json!({"metrics": "Sidecar", "tracing": "Sidecar",
            "prometheus": "http://prometheus.monitoring:9090", "traces": "http://127.0.0.1:4317"}));
        assert_eq!(prometheus(&sidecars), Place::Pods { port: 9090 });
        assert_eq!(jaeger(&sidecars), Place::Pods { port: 16686 });
    }

    #[test]
    fn a_collector_has_its_pages_on_jaegers_query_port() {
        let address = "http://jaeger.observability:4317".to_owned();
        let central = deployment(&json!({"metrics": "PodMonitor", "tracing": "Endpoint",
            "prometheus": "http://prometheus.monitoring:9091", "traces": address}));
        assert_eq!(
            jaeger(&central),
            Place::Address {
                address,
                port: 16686
            }
        );
        assert!(matches!(
            prometheus(&central),
            Place::Address { port: 9091, .. }
        ));
    }

    #[test]
    fn what_is_absent_says_why() {
        let why = |place| match place {
            Place::Absent { why } => why,
            other => format!("{other:?}"),
        };
        let none = deployment(&json!({"metrics": "PodMonitor", "tracing": "None"}));
        assert!(why(prometheus(&none)).contains("prometheus.url"));
        assert!(why(jaeger(&none)).contains("tracing.mode is None"));
        assert!(why(jaeger(&deployment(&Value::Null))).contains("ObservabilityReady"));
    }
}
