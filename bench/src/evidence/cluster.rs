//! The way to services inside the cluster: a port-forward within this process.
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Client, api::ListParams};

/// Why a service inside the cluster did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or cannot be reached.
    #[error("the cluster did not answer ({0}); check `kubectl get pods` with the same context")]
    Kube(#[from] kube::Error),
    /// No Service stands behind an address.
    #[error("no Service of this cluster stands behind {0}, so its Jaeger cannot be found")]
    NoService(String),
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

/// A pod behind the Service that `address` names, as seen from the namespace `from`.
pub async fn behind(
    client: &Client,
    address: &str,
    from: &str,
    port: u16,
) -> Result<PodPort, Error> {
    let services = Api::<Service>::all(client.clone());
    let services = services.list(&ListParams::default()).await?;
    for service in services {
        let namespace = service.metadata.namespace.unwrap_or_default();
        let name = service.metadata.name.unwrap_or_default();
        let Some(spec) = service.spec else { continue };
        let ip = spec.cluster_ip.as_deref().filter(|ip| *ip != "None");
        if !answers_to(host(address), &name, &namespace, ip, from) {
            continue;
        }
        let selector: Vec<_> = spec.selector.unwrap_or_default().into_iter().collect();
        if selector.is_empty() {
            return Err(Error::NoPod(format!("Service {namespace}/{name}")));
        }
        let labels: Vec<_> = selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let running = running_pods(client, &namespace, &labels.join(",")).await?;
        let pod = running.into_iter().next();
        let pod = pod.ok_or_else(|| Error::NoPod(format!("Service {namespace}/{name}")))?;
        return Ok(PodPort {
            namespace,
            pod,
            port,
        });
    }
    Err(Error::NoService(address.to_owned()))
}

/// Names of the running pods that `labels` select.
pub async fn running_pods(
    client: &Client,
    namespace: &str,
    labels: &str,
) -> Result<Vec<String>, Error> {
    let wanted = ListParams::default()
        .labels(labels)
        .fields("status.phase=Running");
    let pods = Api::<Pod>::namespaced(client.clone(), namespace)
        .list(&wanted)
        .await?;
    Ok(pods
        .into_iter()
        .filter_map(|pod| pod.metadata.name)
        .collect())
}

/// Answers a GET of `path` on a pod's port.
pub async fn get(client: &Client, at: &PodPort, path: &str) -> Result<(StatusCode, Bytes), Error> {
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
    fn a_service_answers_to_its_names_and_its_address() {
        let answers = |host, from| answers_to(host, "jaeger", "obs", Some("10.0.0.9"), from);
        assert!(answers("jaeger.obs.svc.cluster.local", "team"));
        assert!(answers("10.0.0.9", "team"));
        assert!(answers("jaeger", "obs"));
        assert!(!answers("jaeger", "team"));
        assert!(!answers("jaeger.other", "obs"));
    }
}
