//! Where the load goes: an address as it is, or a deployment by way of the cluster.
use super::{Error, connection};
use crate::{
    evidence::{
        cluster::{self, PodPort},
        ends::{ContainerEnd, within},
        places,
        trace::Origin,
    },
    record::Run,
};
use candlepower_api::{
    benchmark::job::Termination,
    deployment::{LLMDeployment, LLMDeploymentSpec},
    names::{labels, ports},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

/// A target that this machine reaches.
pub(super) struct Reached {
    pub(super) way: Way,
    /// The deployment, where it is one of ours.
    pub(super) deployed: Option<Deployed>,
    /// The Jaegers that have its traces, or why none is known.
    pub(super) jaegers: Result<Vec<String>, String>,
}

/// A deployment of ours.
pub(in crate::cli) struct Deployed {
    client: Client,
    /// Its name and namespace.
    pub(in crate::cli) origin: Origin,
    /// What it asks for.
    pub(in crate::cli) spec: LLMDeploymentSpec,
}

impl Deployed {
    /// How containers of its pods ended in the time of `run`; of each container the last two ends are known, and none of
    /// pods that are gone.
    pub(in crate::cli) async fn ends(&self, run: &Run) -> Result<Vec<ContainerEnd>, kube::Error> {
        let namespace = self.origin.namespace.as_deref().unwrap_or_default();
        let selector = format!("{}={}", labels::LLM_DEPLOYMENT, self.origin.deployment);
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let pods = pods.list(&ListParams::default().labels(&selector)).await?;
        let told: Vec<_> = pods.iter().flat_map(Termination::of_pod).collect();
        Ok(within(run, &told))
    }
}

/// How requests and scrapes get there.
pub(super) struct Way {
    pub(super) url: String,
    /// The name that its certificate is for, where that is not the address' host.
    pub(super) server_name: Option<String>,
    /// The address that has its metrics.
    pub(super) metrics: String,
    /// What the way does to figures.
    pub(super) warning: Option<String>,
}

impl Way {
    /// The address as it is.
    fn direct(url: String) -> Self {
        Self {
            metrics: url.clone(),
            url,
            server_name: None,
            warning: None,
        }
    }
}

/// Finds the way to a target.
pub(super) async fn reach(target: &str, flags: connection::Flags) -> Result<Reached, Error> {
    if target.contains("://") {
        return Ok(Reached {
            way: Way::direct(target.to_owned()),
            deployed: None,
            jaegers: Err("no --jaeger-url was given".to_owned()),
        });
    }
    let connection = flags.connect().await?;
    let deployment = connection.find(target).await?;
    let namespace = deployment.namespace().unwrap_or_default();
    let status = deployment.status.as_ref();
    let address = status
        .and_then(|status| status.url.clone())
        .ok_or_else(|| {
            Error::Other(format!(
                "LLMDeployment {target} has no address yet; see `candlepower status {target}`"
            ))
        })?;
    let jaegers = jaegers(&connection.client, &deployment).await;
    let way = into_cluster(connection.client.clone(), address, &namespace).await?;
    let deployed = Deployed {
        client: connection.client,
        origin: Origin {
            namespace: Some(namespace),
            deployment: deployment.name_any(),
        },
        spec: deployment.spec,
    };
    Ok(Reached {
        way,
        deployed: Some(deployed),
        jaegers,
    })
}

/// The way to an address of the cluster.
async fn into_cluster(client: Client, address: String, namespace: &str) -> Result<Way, Error> {
    let has_tls = address.starts_with("https://");
    let is_inside = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    if is_inside && !has_tls {
        return Ok(Way::direct(address));
    }
    let service = cluster::service_behind(&client, &address, namespace).await?;
    let pod = service
        .pod(&client, cluster::port(&address).unwrap_or(80))
        .await?;
    // With TLS, metrics are on the pods' other port, to which the Service does not lead.
    let beside = PodPort {
        port: ports::SERVER_HTTP,
        ..pod.clone()
    };
    if is_inside {
        return Ok(Way {
            metrics: forward(client, beside).await?,
            ..Way::direct(address)
        });
    }
    let warning = Some(format!(
        "the load goes to pod {} alone and through the API server's port-forward, which adds to every time and breaks under many connections; an LLMBenchmark measures inside the cluster",
        pod.pod
    ));
    let url = forward(client.clone(), pod).await?;
    if !has_tls {
        return Ok(Way {
            warning,
            ..Way::direct(url)
        });
    }
    Ok(Way {
        url: url.replacen("http://", "https://", 1),
        server_name: Some(cluster::host(&address).to_owned()),
        metrics: forward(client, beside).await?,
        warning,
    })
}

/// Opens the way to each Jaeger that has a deployment's traces: one beside each pod, or the cluster's.
async fn jaegers(client: &Client, deployment: &LLMDeployment) -> Result<Vec<String>, String> {
    let namespace = deployment.namespace().unwrap_or_default();
    let place = places::jaeger(deployment);
    let found = places::find(client, &place, &namespace, &deployment.name_any())
        .await
        .map_err(|error| error.to_string())?;
    let mut ways = Vec::new();
    for pod in found
        .pods(client)
        .await
        .map_err(|error| error.to_string())?
    {
        let way = forward(client.clone(), pod).await;
        ways.push(way.map_err(|error| error.to_string())?);
    }
    Ok(ways)
}

/// A port of this machine that leads to a pod's for as long as the process runs.
async fn forward(client: Client, pod: PodPort) -> std::io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(cluster::serve(client, pod, listener));
    Ok(format!("http://127.0.0.1:{port}"))
}
