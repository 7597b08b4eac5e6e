//! The way to services inside the cluster: a port-forward within this process.
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::{api::core::v1::ServicePort, apimachinery::pkg::util::intstr::IntOrString};
use kube::{Api, Client, api::ListParams};
use std::time::Duration;
use tokio::net::TcpListener;

/// How long an answer from inside the cluster may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a service inside the cluster did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or cannot be reached.
    #[error("the cluster did not answer ({0}); check `kubectl get pods` with the same context")]
    Kube(#[from] kube::Error),
    /// No Service stands behind an address.
    #[error("no Service of this cluster stands behind {0}")]
    NoService(String),
    /// There is no such tool, or its address is not known.
    #[error("{0}")]
    Absent(String),
    /// A Service has no pod.
    #[error("no pod runs behind {0}")]
    NoPod(String),
    /// The connection broke.
    #[error("the port-forward to pod {pod} failed: {why}")]
    Forward {
        /// The pod.
        pod: String,
        /// What happened.
        why: String,
    },
}

/// A port of a pod.
#[derive(Clone, Debug)]
pub struct PodPort {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The port.
    pub port: u16,
}

/// The host of an address such as `http://jaeger.observability:4317`.
pub fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host)
}

/// Whether a Service of `namespace` answers to `host`, as seen from `from`.
fn answers_to(host: &str, name: &str, namespace: &str, ip: Option<&str>, from: &str) -> bool {
    let mut labels = host.split('.');
    let named = labels.next() == Some(name) && labels.next().unwrap_or(from) == namespace;
    ip == Some(host) || named
}

/// The port of an address such as `http://prometheus.monitoring:9090`.
pub fn port(address: &str) -> Option<u16> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split('/').next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

/// A Service.
#[derive(Clone, Debug)]
pub struct ServiceAt {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The label selector of its pods.
    pub selector: String,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

impl ServiceAt {
    fn of(service: Service) -> Option<Self> {
        let spec = service.spec?;
        let labels = spec.selector.unwrap_or_default().into_iter();
        let labels: Vec<_> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        Some(Self {
            namespace: service.metadata.namespace?,
            name: service.metadata.name?,
            selector: labels.join(","),
            ports: spec.ports.unwrap_or_default(),
        })
    }

    /// A running pod behind it, and the pod's port behind the Service's `port`.
    pub async fn pod(&self, client: &Client, port: u16) -> Result<PodPort, Error> {
        let nobody = || Error::NoPod(format!("Service {}/{}", self.namespace, self.name));
        if self.selector.is_empty() {
            return Err(nobody());
        }
        let running = running(client, &self.namespace, &self.selector).await?;
        let pod = running.into_iter().next().ok_or_else(nobody)?;
        Ok(PodPort {
            namespace: self.namespace.clone(),
            port: pod_port(&self.ports, port, &pod),
            pod: pod.metadata.name.ok_or_else(nobody)?,
        })
    }
}

/// The port of `pod` that a Service's `port` leads to; the same where the Service has no such port.
fn pod_port(ports: &[ServicePort], port: u16, pod: &Pod) -> u16 {
    let target = ports.iter().find(|one| one.port == i32::from(port));
    let number = match target.and_then(|one| one.target_port.as_ref()) {
        None => None,
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => pod
            .spec
            .iter()
            .flat_map(|spec| {
                let beside = spec.init_containers.iter().flatten();
                spec.containers.iter().chain(beside)
            })
            .flat_map(|container| container.ports.iter().flatten())
            .find(|one| one.name.as_ref() == Some(name))
            .map(|one| one.container_port),
    };
    number
        .and_then(|number| number.try_into().ok())
        .unwrap_or(port)
}

/// The Service that `address` names, as seen from the namespace `from`.
pub async fn service_behind(
    client: &Client,
    address: &str,
    from: &str,
) -> Result<ServiceAt, Error> {
    let services = Api::<Service>::all(client.clone());
    let services = services.list(&ListParams::default()).await?;
    let named = |service: &Service| {
        let [namespace, name] = [&service.metadata.namespace, &service.metadata.name]
            .map(|part| part.as_deref().unwrap_or_default());
        let ip = service
            .spec
            .as_ref()
            .and_then(|spec| spec.cluster_ip.as_deref());
        let ip = ip.filter(|ip| *ip != "None");
        answers_to(host(address), name, namespace, ip, from)
    };
    let found = services.into_iter().find(named).and_then(ServiceAt::of);
    found.ok_or_else(|| Error::NoService(address.to_owned()))
}

/// The Services that a label selector finds in all namespaces.
pub async fn services(client: &Client, labels: &str) -> Result<Vec<ServiceAt>, Error> {
    let services = Api::<Service>::all(client.clone());
    let found = services.list(&ListParams::default().labels(labels)).await?;
    Ok(found.into_iter().filter_map(ServiceAt::of).collect())
}

/// The running pods that `labels` select.
pub async fn running(client: &Client, namespace: &str, labels: &str) -> Result<Vec<Pod>, Error> {
    let wanted = ListParams::default()
        .labels(labels)
        .fields("status.phase=Running");
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    Ok(pods.list(&wanted).await?.items)
}

/// Hands each connection to `listener` to a pod's port, until the process ends.
pub async fn serve(client: Client, at: PodPort, listener: TcpListener) {
    while let Ok((mut local, _)) = listener.accept().await {
        let (client, at) = (client.clone(), at.clone());
        tokio::spawn(async move {
            let pods = Api::<Pod>::namespaced(client, &at.namespace);
            let mut forward = match pods.portforward(&at.pod, &[at.port]).await {
                Ok(forward) => forward,
                Err(error) => {
                    eprintln!(
                        "the port-forward to {}/{} failed: {error}",
                        at.namespace, at.pod
                    );
                    return;
                }
            };
            if let Some(mut remote) = forward.take_stream(at.port) {
                // A browser that goes away is no failure.
                let _ = tokio::io::copy_bidirectional(&mut local, &mut remote).await;
            }
        });
    }
}

/// Answers a GET of `path` on a pod's port.
pub async fn get(client: &Client, at: &PodPort, path: &str) -> Result<(StatusCode, Bytes), Error> {
    let late = Error::Forward {
        pod: format!("{}/{}", at.namespace, at.pod),
        why: format!(
            "no answer from port {} within {} s",
            at.port,
            PATIENCE.as_secs()
        ),
    };
    let answer = tokio::time::timeout(PATIENCE, get_whenever(client, at, path));
    answer.await.map_err(|_| late)?
}

async fn get_whenever(
    client: &Client,
    at: &PodPort,
    path: &str,
) -> Result<(StatusCode, Bytes), Error> {
    let broken = |why: String| Error::Forward {
        pod: format!("{}/{}", at.namespace, at.pod),
        why,
    };
    let pods = Api::<Pod>::namespaced(client.clone(), &at.namespace);
    let mut forward = pods.portforward(&at.pod, &[at.port]).await?;
    let stream = forward.take_stream(at.port);
    let stream = stream.ok_or_else(|| broken("no stream was opened".to_owned()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(error.to_string()))?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(error.to_string()))?;
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| broken(error.to_string()))?;
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let body = body.map_err(|error| broken(error.to_string()))?.to_bytes();
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_what_stands_before_port_and_path() {
        assert_eq!(
            host("http://jaeger.observability:4317/x"),
            "jaeger.observability"
        );
        assert_eq!(host("http://10.96.0.99:4317"), "10.96.0.99");
    }

    #[test]
    fn the_port_of_an_address_is_known_where_it_is_written() {
        assert_eq!(port("http://prometheus.monitoring:9090/x"), Some(9090));
        assert_eq!(port("http://prometheus.monitoring"), None);
    }

    #[test]
    fn a_services_port_leads_to_the_pods_port_of_that_name_or_number() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [
            {"name": "grafana", "ports": [{"name": "http", "containerPort": 3000}]}]}}))
        .unwrap();
        let ports: Vec<ServicePort> = serde_json::from_value(serde_json::json!([
            {"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 3001}, {"port": 82}]))
        .unwrap();
        let found = [80, 81, 82, 83].map(|port| pod_port(&ports, port, &pod));
        assert_eq!(found, [3000, 3001, 82, 83]);
    }

    #[test]
    fn a_service_answers_to_its_names_and_its_address() {
        let answers = |host, from| answers_to(host, "jaeger", "obs", Some("10.0.0.9"), from);
        assert!(answers("jaeger.obs.svc.cluster.local", "team"));
        assert!(answers("10.0.0.9", "team"));
        assert!(answers("jaeger", "obs"));
        assert!(!answers("jaeger", "team"));
        assert!(!answers("jaeger.other", "obs"));
    }
}
